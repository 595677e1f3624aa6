//! Starting a shim: a child of the daemon while that lives, with one end of a socket pair as its descriptor 0.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use linux::child::How;
use linux::pidfd::PidFd;

/// A shim that was started.
#[derive(Debug)]
pub struct Spawned {
    /// The process, to be reaped.
    pub child: Child,
    /// Our end of its first control connection; blocking.
    pub socket: OwnedFd,
}

/// Why no shim could be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot start a shim: {0}")]
    Linux(#[from] linux::Error),
    /// A file or the program failed.
    #[error("cannot start a shim: {}: {source}", path.display())]
    File {
        /// The log file of the shim, or the program.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Freed memory is not kept in the allocator's cache, where it would hold whole pages for good.
const SMALL_HEAP: &str = "glibc.malloc.tcache_count=0";

/// Starts `program` (our own binary, by a path that nobody can change) as the shim of an existing exec directory.
///
/// Its error output, which is empty unless it panics, goes to `<exec_dir>/shim.log`.
pub fn spawn(program: &Path, exec_dir: &Path) -> Result<Spawned, Error> {
    let (ours, theirs) = linux::socket::pair()?;
    let log_path = log_path(exec_dir);
    let log = File::options().append(true).create(true).open(&log_path);
    let log = log.map_err(|source| Error::File { path: log_path, source })?;
    let child = Command::new(program)
        .arg0("berth")
        .args(["shim", "--exec-dir"])
        .arg(exec_dir)
        .env_clear()
        .env("GLIBC_TUNABLES", SMALL_HEAP)
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|source| Error::File { path: program.to_owned(), source })?;
    // Nobody else reaps our children, so the number still means this one.
    let pidfd = PidFd::open(child.id())?;
    Ok(Spawned { child: Child { pidfd, child }, socket: ours })
}

/// Where the error output of a shim goes.
#[must_use]
pub fn log_path(exec_dir: &Path) -> PathBuf {
    exec_dir.join("shim.log")
}

/// What a shim that panicked had to say; `None` when it said nothing. At most 16 KiB.
pub fn last_words(exec_dir: &Path) -> io::Result<Option<String>> {
    let path = log_path(exec_dir);
    let mut text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    text.truncate(text.floor_char_boundary(16 * 1024));
    Ok((!text.is_empty()).then_some(text))
}

/// A shim process that is our child.
///
/// Its descriptor is readable once the process has ended; call [`Child::reap`] then, or it stays a zombie as long as
/// we live. When we end first, it becomes init's child and lives on.
#[derive(Debug)]
#[must_use = "a child that is not reaped becomes a zombie"]
pub struct Child {
    child: std::process::Child,
    /// `None` only when the process has been reaped already by somebody else.
    pidfd: Option<PidFd>,
}

impl Child {
    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended; `None` while it lives. Never waits.
    pub fn reap(&mut self) -> io::Result<Option<How>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        Ok(Some(match (status.code(), status.signal()) {
            (Some(code), _) => How::Exited(code),
            (None, signal) => How::Signalled(signal.unwrap_or(0)),
        }))
    }

    /// Sends a signal; `false` when the process has been reaped.
    pub fn signal(&self, signal: i32) -> linux::Result<bool> {
        self.pidfd.as_ref().map_or(Ok(false), |pidfd| pidfd.send(signal))
    }

    /// The pidfd, to wait for the end with; `None` when there is nothing left to wait for.
    #[must_use]
    pub fn as_pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The last chance to reap one that has ended. One that lives becomes init's child when we end.
        let _ = self.child.try_wait();
    }
}
