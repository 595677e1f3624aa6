//! Watches over a shim whose program has ended: one that is stopped or hung must not keep the container for ever.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use linux::pidfd::PidFd;
use shim::protocol::Request;
use tokio::io::Interest;

use super::view::Live;
use crate::shim_link::WeakLink;
use crate::{Error, Result, descriptor};

/// How long a shim has for draining and recording before it is asked whether it lives, and how long for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A shim that has not told the end by then may have been stopped by somebody.
const NUDGE: Duration = Duration::from_millis(500);
const KILL: i32 = 9;
const CONTINUE: i32 = 18;

/// A process's descriptor in a form that tokio can wait for.
struct Watched(Arc<PidFd>);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Waits for the end of the program. After it the shim normally tells and leaves, and its connection ends. A shim that
/// does not even answer a greeting is killed: its end makes the owner look for what became of the container.
pub(crate) fn keep(live: &Live, exec_dir: PathBuf) {
    let (pidfd, link) = (Arc::clone(&live.pidfd), live.link.downgrade());
    tokio::spawn(async move {
        if let Err(error) = watch(pidfd, &link, &exec_dir).await {
            tracing::error!(%error, dir = %exec_dir.display(), "cannot watch over a shim");
        }
    });
}

async fn watch(pidfd: Arc<PidFd>, link: &WeakLink, exec_dir: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::system(format!("watch a program: {error}"));
    let watched = descriptor::watch(Watched(pidfd), Interest::READABLE).map_err(failed)?;
    watched.readable().await.map_err(failed)?.retain_ready();
    tokio::time::sleep(NUDGE).await;
    if link.upgrade().is_some() {
        // Means nothing to a shim that runs. One that was stopped goes on: it drains the output and tells the end.
        signal_shim(exec_dir, CONTINUE)?;
    }
    loop {
        tokio::time::sleep(PATIENCE).await;
        // Nobody keeps the connection any more: the end was told, and everything is in order.
        let Some(link) = link.upgrade() else { return Ok(()) };
        match tokio::time::timeout(PATIENCE, link.call(Request::Hello, Vec::new())).await {
            // It lives: a slow client may still be reading the rest.
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Ok(()),
            Err(_) => break,
        }
    }
    tracing::warn!(dir = %exec_dir.display(), "a shim does not answer although its program has ended: it is killed");
    signal_shim(exec_dir, KILL)
}

/// Sends a signal to a shim, if it is there.
fn signal_shim(exec_dir: &Path, signal: i32) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| Error::system(format!("signal a shim: {error}"));
    let shim = shim::recovery::shim_process(exec_dir).map_err(|error| failed(&error))?;
    shim.map_or(Ok(false), |process| process.send(signal)).map(|_| ()).map_err(|error| failed(&error))
}
