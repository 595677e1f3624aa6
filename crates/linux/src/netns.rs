//! Network namespaces: entered by short-lived threads only, so that a process with many threads stays where it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::error::{Error, Named, Result};

const OWN: &str = "/proc/thread-self/ns/net";

/// The network namespace of the calling thread, as a descriptor that keeps it alive.
///
/// # Errors
/// The `open` call that failed.
pub fn current() -> Result<OwnedFd> {
    rustix::fs::open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .named(|| format!("open(\"{OWN}\", O_RDONLY|O_CLOEXEC)"))
}

/// The network namespace of a process.
///
/// # Errors
/// The `open` call that failed: ENOENT when there is no such process.
pub fn of_process(pid: u32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .named(|| format!("open({path:?}, O_RDONLY|O_CLOEXEC)"))
}

/// A new network namespace with nothing but a `lo` that is down. It lives as long as the descriptor, a process or a
/// socket in it.
///
/// # Errors
/// The call that failed: `unshare` needs CAP_SYS_ADMIN.
pub fn new() -> Result<OwnedFd> {
    on_thread(|| {
        unshare_network()?;
        current()
    })?
}

/// Runs `work` on a new thread that is in `netns`; its files, sockets and children are born there. The caller's own
/// namespace does not change, and the thread has ended when this returns.
///
/// # Errors
/// The `setns` call that failed (then `work` did not run), or the creation of the thread.
///
/// # Panics
/// When `work` does.
pub fn run_in<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T> {
    on_thread(|| {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
            .named(|| format!("setns({netns:?}, CLONE_NEWNET)"))?;
        Ok(work())
    })?
}

fn unshare_network() -> Result<()> {
    let failed = |errno: rustix::io::Errno| Error::new("unshare(CLONE_NEWNET)", errno.raw_os_error());
    // SAFETY: a new network namespace invalidates no memory, descriptor or thread-local state of this thread, which
    // was started for this purpose.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(failed)
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let started =
            thread::Builder::new().name("netns".into()).stack_size(256 * 1024).spawn_scoped(scope, work);
        let handle = started.map_err(|error| Error::new("clone(netns thread)", errno_of(&error)))?;
        match handle.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EAGAIN)
}
