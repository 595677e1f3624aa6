//! Images as containers use them.

use std::os::unix::fs::OpenOptionsExt;

use api::config::Config;
use image::{Runnable, Silent, User, Users};
use oci::{Digest, Platform};

use crate::container::record::Record;
use crate::container::spec::{MountSource, RootSource};
use crate::engine::Engine;
use crate::{Error, Result};

/// What a container takes from an image.
#[derive(Debug, Clone)]
pub(crate) struct ImageForContainer {
    /// The image's digest; empty for a directory of the host.
    pub(crate) id: String,
    /// Its configuration.
    pub(crate) config: Config,
    /// Its root.
    pub(crate) root: RootSource,
    /// The image itself.
    pub(crate) runnable: Option<Runnable>,
}

/// An error of the image store in the engine's kinds; the words are Docker's already.
pub(crate) fn error(error: image::Error) -> Error {
    let message = error.to_string();
    match error.kind() {
        image::Kind::NotFound => Error::not_found(message),
        image::Kind::Invalid => Error::invalid(message),
        image::Kind::Conflict => Error::conflict(message),
        _ => Error::system(message),
    }
}

/// Parses `os[/arch[/variant]]`.
pub(crate) fn platform(text: Option<&str>) -> Result<Option<Platform>> {
    let parse = |text: &str| text.parse::<Platform>().map_err(|error| Error::invalid(error.to_string()));
    text.filter(|text| !text.is_empty()).map(parse).transpose()
}

/// Finds an image for a new container.
pub(crate) fn for_container(engine: &Engine, name: &str, wanted: Option<&str>) -> Result<ImageForContainer> {
    let wanted = platform(wanted)?;
    let runnable = engine.images.runnable(name, wanted.as_ref()).map_err(error)?;
    let config =
        serde_json::to_value(&runnable.config.config).and_then(|value| api::json::from_value(&value));
    let config = config.map_err(|error| Error::system(format!("configuration of {name}: {error}")))?;
    Ok(ImageForContainer {
        id: runnable.id.to_string(),
        config,
        root: RootSource::Image,
        runnable: Some(runnable),
    })
}

/// Prepares a container's own layer, above its image or above nothing of ours.
pub(crate) fn prepare(engine: &Engine, record: &Record, runnable: Option<&Runnable>) -> Result<()> {
    let id = &record.id;
    let prepared = match runnable {
        Some(runnable) => engine.images.prepare_snapshot(id, runnable, &Silent),
        None => engine.images.prepare_bare_snapshot(id),
    };
    let prepared = prepared.map_err(error)?;
    limit(engine, record).and_then(|()| mark(&prepared)).inspect_err(|_| {
        if let Err(again) = engine.images.remove_snapshot(id) {
            tracing::error!(error = %again, "cannot undo the layer of a failed creation");
        }
    })
}

/// Limits what a container may write, before it has written anything.
fn limit(engine: &Engine, record: &Record) -> Result<()> {
    match record.spec.root.size_limit {
        0 => Ok(()),
        bytes => engine.images.limit_snapshot(&record.id, bytes).map_err(error),
    }
}

/// The mark by which programs know that they are in a container.
fn mark(snapshot: &image::Snapshot) -> Result<()> {
    let path = snapshot.upper.join(".dockerenv");
    let made = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o755).open(&path);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::system(format!("make {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// A container's own layer and those below. A layer that a loss of power took before anything was in it is made again.
pub(crate) fn snapshot(engine: &Engine, record: &Record) -> Result<image::Snapshot> {
    if let Some(snapshot) = engine.images.snapshot(&record.id).map_err(error)? {
        return Ok(snapshot);
    }
    let made = if record.spec.root.source == RootSource::Image {
        let runnable = engine.images.runnable(&record.image_id, None).map_err(error)?;
        engine.images.prepare_snapshot(&record.id, &runnable, &Silent)
    } else {
        engine.images.prepare_bare_snapshot(&record.id)
    };
    let snapshot = made.map_err(error)?;
    limit(engine, record)?;
    mark(&snapshot)?;
    Ok(snapshot)
}

/// Identifier of the image that a name means now.
pub(crate) fn id_of(engine: &Engine, name: &str) -> Result<String> {
    Ok(engine.images.resolve(name).map_err(error)?.id.to_string())
}

/// The image as a list of containers shows it: the name it was made with while that still means the same image.
pub(crate) fn shown_name(_: &Engine, record: &Record) -> String {
    if record.image_name.is_empty() { record.image_id.clone() } else { record.image_name.clone() }
}

/// Bytes of a container's own layer.
pub(crate) fn own_layer_size(engine: &Engine, id: &str) -> Result<i64> {
    if engine.images.snapshot(id).map_err(error)?.is_none() {
        return Ok(0);
    }
    let usage = engine.images.snapshot_usage(id).map_err(error)?;
    Ok(i64::try_from(usage.bytes).unwrap_or(i64::MAX))
}

/// Bytes of the layers below a container's own.
pub(crate) fn lower_size(engine: &Engine, id: &str) -> Result<i64> {
    let size = engine.images.snapshot_lower_size(id).map_err(error)?;
    Ok(i64::try_from(size).unwrap_or(i64::MAX))
}

/// Whether a container has the files of an image mounted.
fn mounts(record: &Record, image: &str) -> bool {
    let mut mounts = record.spec.mounts.iter();
    mounts.any(|mount| matches!(&mount.source, MountSource::Image { id, .. } if id == image))
}

/// Tells the image store which containers use an image.
pub(crate) struct Containers<'a>(pub(crate) &'a Engine);

impl Users for Containers<'_> {
    fn users_of(&self, image: &Digest) -> Vec<User> {
        let image = image.to_string();
        let views = self.0.containers.all().into_iter().map(|handle| handle.view());
        views
            .filter(|view| view.record.image_id == image || mounts(&view.record, &image))
            .map(|view| User { id: view.record.id.clone(), running: view.state().running().is_some() })
            .collect()
    }
}
