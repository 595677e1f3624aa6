//! Freeze and thaw a container's processes.

use super::record::Record;
use super::state::Input;
use crate::engine::Engine;
use crate::{Error, Result};

/// Freezes a running container.
pub async fn pause(engine: &Engine, reference: &str) -> Result<()> {
    engine.containers.find(reference)?.request(Input::Pause).await.map(drop)
}

/// Thaws a frozen container.
pub async fn unpause(engine: &Engine, reference: &str) -> Result<()> {
    engine.containers.find(reference)?.request(Input::Unpause).await.map(drop)
}

/// Freezes or thaws the control group; blocks until the kernel says that it is so.
pub(crate) fn set_frozen(engine: &Engine, record: &Record, frozen: bool) -> Result<()> {
    let group = super::group::open(engine, record)?;
    let done = if frozen { group.freeze() } else { group.thaw() };
    done.map_err(|error| {
        let what = if frozen { "pause" } else { "unpause" };
        Error::system(format!("cannot {what} container {}: {error}", record.id))
    })
}
