//! Remove a container and, when asked, its anonymous volumes.

use super::state::{Input, State};
use super::stop::ended;
use crate::engine::Engine;
use crate::{Error, Kind, Result};

/// Removes a container and waits until nothing of it is left. `volumes` takes its anonymous volumes along.
pub async fn remove(engine: &Engine, reference: &str, force: bool, volumes: bool) -> Result<()> {
    let handle = engine.containers.find(reference)?;
    if volumes {
        handle
            .change(|record| {
                record.remove_volumes = true;
                Ok(())
            })
            .await?;
    }
    handle.request(Input::Remove { force }).await?;
    if force {
        match ended(&handle, 0, |view| view.state().running().is_none()).await {
            Err(error) if error.kind != Kind::NotFound => {
                let what = format!("cannot remove container {reference:?}: could not kill container");
                return Err(error.context(what));
            }
            _ => {}
        }
    }
    let over = |view: &super::view::View| matches!(view.state(), State::Gone { .. } | State::Dead { .. });
    match handle.until(over).await {
        Ok(view) => match view.state() {
            State::Dead { ended } => Err(Error::system(ended.error.clone())),
            _ => Ok(()),
        },
        Err(error) if error.kind == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
