//! Stop and restart: the signal, the grace, SIGKILL.

use std::sync::Arc;
use std::time::Duration;

use super::resolve::stop_signal_of;
use super::state::{Input, State};
use super::view::View;
use super::{registry::Handle, signal};

/// How long the end of a program may take after SIGKILL. A program that waits for a device or a file system that hangs
/// cannot be killed; whoever asked is told so. What was asked for is done once the program ends.
const KILL_LIMIT: Duration = Duration::from_secs(20);
use crate::engine::Engine;
use crate::{Error, Kind, Outcome, Result};

/// Signal and grace of a request: what it says, else what the container says, else the daemon's default.
pub(super) fn terms(
    view: &View,
    timeout: Option<i64>,
    signal_name: Option<&str>,
) -> Result<(i32, Option<u64>)> {
    let signal = match signal_name.filter(|name| !name.is_empty()) {
        Some(name) => signal::parse(name)?,
        None => stop_signal_of(&view.record.config.stop_signal)?,
    };
    let seconds = timeout.unwrap_or(view.record.spec.stop_timeout);
    // A negative timeout waits for ever.
    Ok((signal, u64::try_from(seconds).ok()))
}

/// Stops a container and waits until it has stopped.
pub async fn stop(
    engine: &Engine,
    reference: &str,
    timeout: Option<i64>,
    signal_name: Option<&str>,
) -> Result<Outcome> {
    let handle = engine.containers.find(reference)?;
    let (signal, grace_seconds) = terms(&handle.view(), timeout, signal_name)?;
    if handle.request(Input::Stop { signal, grace_seconds }).await? == Outcome::Unchanged {
        return Ok(Outcome::Unchanged);
    }
    settled(&handle, grace_seconds).await.map_err(|error| {
        if error.kind == Kind::System {
            error.context(format!("cannot stop container: {}", handle.id))
        } else {
            error
        }
    })?;
    Ok(Outcome::Done)
}

/// Waits for a snapshot that comes with the end of a program, for as long as that may take after a grace.
pub(crate) async fn ended(
    handle: &Handle,
    grace_seconds: u64,
    accept: impl FnMut(&View) -> bool,
) -> Result<Arc<View>> {
    let limit = Duration::from_secs(grace_seconds).saturating_add(KILL_LIMIT);
    match tokio::time::timeout(limit, handle.until(accept)).await {
        Ok(found) => found,
        Err(_) => Err(Error::system(
            "tried to kill container, but did not receive an exit event: its program waits for something that hangs",
        )),
    }
}

/// Waits until there is neither a process nor a launch.
async fn settled(handle: &Handle, grace_seconds: Option<u64>) -> Result<()> {
    let at_rest =
        |view: &View| view.state().running().is_none() && !matches!(view.state(), State::Starting { .. });
    // A container that removes itself may be gone before the watcher looks: it has stopped all the same.
    let found = match grace_seconds {
        Some(seconds) => ended(handle, seconds, at_rest).await,
        None => handle.until(at_rest).await,
    };
    match found {
        Ok(_) => Ok(()),
        Err(error) if error.kind == crate::Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Stops a container when it runs, then starts it.
pub async fn restart(
    engine: &Engine,
    reference: &str,
    timeout: Option<i64>,
    signal_name: Option<&str>,
) -> Result<()> {
    let handle = engine.containers.find(reference)?;
    let view = handle.view();
    let (signal, grace_seconds) = terms(&view, timeout, signal_name)?;
    handle.request(Input::Restart { signal, grace_seconds }).await?;
    let launches = view.launches;
    if let Some(seconds) = grace_seconds {
        let is_over = |view: &View| view.launches > launches || view.state().running().is_none();
        ended(&handle, seconds, is_over)
            .await
            .map_err(|error| error.context(format!("Cannot restart container {reference}")))?;
    }
    let view = handle.until(|view| view.launches > launches).await?;
    match view.state().ended() {
        Some(ended) if !ended.error.is_empty() => Err(Error::system(ended.error.clone())),
        _ => Ok(()),
    }
}
