//! The role: one thread that waits for a container's output, its end, and requests, and answers each at once.
//!
//! ```text
//!            signalfd ─ children that ended ─┐
//!  control connections ─ requests ───────────┤            ┌─► log file
//!   output of processes ─ pipe or terminal ──┼─► epoll ───┼─► attached streams ─┐
//!     attached streams ─ input ──────────────┤            ├─► input of processes│ slow ones make the
//!      cgroup ─ memory ran out ──────────────┘            └─► events, exit.json │ process wait
//!                                                                               ┘
//! ```
//!
//! No handler waits for anything but the disk and the making of a process. While nothing happens the process holds no
//! buffers and is not woken.

mod attachment;
mod connection;
mod container;
mod ending;
mod flow;
mod foreign;
mod foreign_bundle;
mod held;
mod launch;
mod launcher;
mod process;
mod requests;
mod supervisor;
mod token;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use linux::{child, fd, heap, process as linux_process, socket};

pub use held::Held;
pub use launch::{Launch, Launched, Stdio};
pub use launcher::Launcher;

use crate::recovery;
use supervisor::Supervisor;

/// How unlikely the kernel is to kill a shim when memory runs out (proc_pid_oom_score_adj(5)).
const OOM_SCORE: &str = "-998";

/// Why a shim cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line makes no sense.
    #[error("usage: berth shim --exec-dir DIRECTORY, with a control connection as descriptor 0")]
    Usage,
    /// A system call failed.
    #[error(transparent)]
    Linux(#[from] linux::Error),
    /// A file of the exec directory cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Runs the role with the arguments after `shim`; the exit code of the process.
///
/// Must be called before the process has opened anything or started a thread.
pub fn run(arguments: &[OsString], launch: &mut dyn Launch) -> i32 {
    match supervise(arguments, launch) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("berth shim: {error}");
            1
        }
    }
}

fn supervise(arguments: &[OsString], launch: &mut dyn Launch) -> Result<(), Error> {
    let [flag, exec_dir] = arguments else { return Err(Error::Usage) };
    let exec_dir = Path::new(exec_dir);
    if flag != "--exec-dir" || !exec_dir.is_absolute() {
        return Err(Error::Usage);
    }
    fd::close_inherited()?;
    heap::keep_small();
    let first = take_stdin()?;
    child::own_session()?;
    child::adopt_orphans()?;
    std::env::set_current_dir("/").map_err(|source| Error::File { path: "/".into(), source })?;
    protect_from_oom()?;
    let listener = socket::listen(&recovery::socket_path(exec_dir), 16)?;
    write_pid(exec_dir)?;
    let mut supervisor = Supervisor::new(exec_dir, first, listener, launch)?;
    let result = supervisor.run();
    // An orderly end leaves nothing; after a failure the log tells why.
    if result.is_ok() {
        supervisor.stop_listening();
    }
    result.map_err(Error::Linux)
}

/// The control connection that is descriptor 0; /dev/null takes its place.
fn take_stdin() -> Result<std::os::fd::OwnedFd, Error> {
    let socket = linux_process::inherited(0).ok_or(Error::Usage)?;
    let path = Path::new("/dev/null");
    let null = fs::File::open(path).map_err(|source| Error::File { path: path.into(), source })?;
    linux_process::place(&null, 0)?;
    Ok(socket)
}

/// The daemon can be started anew; a shim that is lost takes the container's exit code with it.
fn protect_from_oom() -> Result<(), Error> {
    let path = PathBuf::from("/proc/self/oom_score_adj");
    match fs::write(&path, OOM_SCORE) {
        // Without CAP_SYS_RESOURCE the score cannot be lowered, and that is all right.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(Error::File { path, source: error })
        }
        _ => Ok(()),
    }
}

fn write_pid(exec_dir: &Path) -> Result<(), Error> {
    let path = recovery::pid_path(exec_dir);
    let write = || -> io::Result<()> {
        let pid = std::process::id();
        let ticks = recovery::start_time_ticks(pid)?.unwrap_or(0);
        fs::write(&path, format!("{pid} {ticks}\n"))
    };
    write().map_err(|source| Error::File { path: path.clone(), source })
}
