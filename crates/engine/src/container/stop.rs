//! Stop and restart: the signal, the grace, SIGKILL.

use super::resolve::stop_signal_of;
use super::state::{Input, State};
use super::view::View;
use super::{registry::Handle, signal};
use crate::engine::Engine;
use crate::{Error, Outcome, Result};

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
    settled(&handle).await?;
    Ok(Outcome::Done)
}

/// Waits until there is neither a process nor a launch.
async fn settled(handle: &Handle) -> Result<()> {
    let at_rest =
        |view: &View| view.state().running().is_none() && !matches!(view.state(), State::Starting { .. });
    // A container that removes itself may be gone before the watcher looks: it has stopped all the same.
    match handle.until(at_rest).await {
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
    let view = handle.until(|view| view.launches > launches).await?;
    match view.state().ended() {
        Some(ended) if !ended.error.is_empty() => Err(Error::system(ended.error.clone())),
        _ => Ok(()),
    }
}
