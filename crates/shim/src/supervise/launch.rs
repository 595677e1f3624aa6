//! The seam between supervising a process and making it: what the supervisor needs of a container runtime.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::held::Held;
use crate::protocol::{Create, Error, Exec};

/// A process that was made.
#[derive(Debug)]
pub struct Launched {
    /// Its number in our pid namespace.
    pub pid: u32,
    /// A handle on it.
    pub pidfd: OwnedFd,
    /// The controlling end of its terminal, when it asked for one.
    pub console: Option<OwnedFd>,
}

/// What a process gets as descriptors 0, 1 and 2 when it has no terminal.
#[derive(Debug)]
pub struct Stdio {
    /// Descriptor 0.
    pub input: OwnedFd,
    /// Descriptor 1.
    pub output: OwnedFd,
    /// Descriptor 2.
    pub error: OwnedFd,
}

impl Stdio {
    /// All three, in order.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.input.as_fd(), self.output.as_fd(), self.error.as_fd()]
    }
}

/// Makes one container and processes in it. All processes are children of the caller, which reaps them.
pub trait Launch {
    /// Makes the container up to the point where only its program is missing.
    ///
    /// `stdio` is `None` when the program gets a terminal. `on_process` is called with the number of the first process, by
    /// those who can, as soon as that is in all its namespaces. On failure nothing is left.
    fn create(
        &mut self,
        request: &Create,
        stdio: Option<&Stdio>,
        on_process: &mut dyn FnMut(u32),
    ) -> Result<Launched, Error>;

    /// Lets the program run; returns after execve(2).
    fn start(&mut self) -> Result<(), Error>;

    /// Runs another process in the container; returns after execve(2).
    fn exec(&mut self, request: &Exec, stdio: Option<&Stdio>) -> Result<Launched, Error>;

    /// The control group of the container that was made.
    fn held(&self) -> Option<&Held>;

    /// The container's first process has ended: what is asked from here on is asked for the last time.
    fn ending(&mut self) {}

    /// Kills every process of the container and waits for their end, within bounds.
    fn kill_all(&mut self) -> Result<(), Error> {
        self.held().map_or(Ok(()), Held::kill_all)
    }

    /// Removes what is left of the container on the host (its control group); all its processes have ended.
    fn remove(&mut self) -> Result<(), Error>;
}
