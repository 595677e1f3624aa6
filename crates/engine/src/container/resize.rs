//! Set the size of a container's terminal.

use shim::protocol::Target;

use crate::engine::Engine;
use crate::{Error, Result};

/// A size that a terminal can have.
pub(crate) fn cells(value: u32) -> Result<u16> {
    u16::try_from(value).map_err(|_| Error::invalid(format!("invalid terminal size {value}: at most 65535")))
}

/// Resizes the terminal of a running container, in lines and characters.
pub async fn resize(engine: &Engine, reference: &str, height: u32, width: u32) -> Result<()> {
    let handle = engine.containers.find(reference)?;
    let view = handle.view();
    let live = view
        .live
        .as_ref()
        .ok_or_else(|| Error::conflict(format!("container {} is not running", handle.id)))?;
    live.link.resize(Target::Container, cells(height)?, cells(width)?).await?;
    let mut attributes = view.record.attributes();
    attributes.insert("height".to_owned(), height.to_string());
    attributes.insert("width".to_owned(), width.to_string());
    engine.events.publish("container", "resize", &handle.id, attributes);
    Ok(())
}
