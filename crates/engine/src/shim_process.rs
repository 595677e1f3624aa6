//! Shims as processes: start one, reach one again, read what one left behind.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use tokio::io::Interest;

use crate::container::state::Input;
use crate::{Error, Result};

/// A shim that does not take a connection in this time is stopped or hung.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Starts a shim for a container; answers with the daemon's end of its first connection. The process is reaped when it
/// ends, for as long as this daemon lives.
pub(crate) fn spawn(program: &Path, exec_dir: &Path) -> Result<shim::spawn::Spawned> {
    shim::spawn::spawn(program, exec_dir).map_err(|error| Error::system(error.to_string()))
}

/// Reaps a shim when it ends.
pub(crate) fn reap_later(mut child: shim::spawn::Child) {
    tokio::spawn(async move {
        let Some(pidfd) = child.as_pidfd().map(|pidfd| pidfd.try_clone_to_owned()) else { return };
        let ended = async {
            let pidfd = crate::descriptor::watch(pidfd?, Interest::READABLE)?;
            pidfd.readable().await?.retain_ready();
            child.reap()
        };
        match ended.await {
            Ok(how) => tracing::debug!(?how, "a shim ended"),
            Err(error) => tracing::error!(%error, "a shim cannot be waited for"),
        }
    });
}

/// Connects to the shim of a container; `None` when there is none.
pub(crate) fn connect(exec_dir: &Path) -> Result<Option<OwnedFd>> {
    match shim::recovery::connect(exec_dir, CONNECT_LIMIT) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(Error::system(format!("reach the shim: {error}"))),
        },
    }
}

/// How long a shim may take to leave.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Waits until the shim of an exec directory has gone, if there is one. It is killed at once, or when it does not leave
/// after it has recorded the end of its program.
pub(crate) fn end(exec_dir: &Path, has_recorded: bool) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| Error::system(format!("end a shim: {error}"));
    let found = shim::recovery::shim_process(exec_dir).map_err(|error| failed(&error))?;
    let Some(process) = found else { return Ok(()) };
    let gone = || linux::watch::wait(&[(process.as_fd(), linux::watch::Interest::Readable)], END_LIMIT);
    if has_recorded && gone().map_err(|error| failed(&error))?.contains(&true) {
        return Ok(());
    }
    process.send(9).map_err(|error| failed(&error))?;
    gone().map(drop).map_err(|error| failed(&error))
}

/// How a run ended, and which one.
#[derive(Debug)]
pub(crate) struct LastRun {
    /// Its end.
    pub(crate) input: Input,
    /// Its first process as the host saw it.
    pub(crate) pid: u32,
    /// When that was started, in clock ticks since boot.
    pub(crate) start_time_ticks: u64,
}

/// What the shim recorded of its container's end; `None` when it recorded nothing, or nothing that can be read, as after a
/// loss of power: a container whose exit code is lost is a container all the same.
pub(crate) fn exit_record(data_dir: &Path) -> Option<LastRun> {
    let record = shim::exit_record::read(data_dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "how its container ended is not known any more");
        None
    });
    record.map(|record| LastRun {
        input: Input::ProcessExited {
            code: record.exit.code,
            at: crate::shim_link::nanos(record.exit.at),
            oom_killed: record.exit.oom_killed,
        },
        pid: record.pid,
        start_time_ticks: record.start_time_ticks,
    })
}

/// Whether a shim started its program, also when the shim is gone.
pub(crate) fn was_started(exec_dir: &Path) -> bool {
    shim::recovery::started_path(exec_dir).exists()
}
