//! Send a signal to a container's program.

use super::resolve::stop_signal_of;
use super::signal;
use super::state::Input;
use super::stop::ended;
use super::view::View;
use crate::engine::Engine;
use crate::{Error, Kind, Result};

const KILL: i32 = 9;

/// Sends a signal (SIGKILL when none is named). SIGKILL is waited for, as Docker does.
pub async fn kill(engine: &Engine, reference: &str, signal_name: &str) -> Result<()> {
    send(engine, reference, signal_name)
        .await
        .map_err(|error| error.context(format!("cannot kill container: {reference}")))
}

/// The signal of this name or number.
fn named(text: &str) -> Result<i32> {
    signal::parse(text).map_err(|error| match text.parse::<i64>() {
        Ok(number) if number != 0 => {
            Error::invalid(format!("the linux daemon does not support signal {number}"))
        }
        _ => error,
    })
}

async fn send(engine: &Engine, reference: &str, signal_name: &str) -> Result<()> {
    let handle = engine.containers.find(reference)?;
    let signal = if signal_name.is_empty() { KILL } else { named(signal_name)? };
    let view = handle.view();
    let stops = signal == KILL || signal == stop_signal_of(&view.record.config.stop_signal)?;
    let exits = view.exits;
    handle.request(Input::Kill { signal, stops }).await?;
    if signal == KILL {
        let is_over = |view: &View| view.exits > exits || view.state().running().is_none();
        match ended(&handle, 0, is_over).await {
            Ok(_) => {}
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
