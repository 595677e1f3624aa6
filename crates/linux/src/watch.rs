//! Descriptors that become readable when something happens (eventfd, inotify), and waiting for several of them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::inotify;

use crate::Result;
use crate::dir::Dir;
use crate::error::Named;

/// A counter in the kernel that polls readable while it is above zero (eventfd(2)); close-on-exec and non-blocking.
#[derive(Debug)]
pub struct Counter(OwnedFd);

impl Counter {
    /// A counter at zero.
    pub fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(rustix::event::eventfd(0, flags).named(|| "eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK)")?))
    }

    /// Adds to the counter.
    pub fn add(&self, value: u64) -> Result<()> {
        rustix::io::write(&self.0, &value.to_ne_bytes()).named(|| format!("write(eventfd, {value})"))?;
        Ok(())
    }

    /// Takes the value and sets the counter back to zero; zero when nothing was added.
    pub fn take(&self) -> Result<u64> {
        let mut value = [0; 8];
        match rustix::io::read(&self.0, &mut value) {
            Ok(_) => Ok(u64::from_ne_bytes(value)),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(errno) => Err(errno).named(|| "read(eventfd)"),
        }
    }
}

impl AsFd for Counter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Becomes readable when one file's content changes (inotify(7), IN_MODIFY); close-on-exec and non-blocking.
#[derive(Debug)]
pub struct FileWatch(OwnedFd);

impl FileWatch {
    /// Watches a file in a directory; neither the directory nor the file is resolved by a path that could be a link.
    pub fn modified_in(dir: &Dir, name: &str) -> Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let fd = inotify::init(flags).named(|| "inotify_init1(IN_CLOEXEC|IN_NONBLOCK)")?;
        // inotify has no form that takes a descriptor; the procfs link of an open file leads to exactly that file.
        let file = dir.open_read(name)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify::add_watch(&fd, &path, inotify::WatchFlags::MODIFY)
            .named(|| format!("inotify_add_watch({:?}, IN_MODIFY)", dir.path().join(name)))?;
        Ok(Self(fd))
    }

    /// Takes what was reported so far; `true` when there was anything.
    pub fn take(&self) -> Result<bool> {
        take_all(&self.0)
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Becomes readable when something in one directory changes: a file is written to, made, renamed or removed
/// (inotify(7)); close-on-exec and non-blocking.
#[derive(Debug)]
pub struct DirWatch(OwnedFd);

impl DirWatch {
    /// Watches the directory at `path`, not what is below its own directories.
    pub fn new(path: &Path) -> Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let fd = inotify::init(flags).named(|| "inotify_init1(IN_CLOEXEC|IN_NONBLOCK)")?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&fd, path, events).named(|| {
            format!("inotify_add_watch({path:?}, IN_MODIFY|IN_CREATE|IN_MOVED_TO|IN_DELETE|IN_ONLYDIR)")
        })?;
        Ok(Self(fd))
    }

    /// Takes what was reported so far; `true` when there was anything.
    pub fn take(&self) -> Result<bool> {
        take_all(&self.0)
    }
}

impl AsFd for DirWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Which of several watched directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(i32);

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Something in these directories, each named once or more.
    These(Vec<WatchId>),
    /// More than the kernel remembers: anything may have.
    Anything,
}

/// Becomes readable when something in one of many directories changes, as [`DirWatch`] does for one: users have few
/// inotify instances, and many watches. Close-on-exec and non-blocking.
#[derive(Debug)]
pub struct DirWatches(OwnedFd);

impl DirWatches {
    /// Watches nothing yet.
    pub fn new() -> Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self(inotify::init(flags).named(|| "inotify_init1(IN_CLOEXEC|IN_NONBLOCK)")?))
    }

    /// Watches the directory at `path` as well; one that is watched already has the same name again.
    pub fn add(&self, path: &Path) -> Result<WatchId> {
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::ONLYDIR;
        let id = inotify::add_watch(&self.0, path, events)
            .named(|| format!("inotify_add_watch({path:?}, IN_MODIFY|IN_CREATE|IN_MOVED_TO|IN_ONLYDIR)"))?;
        Ok(WatchId(id))
    }

    /// Watches one no longer. One that is gone, as its directory was removed, is no error.
    pub fn remove(&self, id: WatchId) -> Result<()> {
        match inotify::remove_watch(&self.0, id.0) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
            Err(errno) => Err(errno).named(|| format!("inotify_rm_watch({})", id.0)),
        }
    }

    /// Takes what was reported so far.
    pub fn take(&self) -> Result<Changed> {
        // Aligned for the kernel's structure, and room for several.
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        let mut found = Vec::new();
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                    take_all(&self.0)?;
                    return Ok(Changed::Anything);
                }
                Ok(event) => {
                    let id = WatchId(event.wd());
                    if found.last() != Some(&id) {
                        found.push(id);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(Changed::These(found)),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno).named(|| "read(inotify)"),
            }
        }
    }
}

