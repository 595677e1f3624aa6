//! Start a container and wait until its program runs, or is known not to.

use super::state::{Input, State};
use crate::engine::Engine;
use crate::{Error, Outcome, Result};

/// Starts a container. Answers once the program runs; a launch that fails is an error in Docker's words.
pub async fn start(engine: &Engine, reference: &str) -> Result<Outcome> {
    let handle = engine.containers.find(reference)?;
    let launches = handle.view().launches;
    if handle.request(Input::Start).await? == Outcome::Unchanged
        && !matches!(handle.view().state(), State::Starting { .. })
    {
        return Ok(Outcome::Unchanged);
    }
    let view =
        handle.until(|view| view.launches > launches || matches!(view.state(), State::Gone { .. })).await?;
    match view.state().ended() {
        Some(ended) if !ended.error.is_empty() => Err(start_error(&ended.error, ended.code)),
        _ => Ok(Outcome::Done),
    }
}

/// A failed launch: exit codes 126 and 127 are the request's fault, everything else is ours.
fn start_error(message: &str, code: i32) -> Error {
    match code {
        126 | 127 => Error::invalid(message),
        _ => Error::system(message),
    }
}
