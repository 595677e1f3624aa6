//! Mount namespaces: made and entered by short-lived threads only, so that a process with many threads stays where it
//! is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Named, Result};
use crate::mount::{Change, Propagation, change};
use crate::process::{namespace, set_namespace, unshare};

/// `unshare` of what threads share with each other: root, working directory, umask. Without it a thread cannot change
/// its mount namespace.
const FILE_SYSTEM_STATE: u64 = libc::CLONE_FS as u64;
/// Bytes of a thread's stack.
const STACK: usize = 512 << 10;

/// The mount namespace of a process.
///
/// # Errors
/// The `open` call that failed: ENOENT when there is no such process.
pub fn of_process(pid: u32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/mnt");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .named(|| format!("open({path:?}, O_RDONLY|O_CLOEXEC)"))
}

/// Runs `work` on a new thread that has a copy of this process's mount namespace: what it mounts nobody else sees, and
/// it is gone when `work` returns. What the host unmounts meanwhile is unmounted in the copy too.
///
/// # Errors
/// The call that failed (then `work` did not run): `unshare` needs CAP_SYS_ADMIN.
///
/// # Panics
/// When `work` does.
pub fn run_in_copy<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    on_thread(|| {
        unshare(namespace::MOUNT)?;
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .named(|| "open(\"/\", O_PATH|O_DIRECTORY)")?;
        let slave = Change { propagation: Some(Propagation::Slave), ..Change::default() };
        change(&root, true, &slave)?;
        Ok(work())
    })?
}

/// A detached copy of what is at `path` in another mount namespace (`/` is its root mount), without what is mounted in
/// it. Links are followed as that namespace has them.
///
/// # Errors
/// The call that failed.
pub fn clone_from(namespace_file: impl AsFd + Sync, path: &Path) -> Result<OwnedFd> {
    on_thread(|| {
        unshare(FILE_SYSTEM_STATE)?;
        set_namespace(&namespace_file, namespace::MOUNT)?;
        crate::mount::clone_path(path, false)
    })?
}

/// Runs `work` on a new thread that is in another mount namespace, with that namespace's root as its root and working
/// directory. Descriptors of other namespaces stay usable.
///
/// # Errors
/// The call that failed (then `work` did not run).
///
/// # Panics
/// When `work` does.
pub fn run_in<T: Send>(namespace_file: impl AsFd + Sync, work: impl FnOnce() -> T + Send) -> Result<T> {
    on_thread(|| {
        unshare(FILE_SYSTEM_STATE)?;
        set_namespace(&namespace_file, namespace::MOUNT)?;
        Ok(work())
    })?
}

/// Detaches the topmost mount at a name of an open directory, and everything mounted below it. Only for threads of
/// [`run_in`], whose working directory it changes.
///
/// # Errors
/// The call that failed: `EINVAL` when nothing is mounted there.
pub fn detach_in(directory: impl AsFd, name: &std::ffi::OsStr) -> Result<()> {
    crate::mount::set_working_dir_to(directory)?;
    crate::mount::detach(Path::new(name))
}

/// Where an open file is, as the calling thread's mount namespace has it. A file that is mounted nowhere, or was
/// removed, has a path that means nothing.
///
/// # Errors
/// The `readlink` call that failed.
pub fn path_of(fd: impl AsFd) -> Result<PathBuf> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    let link = format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd());
    let text = rustix::fs::readlink(&link, Vec::new()).named(|| format!("readlink({link:?})"))?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(text.into_bytes())))
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let started =
            std::thread::Builder::new().name("mntns".into()).stack_size(STACK).spawn_scoped(scope, work);
        let failed = |error: std::io::Error| {
            Error::new("clone(mntns thread)", error.raw_os_error().unwrap_or(libc::EAGAIN))
        };
        match started.map_err(failed)?.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_knows_its_path() {
        let file = std::fs::File::open("/proc/version").unwrap();
        assert_eq!(path_of(&file).unwrap(), Path::new("/proc/version"));
    }
}
