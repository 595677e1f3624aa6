//! What a container changed of its image's files.

use api::container::FilesystemChange;

use super::spec::RootSource;
use crate::engine::Engine;
use crate::{Error, Result, image_use};

/// The changes in the order of paths. Mount points that the engine made are among them, as in Docker.
pub async fn changes(engine: &Engine, reference: &str) -> Result<Vec<FilesystemChange>> {
    let record = engine.containers.find(reference)?.view().record.clone();
    if record.spec.root.source != RootSource::Image {
        return Err(Error::invalid(
            "the root of this container is a directory of the host: what it was before is not known",
        ));
    }
    let engine = engine.clone();
    let found = crate::blocking(move || {
        // One that was never used has no directories yet.
        match engine.images.snapshot(&record.id).map_err(image_use::error)? {
            Some(_) => engine.images.changes(&record.id).map_err(image_use::error),
            None => Ok(Vec::new()),
        }
    })
    .await?;
    Ok(found
        .into_iter()
        .map(|change| FilesystemChange {
            path: change.path,
            kind: match change.kind {
                image::ChangeKind::Modified => FilesystemChange::MODIFIED,
                image::ChangeKind::Added => FilesystemChange::ADDED,
                image::ChangeKind::Deleted => FilesystemChange::DELETED,
            },
        })
        .collect())
}
