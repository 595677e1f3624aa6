//! Make a volume, or find the one that has the name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;

use api::volume::{CreateRequest, Volume};

use super::{LOCAL, attributes, claim, list, new_record, options};
use crate::engine::Engine;
use crate::records::{Pending, VolumeRecord};
use crate::{Error, Result, id};

/// Makes a volume, or answers with the one that has the name already.
pub async fn create(engine: &Engine, request: CreateRequest) -> Result<Volume> {
    let anonymous = request.name.is_empty();
    let name = if anonymous { id::new_id()? } else { request.name };
    let options = request.driver_opts.unwrap_or_default();
    let mut record = record_of(engine, &name, anonymous, &request.driver, options)
        .map_err(|error| error.context(format!("create {name}")))?;
    record.labels.extend(request.labels.unwrap_or_default());
    let engine = engine.clone();
    crate::blocking(move || {
        ensure(&engine, record, None).map_err(|error| error.context(format!("create {name}")))?;
        list::look(&engine, &name)
    })
    .await
}

/// Bytes of the name of a volume that a plugin keeps.
const MAX_FOREIGN_NAME: usize = 1024;

/// The record of a volume that is to be made, checked: its name, its driver, the driver's options.
pub(crate) fn record_of(
    engine: &Engine,
    name: &str,
    anonymous: bool,
    driver: &str,
    options: BTreeMap<String, String>,
) -> Result<VolumeRecord> {
    let mut record = new_record(name, anonymous);
    if matches!(driver, "" | LOCAL) {
        refuse_name(name)?;
        options::validate(&options, || engine.images.quotas().are_supported())?;
    } else {
        driver.clone_into(&mut record.driver);
        refuse_foreign_name(name)?;
    }
    record.options = options;
    Ok(record)
}

/// Refuses what cannot be the name of a volume of the local driver.
pub(crate) fn refuse_name(name: &str) -> Result<()> {
    if id::is_valid_name(name) {
        return Ok(());
    }
    if name.len() == 1 {
        return Err(Error::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    Err(Error::invalid(format!(
        "\"{}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
        name.escape_debug()
    )))
}

/// Refuses what no plugin is asked for. What a name means is the plugin's affair: it is never a path of ours.
fn refuse_foreign_name(name: &str) -> Result<()> {
    if name.len() <= MAX_FOREIGN_NAME && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "\"{}\" is no name for a volume: it is too long or contains control characters",
        name.escape_debug()
    )))
}

/// Makes sure that a volume exists; tells whether it was made now. It stays at least until the container that is being
/// made for it exists, see [`super::end_reservations`]. Blocks on the disk and on the driver.
pub(crate) fn ensure(engine: &Engine, mut wanted: VolumeRecord, for_container: Option<&str>) -> Result<bool> {
    let name = wanted.name.clone();
    let plugin = engine.volumes.plugin(&wanted)?;
    if let Some(plugin) = &plugin {
        plugin.name().clone_into(&mut wanted.driver);
    }
    engine.volumes.uses.with(&name, |used| {
        let found = engine.volumes.find(&name);
        // A container that names no driver takes the volume that there is.
        let takes_any = for_container.is_some() && wanted.driver == LOCAL && wanted.options.is_empty();
        if let Some(found) = &found
            && found.driver != wanted.driver
            && !takes_any
        {
            let driver = &found.driver;
            return Err(Error::conflict(format!(
                "driver '{driver}' already has volume '{name}': volume name must be unique"
            )));
        }
        match (&found, &plugin) {
            (Some(_), _) if for_container.is_none() => claim::keep(engine, &name)?,
            (Some(_), _) => {}
            (None, Some(plugin)) => {
                plugin.create(&name, &wanted.options)?;
                keep(engine, wanted)?;
            }
            (None, None) => {
                wanted.pending = for_container.map(|_| Pending::Unclaimed);
                make(engine, wanted)?;
            }
        }
        if let Some(container) = for_container {
            used.reserve(container);
        }
        Ok(found.is_none())
    })
}

/// Makes a volume of the local driver: its record first, for a boot makes the directory of a volume that has none, and
/// nobody would know whose a directory without a record is.
fn make(engine: &Engine, wanted: VolumeRecord) -> Result<()> {
    engine.records.save_volume(&wanted)?;
    if let Err(error) = furnish(engine, &wanted) {
        if let Err(again) = engine.records.forget_volume(&wanted.name) {
            tracing::error!(volume = wanted.name, error = %again, "the next boot tries again to make it");
        }
        return Err(error);
    }
    announce(engine, wanted);
    Ok(())
}

/// The directory of a volume of the local driver, with its limits.
pub(super) fn furnish(engine: &Engine, wanted: &VolumeRecord) -> Result<()> {
    make_directory(engine, &wanted.name)?;
    limit(engine, wanted)
}

/// Limits what may be written into a new volume of the local driver.
fn limit(engine: &Engine, wanted: &VolumeRecord) -> Result<()> {
    let bytes = options::size_limit(&wanted.options)?;
    let path = engine.volumes.path(&wanted.name);
    match path.parent() {
        Some(top) if bytes > 0 => {
            engine.images.quotas().limit(&[top, &path], bytes).map_err(crate::image_use::error)
        }
        _ => Ok(()),
    }
}

fn keep(engine: &Engine, wanted: VolumeRecord) -> Result<()> {
    engine.records.save_volume(&wanted)?;
    announce(engine, wanted);
    Ok(())
}

fn announce(engine: &Engine, made: VolumeRecord) {
    engine.events.publish("volume", "create", &made.name, attributes(&made));
    engine.volumes.lock().insert(made.name.clone(), made);
}

/// The directory of a volume of the local driver.
pub(super) fn make_directory(engine: &Engine, name: &str) -> Result<()> {
    let path = engine.volumes.path(name);
    let failed = |error: std::io::Error| Error::system(format!("make volume {}: {error}", path.display()));
    let directory = |mode| {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(mode);
        builder
    };
    directory(0o701).create(path.parent().unwrap_or(&path)).map_err(failed)?;
    directory(0o755).create(&path).map_err(failed)
}
