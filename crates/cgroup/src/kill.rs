//! Ending every process of a group, however fast it multiplies.

use std::time::{Duration, Instant};

use linux::dir::Dir;
use linux::pidfd::PidFd;

use crate::group::{ENOENT, pids_below};
use crate::{Cgroup, Controller, Error, Result, Version};

const SIGKILL: i32 = 9;
/// A file of a group that was removed since it was opened.
const ENODEV: i32 = 19;

/// The most processes held by descriptor at once.
const BATCH: usize = 256;

impl Cgroup {
    /// Sends SIGKILL to every process of the group and of the groups below it, and waits until all have ended.
    ///
    /// A frozen group is thawed: a frozen process of v1 takes no signal. Zombies count as ended.
    pub fn kill(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let emptied = match self.version() {
            Version::V2 => self.kill_v2(deadline)?,
            Version::V1 => self.kill_v1(deadline)?,
        };
        if emptied {
            return Ok(());
        }
        let path = self.listing_dir()?.path().to_owned();
        Err(Error::TimedOut { path, state: "empty", millis: timeout.as_millis() })
    }

    /// Sends a signal once to every process that is in the group or below it now; says how many there were.
    pub fn signal(&self, signal: i32) -> Result<usize> {
        signal_all(self.listing_dir()?, signal)
    }

    fn kill_v2(&self, deadline: Instant) -> Result<bool> {
        let Some(dir) = self.unified_dir() else { return Ok(true) };
        match dir.write("cgroup.kill", b"1") {
            Ok(()) => {
                // Frozen processes die as well; whoever comes next shall find the group as if nothing had been.
                match dir.write("cgroup.freeze", b"0") {
                    Err(error) if ![ENOENT, ENODEV].contains(&error.errno()) => return Err(error.into()),
                    _ => {}
                }
                self.wait_empty(deadline.saturating_duration_since(Instant::now()))
            }
            Err(error) if error.errno() == ENOENT => self.kill_in_rounds(dir, deadline),
            Err(error) => Err(error.into()),
        }
    }

    fn kill_v1(&self, deadline: Instant) -> Result<bool> {
        let dir = self.listing_dir()?;
        let killed = self.kill_in_rounds(dir, deadline);
        // A group that was frozen before, or that a failed round left so, must not stay that way.
        if self.dir(Controller::Freezer).is_some() {
            self.let_go()?;
        }
        killed
    }

    /// Thaws, unless the group is gone.
    fn let_go(&self) -> Result<()> {
        match self.thaw() {
            Err(error) if is_gone(&error) => Ok(()),
            thawed => thawed,
        }
    }

    /// Freezes, signals all that are listed, thaws, and waits; again until nobody is left.
    ///
    /// While the group is frozen nobody in it can fork. Where it cannot be frozen in time the rounds go on all the
    /// same: each one kills what it sees.
    fn kill_in_rounds(&self, dir: &Dir, deadline: Instant) -> Result<bool> {
        loop {
            if self.pids()?.is_empty() {
                return Ok(true);
            }
            let freezer = self.dir(Controller::Freezer).is_some();
            if freezer {
                match self.freeze() {
                    Ok(()) | Err(Error::TimedOut { .. }) => {}
                    Err(error) if is_gone(&error) => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            let signalled = signal_all(dir, SIGKILL);
            if freezer {
                self.let_go()?;
            }
            signalled?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.wait_for_exit(dir, left)? {
                return Ok(false);
            }
        }
    }
}

/// Whether somebody else who cleans up has removed the group meanwhile.
fn is_gone(error: &Error) -> bool {
    error.is(ENOENT) || error.is(ENODEV)
}

/// Signals every process that is listed below `dir`.
///
/// A number may have gone to another process between listing and opening it. So the list is read again once the
/// descriptors are held: whoever is still listed is the process that the descriptor means.
fn signal_all(dir: &Dir, signal: i32) -> Result<usize> {
    let mut signalled = 0;
    for pids in pids_below(dir)?.into_iter().collect::<Vec<_>>().chunks(BATCH) {
        let mut held = Vec::new();
        for pid in pids {
            if let Some(pidfd) = PidFd::open(*pid)? {
                held.push((*pid, pidfd));
            }
        }
        let listed = pids_below(dir)?;
        for (_, pidfd) in held.iter().filter(|(pid, _)| listed.contains(pid)) {
            signalled += usize::from(pidfd.send(signal)?);
        }
    }
    Ok(signalled)
}
