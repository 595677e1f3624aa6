//! Being told when a group runs out of memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use linux::watch::{Counter, FileWatch};

use crate::{Cgroup, Controller, Error, Result, Version};

/// Polls readable when the group's memory events may have changed.
///
/// It says that there is something to look at, not what: read [`Cgroup::oom_kill_count`] then. On v1 it also becomes
/// readable when the group is removed, and reports a group below only when the memory of this one ran out.
#[derive(Debug)]
pub struct OomWatch(Source);

#[derive(Debug)]
enum Source {
    /// An eventfd tied to `memory.oom_control` through `cgroup.event_control`.
    V1(Counter),
    /// An inotify watch on `memory.events`.
    V2(FileWatch),
}

impl OomWatch {
    /// Takes what was reported so far, so that the descriptor is quiet again; `true` when there was anything.
    pub fn take(&self) -> Result<bool> {
        match &self.0 {
            Source::V1(counter) => Ok(counter.take()? > 0),
            Source::V2(watch) => Ok(watch.take()?),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::V1(counter) => counter.as_fd(),
            Source::V2(watch) => watch.as_fd(),
        }
    }
}

impl Cgroup {
    /// A descriptor for a poll loop that tells of memory running out.
    pub fn watch_oom(&self) -> Result<OomWatch> {
        let dir = self
            .dir(Controller::Memory)
            .ok_or_else(|| Error::no_controller("oom events", Controller::Memory))?;
        match self.version() {
            Version::V2 => Ok(OomWatch(Source::V2(FileWatch::modified_in(dir, "memory.events")?))),
            Version::V1 => {
                let counter = Counter::new()?;
                let control = dir.open_read("memory.oom_control")?;
                let registration = format!("{} {}", counter.as_fd().as_raw_fd(), control.as_raw_fd());
                dir.write("cgroup.event_control", registration.as_bytes())?;
                Ok(OomWatch(Source::V1(counter)))
            }
        }
    }
}
