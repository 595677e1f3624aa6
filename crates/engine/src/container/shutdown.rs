//! Stop all containers because the daemon ends and was told not to leave them running.

use std::time::Duration;

use super::registry::Handle;
use super::state::State;
use super::stop;
use crate::engine::Engine;

/// What a container gets beyond its own patience, as in Docker.
const MORE: Duration = Duration::from_secs(5);

/// Stops every container, all at once, each with its own signal and patience; waits for the longest of these, or for
/// `patience` when that is longer. For its restart policy none of them counts as stopped by somebody.
pub async fn stop_all(engine: &Engine, patience: Duration) {
    let running: Vec<Handle> = engine.containers.all().into_iter().filter(is_alive).collect();
    let limit = running.iter().map(own_patience).max().unwrap_or_default().max(patience);
    let stops: Vec<_> =
        running.into_iter().map(|handle| tokio::spawn(stop_one(engine.clone(), handle))).collect();
    let all = async {
        for stop in stops {
            if let Err(error) = stop.await {
                tracing::error!(%error, "stop a container");
            }
        }
    };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!(seconds = limit.as_secs(), "containers did not stop in time: they run on");
    }
}

fn is_alive(handle: &Handle) -> bool {
    let view = handle.view();
    view.state().running().is_some()
        || matches!(view.state(), State::Restarting { .. } | State::Starting { .. })
}

fn own_patience(handle: &Handle) -> Duration {
    match u64::try_from(handle.view().record.spec.stop_timeout) {
        Ok(seconds) => Duration::from_secs(seconds).saturating_add(MORE),
        // It waits for ever; a daemon that is told to end does not.
        Err(_) => Duration::ZERO,
    }
}

async fn stop_one(engine: Engine, handle: Handle) {
    let was_told = |state: &State| match state {
        State::Running(running) | State::Paused(running) => running.told_to_stop,
        State::Exited { told_to_stop, .. } => *told_to_stop,
        _ => false,
    };
    let before = was_told(handle.view().state());
    let stopped = stop::stop(&engine, &handle.id, None, None).await;
    let recorded = handle.change(move |record| {
        if let State::Exited { told_to_stop, .. } = &mut record.state {
            *told_to_stop = before;
        }
        Ok(())
    });
    // One that removes itself is gone by now.
    for result in [stopped.map(drop), recorded.await] {
        if let Err(error) = result
            && error.kind != crate::Kind::NotFound
        {
            tracing::warn!(container = crate::id::short(&handle.id), %error, "stop at the end of the daemon");
        }
    }
}
