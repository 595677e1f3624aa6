//! The control group of a container, whoever made the container in it, and the watch on its memory.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use cgroup::{Cgroup, Hierarchy, OomWatch};
use runtime::group::Place;

use crate::protocol::{CgroupDriver, Create, Error};

/// How long the end of killed processes is waited for: they may be in the middle of slow input or output.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A container's control group. Between requests only its place is held; it is opened when it is needed.
pub struct Held {
    place: Place,
    watch: Option<OomWatch>,
}

impl Held {
    /// Where the request wants the group; it need not exist yet.
    pub(super) fn of(request: &Create) -> Result<Self, Error> {
        let systemd = request.cgroup.driver == CgroupDriver::Systemd;
        let place = Place::parse(systemd, &request.cgroup.path, &request.id)?;
        Ok(Self { place, watch: None })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The group; `None` when it is gone.
    pub(super) fn open(&self) -> Result<Option<Cgroup>, Error> {
        Ok(self.place.open(&Hierarchy::detect()?)?)
    }

    /// Begins to watch the memory of `group`. Not every kernel and not every host lets memory be watched: the end of the
    /// container tells all the same.
    pub(super) fn watch(&mut self, group: &Cgroup) {
        self.watch = group.watch_oom().ok();
    }

    /// A descriptor that is readable when the container's memory has run out; `None` when that cannot be watched.
    pub(super) fn memory_watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Quietens the descriptor, and says how many processes the kernel has killed for lack of memory so far.
    pub(super) fn memory_kills(&self) -> u64 {
        let count = || -> Result<u64, Error> {
            if let Some(watch) = &self.watch {
                watch.take()?;
            }
            Ok(self.open()?.map_or(Ok(0), |group| group.oom_kill_count())?)
        };
        // A number that cannot be read says nothing about the container.
        count().unwrap_or(0)
    }

    /// Kills every process of the container and waits for their end, within bounds.
    pub(super) fn kill_all(&self) -> Result<(), Error> {
        Ok(self.open()?.map_or(Ok(()), |group| group.kill(KILL_LIMIT))?)
    }

    /// Removes the group, in which no process is left. A group that is gone counts as removed.
    pub(super) fn remove(&mut self) -> Result<(), Error> {
        self.watch = None;
        Ok(self.place.remove_empty(self.open()?)?)
    }
}
