//! Images as containers use them.

use api::config::Config;
use image::{Reserved, Runnable, Silent, User, Users};
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
        image::Kind::NotFound => Error::no_image(message),
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

/// The mark by which programs know that they are in a container.
const MARKS: &[&str] = &[".dockerenv"];

/// Finds what a container's own layer is to lie on: its image, or nothing of ours. To be recorded with the container.
pub(crate) fn reserve(engine: &Engine, record: &Record, runnable: Option<&Runnable>) -> Result<Reserved> {
    engine.images.reserve_snapshot(&record.id, runnable, &Silent).map_err(error)
}

/// Records a container's own layer ahead of the container, and makes its directories.
pub(crate) fn prepare(engine: &Engine, record: &Record, reserved: &Reserved) -> Result<()> {
    let recorded = engine.records.store().write_relaxed(|transaction| reserved.record(transaction));
    recorded.map_err(error)?;
    snapshot(engine, record).map(drop)
}

/// A container's own layer and those below. Its directories are made when it is used first, and again when a loss of power
/// took them before anything was in them.
pub(crate) fn snapshot(engine: &Engine, record: &Record) -> Result<image::Snapshot> {
    let open = || engine.images.open_snapshot(&record.id, MARKS).map_err(error);
    let found = match open()? {
        Some(found) => Some(found),
        None => {
            let from_image = record.spec.root.source == RootSource::Image;
            let image = from_image.then(|| engine.images.runnable(&record.image_id, None)).transpose();
            let reserved = reserve(engine, record, image.map_err(error)?.as_ref())?;
            let recorded = engine.records.store().write_relaxed(|transaction| reserved.record(transaction));
            recorded.map_err(error)?;
            open()?
        }
    };
    let Some((snapshot, is_new)) = found else {
        return Err(Error::conflict(format!("container {} is being removed", record.id)));
    };
    let size = record.spec.root.size_limit;
    if is_new
        && size > 0
        && let Err(refused) = engine.images.limit_snapshot(&record.id, size)
    {
        // Nothing is in it yet; without its limit nothing may be.
        engine.images.discard_snapshot(&record.id).map_err(error)?;
        return Err(error(refused));
    }
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
