//! Waiting for processes of a group to end, driven by the kernel's events.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use linux::dir::Dir;
use linux::pidfd::PidFd;
use linux::watch::{Interest, wait};

use crate::group::{MAX_FILE, absent_as_none, pids_below};
use crate::{Cgroup, Result};

/// The most processes waited for at once.
const BATCH: usize = 256;

/// How often a group is looked at again whose last process has ended but not yet left.
const LAST_LEAVE: Duration = Duration::from_millis(1);

/// How often the list is read again while nobody ends. The init of a pid namespace that was killed ends only once those
/// are reaped that joined it from outside, and they may be children of whoever waits here: its descriptor never tells,
/// the list does.
const READ_AGAIN: Duration = Duration::from_millis(20);

impl Cgroup {
    /// Waits until no process is left in the group or below it; `false` when the time is over first.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        if let Some(dir) = self.unified_dir() {
            return wait_for_event(dir, "populated", "0", deadline);
        }
        loop {
            if self.pids()?.is_empty() {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.wait_for_exit(self.listing_dir()?, left)? {
                return Ok(false);
            }
        }
    }

    /// Waits until a process below `dir` ends, or the list is worth reading again; `false` when the time is over.
    ///
    /// When none is listed the kernel may still be taking leave of the last one, for which v1 has no event: that is
    /// waited for in steps of a millisecond.
    pub(crate) fn wait_for_exit(&self, dir: &Dir, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        if let Some(dir) = self.unified_dir() {
            return wait_for_event(dir, "populated", "0", deadline);
        }
        let mut living = Vec::new();
        for pid in pids_below(dir)?.into_iter().take(BATCH) {
            match PidFd::open(pid)? {
                Some(pidfd) => living.push(pidfd),
                // It ended since it was listed.
                None => return Ok(true),
            }
        }
        let fds: Vec<_> = living.iter().map(|pidfd| (pidfd.as_fd(), Interest::Readable)).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        let step = left.min(if fds.is_empty() { LAST_LEAVE } else { READ_AGAIN });
        Ok(wait(&fds, step)?.contains(&true) || !left.is_zero())
    }
}

/// Waits until `cgroup.events` of v2 says `key value`, or the group is gone; `false` when the time is over first.
pub(crate) fn wait_for_event(dir: &Dir, key: &str, value: &str, deadline: Instant) -> Result<bool> {
    let wanted = format!("{key} {value}");
    let Some(file) = absent_as_none(dir.open_read("cgroup.events"))? else { return Ok(true) };
    loop {
        // Read through the polled descriptor: the kernel reports changes since that reading, so none is missed.
        let Some(events) = absent_as_none(dir.read_again(file.as_fd(), "cgroup.events", MAX_FILE))? else {
            return Ok(true);
        };
        if String::from_utf8_lossy(&events).lines().any(|line| line == wanted) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        wait(&[(file.as_fd(), Interest::Priority)], left)?;
    }
}
