//! A container's whole root as a tar, without what is mounted in it.

use std::io::Write;

use super::state::State;
use crate::engine::Engine;
use crate::{Error, Result, image_use};

/// Writes the archive. The container may run: files that change meanwhile are as they were when their turn came.
pub async fn export(engine: &Engine, reference: &str, mut sink: impl Write + Send + 'static) -> Result<()> {
    let handle = engine.containers.find(reference)?;
    let view = handle.view();
    let id = &handle.id;
    match view.state() {
        State::Dead { .. } => {
            return Err(Error::conflict(format!("You cannot export container {id} which is Dead")));
        }
        State::Removing { .. } | State::Gone { .. } => {
            return Err(Error::conflict(format!("You cannot export container {id} which is being removed")));
        }
        _ => {}
    }
    let (owned, seen) = (engine.clone(), view.clone());
    let written = engine.file_work.run(id, move || {
        let (root, ids) = super::files::root(&owned, &seen)?;
        image::write_tree(&root, &ids, &mut sink).map_err(image_use::error)?;
        sink.flush().map_err(|error| Error::system(format!("send the archive: {error}")))
    });
    written.await.map_err(|error| error.context(format!("Error exporting container {reference}")))?;
    engine.events.publish("container", "export", id, view.record.attributes());
    Ok(())
}
