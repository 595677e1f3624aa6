//! Processes that stand still, so that somebody can take hold of them.

use crate::scope::eventually;
use anyhow::{Context, Result, ensure};
use linux::pidfd::PidFd;

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// A process that was stopped with all its threads.
pub(super) struct Halted {
    process: PidFd,
}

impl Halted {
    /// Stops a process.
    pub(super) fn halt(number: u32) -> Result<Self> {
        let process = PidFd::open(number)?.context("a process to stop")?;
        process.send(SIGSTOP)?;
        Self { process }.stands_still(number)
    }

    /// Waits for one that stops itself.
    pub(super) fn of_itself(number: u32) -> Result<Self> {
        let process = PidFd::open(number)?.context("a process that stops")?;
        Self { process }.stands_still(number)
    }

    fn stands_still(self, number: u32) -> Result<Self> {
        let is_still = || -> Result<Option<()>> {
            for thread in std::fs::read_dir(format!("/proc/{number}/task"))? {
                // `1 (berth) T ...`; a thread may end meanwhile.
                let stat = std::fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
                let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
                if state.is_some_and(|state| !"TtZX".contains(state)) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        eventually("all threads of a process to stop", is_still)?;
        Ok(self)
    }

    pub(super) fn go_on(&self) -> Result<()> {
        ensure!(self.process.send(SIGCONT)?, "the process has ended");
        Ok(())
    }
}
