//! Wait for the end of a container.

use std::future::Future;

use api::container::{WaitCondition, WaitExitError, WaitResponse};

use super::registry::Handle;
use super::state::State;
use super::view::View;
use crate::engine::Engine;
use crate::{Error, Result};

/// Begins to wait. The container is looked up at once, so that a door can answer 404 before it starts to stream;
/// the returned future ends when the condition is met.
pub fn wait(
    engine: &Engine,
    reference: &str,
    condition: WaitCondition,
) -> Result<impl Future<Output = Result<WaitResponse>> + Send + 'static> {
    let handle = engine.containers.find(reference)?;
    let exits = handle.view().exits;
    Ok(until(handle, condition, exits))
}

async fn until(handle: Handle, condition: WaitCondition, exits: u64) -> Result<WaitResponse> {
    let met = |view: &View| match condition {
        WaitCondition::NotRunning => {
            // An end counts even when the restart policy has made another run of it before anybody looked.
            view.exits > exits
                || view.state().running().is_none()
                    && !matches!(view.state(), State::Starting { .. } | State::Restarting { .. })
        }
        WaitCondition::NextExit => {
            view.exits > exits || matches!(view.state(), State::Gone { .. } | State::Removing { .. })
        }
        WaitCondition::Removed => matches!(view.state(), State::Gone { .. } | State::Dead { .. }),
    };
    let is_over = met(&handle.view());
    let mut watch = handle.watch();
    // When the owner is gone its last snapshot stays readable.
    let view = match watch.wait_for(|view| met(view)).await {
        Ok(view) => std::sync::Arc::clone(&view),
        Err(_) => handle.view(),
    };
    // Output that a client asked for comes before the news that there will be no more.
    if !is_over {
        handle.has_been_read().await;
    }
    let ended = view.state().ended().cloned().unwrap_or_default();
    if let (WaitCondition::Removed, State::Dead { .. }) = (condition, view.state()) {
        return Err(Error::system(ended.error));
    }
    // What the last start failed of is told to who asks afterwards; who waits for it is told by the start itself.
    let is_told = is_over && condition == WaitCondition::NotRunning;
    let error = Some(ended.error).filter(|words| is_told && !words.is_empty());
    let error = error.map(|message| WaitExitError { message });
    Ok(WaitResponse { error, status_code: i64::from(ended.code) })
}
