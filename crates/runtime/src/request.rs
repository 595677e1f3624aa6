//! What the runtime is asked for, and what it answers: the types of [`create`](crate::create()),
//! [`start`](crate::start()) and [`exec`](crate::exec()).

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cgroup::{Cgroup, Hierarchy};
use oci::runtime::Spec;

/// A container to be made.
#[derive(Debug)]
pub struct Create<'a> {
    /// Names it in errors and to hooks.
    pub id: &'a str,
    /// Its configuration; `root.path` is not used, `rootfs` below is.
    pub spec: &'a Spec,
    /// Directory that relative paths of the configuration start from; hooks are told of it.
    pub bundle: &'a Path,
    /// What becomes the root file system.
    pub rootfs: Rootfs,
    /// Input and output of the program; not used when the program gets a terminal.
    pub stdio: Stdio<'a>,
    /// The container's control group, made and limited by the caller, who also removes it; `None` leaves the container
    /// in the caller's groups.
    pub cgroup: Option<&'a Cgroup>,
    /// The mounted control group trees.
    pub hierarchy: &'a Hierarchy,
    /// How `start` reaches the container.
    pub gate: Gate,
    /// Whether pid 1 is our own small init, which reaps orphans and forwards signals to the program.
    pub init: bool,
    /// How many descriptors from 3 on are left open for the program.
    pub preserve_fds: u32,
    /// Whether the root is moved over the old one instead of pivoted (for hosts that run from an initramfs).
    pub no_pivot: bool,
    /// Whether the program keeps the caller's session keyring.
    pub no_new_keyring: bool,
    /// Where the plan is written as text, before anything of it is done.
    pub told: Option<&'a mut String>,
}

/// What becomes the container's root file system; it is mounted in the container's mount namespace only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// A directory, with the mounts below it.
    Path(PathBuf),
    /// An overlay.
    Overlay {
        /// The layers, the top one first.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// Overlayfs' own work directory, on the same file system as `upper`.
        work: PathBuf,
        /// Whether the changes need not survive a loss of power: fsync(2) inside does nothing, and unmounting does not wait
        /// for everything that the file system of `upper` has to write.
        volatile: bool,
        /// Whether what is on the disk has the ids of the container: those of all layers are mapped as its user
        /// namespace has them (Linux 5.19).
        mapped: bool,
    },
}

/// Descriptors that become 0, 1 and 2 of a program; `None` keeps the caller's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdio<'a> {
    /// Descriptor 0.
    pub input: Option<BorrowedFd<'a>>,
    /// Descriptor 1.
    pub output: Option<BorrowedFd<'a>>,
    /// Descriptor 2.
    pub error: Option<BorrowedFd<'a>>,
    /// Whether the program's terminal, if it gets one, passes newlines on as they are written: who stands in for it has
    /// a terminal or a file of its own.
    pub plain_newlines: bool,
}

/// How `start` reaches a container that was created.
#[derive(Debug)]
pub enum Gate {
    /// Through the [`StartGate`] that `create` returns; the container ends if that is dropped.
    Held,
    /// Through a listening unix socket: whoever connects first and asks, starts it.
    Listener(OwnedFd),
}

/// A container that was created: everything is there but the program.
#[derive(Debug)]
pub struct Created {
    /// Its first process, in the caller's pid namespace.
    pub pid: u32,
    /// A handle on it.
    pub pidfd: OwnedFd,
    /// When it was started, in clock ticks since boot.
    pub start_time_ticks: u64,
    /// Its network namespace, when it does not share the caller's.
    pub netns: Option<OwnedFd>,
    /// The controlling end of its terminal, when it has one.
    pub console: Option<OwnedFd>,
    /// What starts it; `None` with [`Gate::Listener`].
    pub gate: Option<StartGate>,
}

/// The way to a container that waits to be started.
#[derive(Debug)]
pub struct StartGate(pub(crate) OwnedFd);

/// A process that joined a container.
#[derive(Debug)]
pub struct Executed {
    /// The process, a child of the caller.
    pub pid: u32,
    /// A handle on it.
    pub pidfd: OwnedFd,
    /// The controlling end of its terminal, when it has one.
    pub console: Option<OwnedFd>,
}

/// A process that is to join a container.
#[derive(Debug)]
pub struct Exec<'a> {
    /// Names the container in errors and to agents.
    pub id: &'a str,
    /// The container's first process (a pidfd).
    pub container: BorrowedFd<'a>,
    /// The mounted control group trees.
    pub hierarchy: &'a Hierarchy,
    /// The container's configuration: its namespaces and its system-call filter.
    pub spec: &'a Spec,
    /// The program.
    pub process: &'a oci::runtime::Process,
    /// Its input and output; not used when it gets a terminal.
    pub stdio: Stdio<'a>,
    /// The control group it enters.
    pub cgroup: Option<&'a Cgroup>,
    /// Whether it may enter the group that the container's first process has moved to below that one, where that one
    /// takes no processes.
    pub or_beside_init: bool,
    /// How many descriptors from 3 on are left open for the program.
    pub preserve_fds: u32,
    /// Where the plan is written as text, before anything of it is done.
    pub told: Option<&'a mut String>,
}