impl AsFd for DirWatches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads an inotify descriptor until it is empty; `true` when there was anything.
fn take_all(fd: &OwnedFd) -> Result<bool> {
    let mut buffer = [0; 4096];
    let mut any = false;
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(any),
            Ok(_) => any = true,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).named(|| "read(inotify)"),
        }
    }
}

/// What to wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Data to read, an end of file, a pidfd whose process has ended.
    Readable,
    /// Space to write.
    Writable,
    /// An exceptional condition (POLLPRI): how control files of cgroup v2 report a change.
    Priority,
}

/// Waits until one of the descriptors is ready or the time is over (ppoll(2)); answers for each one whether it is ready.
///
/// A descriptor in error or hung up counts as ready. An interruption by a signal is returned as "none ready".
pub fn wait(fds: &[(BorrowedFd<'_>, Interest)], timeout: Duration) -> Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(fd, interest)| {
            let flags = match interest {
                Interest::Readable => PollFlags::IN,
                Interest::Writable => PollFlags::OUT,
                Interest::Priority => PollFlags::PRI,
            };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec: seconds, tv_nsec: timeout.subsec_nanos().into() };
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {
            Ok(polled.iter().map(|polled| !polled.revents().is_empty()).collect())
        }
        Err(errno) => Err(errno).named(|| format!("ppoll({} descriptors)", fds.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_ready_until_it_is_taken() {
        let counter = Counter::new().unwrap();
        let ready = || wait(&[(counter.as_fd(), Interest::Readable)], Duration::ZERO).unwrap();
        assert_eq!((ready(), counter.take().unwrap()), (vec![false], 0));
        counter.add(3).unwrap();
        assert_eq!((ready(), counter.take().unwrap()), (vec![true], 3));
        assert_eq!(ready(), [false]);
    }

    #[test]
    fn a_changed_file_is_reported_once() {
        let name = format!("berth-test-watch-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        std::fs::write(&path, "a").unwrap();
        let watch = FileWatch::modified_in(&Dir::open(&std::env::temp_dir()).unwrap(), &name).unwrap();
        assert!(!watch.take().unwrap());
        std::fs::write(&path, "b").unwrap();
        assert_eq!(wait(&[(watch.as_fd(), Interest::Readable)], Duration::ZERO).unwrap(), [true]);
        assert!(watch.take().unwrap());
        assert!(!watch.take().unwrap());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn changes_in_a_directory_are_reported_once() {
        let path = std::env::temp_dir().join(format!("berth-test-dir-watch-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let watch = DirWatch::new(&path).unwrap();
        assert!(!watch.take().unwrap());
        std::fs::write(path.join("a"), "a").unwrap();
        assert!(watch.take().unwrap());
        std::fs::rename(path.join("a"), path.join("b")).unwrap();
        assert!(watch.take().unwrap());
        assert!(!watch.take().unwrap());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn several_directories_are_told_apart() {
        let paths = ["a", "b"]
            .map(|word| std::env::temp_dir().join(format!("berth-test-dirs-{word}-{}", std::process::id())));
        let watches = DirWatches::new().unwrap();
        let ids = paths.each_ref().map(|path| {
            std::fs::create_dir(path).unwrap();
            watches.add(path).unwrap()
        });
        assert_eq!(watches.take().unwrap(), Changed::These(Vec::new()));
        std::fs::write(paths[1].join("x"), "x").unwrap();
        assert_eq!(watches.take().unwrap(), Changed::These(vec![ids[1]]));
        watches.remove(ids[1]).unwrap();
        watches.take().unwrap();
        std::fs::write(paths[1].join("x"), "y").unwrap();
        std::fs::write(paths[0].join("x"), "y").unwrap();
        assert_eq!(watches.take().unwrap(), Changed::These(vec![ids[0]]));
        for path in paths {
            std::fs::remove_dir_all(path).unwrap();
        }
        watches.remove(ids[0]).unwrap();
    }
}
