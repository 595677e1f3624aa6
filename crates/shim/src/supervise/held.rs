//! The control group of a container, whoever made the container in it, and the watch on its memory.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use cgroup::{Cgroup, CgroupPath, Hierarchy, OomWatch, Version};
use runtime::group::Place;

use crate::protocol::{CgroupDriver, Create, Error};

/// How long the end of killed processes is waited for: they may be in the middle of slow input or output.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A container's control group. Between requests only its place is held; it is opened when it is needed.
pub struct Held {
    place: Place,
    watch: Option<OomWatch>,
    /// The group of v2 above a scope of systemd's, and how many kills for lack of memory it had counted when the container
    /// was made: its number has those of the groups below in it, also of those that are gone.
    above: Option<(CgroupPath, u64)>,
    /// The group while the container's end is worked off, which asks for it several times.
    kept: Option<Cgroup>,
}

impl Held {
    /// Where the request wants the group; it need not exist yet.
    pub(super) fn of(request: &Create) -> Result<Self, Error> {
        let systemd = request.cgroup.driver == CgroupDriver::Systemd;
        let place = Place::parse(systemd, &request.cgroup.path, &request.id)?;
        Ok(Self { place, watch: None, above: None, kept: None })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The group; `None` when it is gone.
    pub(super) fn open(&self) -> Result<Option<Cgroup>, Error> {
        Ok(self.place.open(&Hierarchy::detect()?)?)
    }

    /// Opens the group once for all that the container's end asks of it. A scope of systemd's may go away meanwhile, and is
    /// looked for each time.
    pub(super) fn keep_open(&mut self) {
        if matches!(self.place, Place::Tree(_)) {
            // Whoever needs it tries again, and says why it cannot be had.
            self.kept = self.open().ok().flatten();
        }
    }

    fn with_group<T>(&self, work: impl FnOnce(&Cgroup) -> T) -> Result<Option<T>, Error> {
        match &self.kept {
            Some(group) => Ok(Some(work(group))),
            None => Ok(self.open()?.as_ref().map(work)),
        }
    }

    /// Begins to watch the memory of `group`. Not every kernel and not every host lets memory be watched: the end of the
    /// container tells all the same.
    pub(super) fn watch(&mut self, group: &Cgroup) {
        self.watch = group.watch_oom().ok();
        if matches!(self.place, Place::Unit(..)) && group.version() == Version::V2 {
            self.above = group.path().parent().and_then(|path| Some((path.clone(), kills_of(&path)?)));
        }
    }

    /// A descriptor that is readable when the container's memory has run out; `None` when that cannot be watched.
    pub(super) fn memory_watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Quietens the descriptor, and says how many processes the kernel has killed for lack of memory so far.
    ///
    /// systemd removes a scope as soon as nobody is in it, and what it had counted is gone. `by_kill` says that the
    /// container has just ended by SIGKILL: then a kill that the group above has counted since is taken for its end.
    pub(super) fn memory_kills(&self, by_kill: bool) -> u64 {
        if let Some(watch) = &self.watch {
            // What cannot be quietened is looked at again.
            let _ = watch.take();
        }
        let own = self.with_group(Cgroup::oom_kill_count).ok().flatten().and_then(Result::ok);
        match (own, &self.above) {
            (Some(count), _) => count,
            (None, Some((path, before))) if by_kill => {
                u64::from(kills_of(path).is_some_and(|count| count > *before))
            }
            // A number that cannot be read says nothing about the container.
            (None, _) => 0,
        }
    }

    /// Kills every process of the container and waits for their end, within bounds.
    pub(super) fn kill_all(&self) -> Result<(), Error> {
        Ok(self.with_group(|group| group.kill(KILL_LIMIT))?.unwrap_or(Ok(()))?)
    }

    /// Removes the group, in which no process is left. A group that is gone counts as removed.
    pub(super) fn remove(&mut self) -> Result<(), Error> {
        self.watch = None;
        let group = match self.kept.take() {
            Some(group) => Some(group),
            None => self.open()?,
        };
        Ok(self.place.remove_empty(group)?)
    }
}

/// How many processes in a group or below it were killed for lack of memory; none when it cannot be read.
fn kills_of(path: &CgroupPath) -> Option<u64> {
    let hierarchy = Hierarchy::detect().ok()?;
    Cgroup::open(&hierarchy, path).ok()??.oom_kill_count().ok()
}
