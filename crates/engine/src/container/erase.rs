//! The end of a container: its layer, files, volumes and record.

use std::path::Path;

use super::launch::Places;
use super::record::Record;
use super::spec::MountSource;
use super::teardown;
use crate::engine::Engine;
use crate::{Error, Result};

/// Removes everything of a container. That it is removed is on the disk before anything of it is given up: `is_known` when
/// it is by now. One that removes itself is removed again whatever is found of it.
///
/// ```text
/// links, addresses, processes ─► [removal recorded ─► volumes] ─► record and snapshot forgotten ─► directories given up
/// ```
///
/// What a kill leaves after the record is gone has no owner, and the next boot removes it before it answers anybody.
pub(crate) fn erase(engine: &Engine, record: &Record, is_known: bool) -> Result<()> {
    let places = Places::of(engine, &record.id);
    let mut durable = !is_known && !record.host_config.auto_remove;
    teardown::teardown(engine, record, None)?;
    teardown::sweep_processes(engine, record)?;
    let volumes = volumes(engine, record);
    if !volumes.is_empty() {
        // Only the record tells that they go as well.
        if durable {
            engine.records.save(record, true)?;
            durable = false;
        }
        for name in volumes {
            crate::volume::erase(engine, name, crate::volume::Why::WithItsContainer)?;
        }
    }
    let forgotten = engine.records.forget(&engine.images, &record.id, durable);
    let failed = |error: image::Error| Error::system(error.to_string());
    match forgotten {
        Ok(()) => {
            engine.images.discard_snapshot(&record.id).map_err(failed)?;
            engine.images.discard(&places.data_dir).map_err(failed)?;
        }
        Err(error) => {
            // A full disk takes no record, and a removal makes room: what was asked for happens all the same.
            tracing::error!(container = crate::id::short(&record.id), %error, "removed before it can be recorded");
            engine.images.free_snapshot(&record.id).map_err(failed)?;
            remove_dir(&places.data_dir)?;
            engine.records.forget(&engine.images, &record.id, true)?;
        }
    }
    engine.execs.forget_container(&record.id);
    Ok(())
}

/// The volumes that go with the container: anonymous ones that nobody else has taken over with `--volumes-from`.
fn volumes<'a>(engine: &Engine, record: &'a Record) -> Vec<&'a str> {
    if !record.remove_volumes && !record.host_config.auto_remove {
        return Vec::new();
    }
    let anonymous = record.spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, anonymous: true, .. } => Some(name.as_str()),
        _ => None,
    });
    anonymous.filter(|name| !crate::volume::is_used_beside(engine, name, &record.id)).collect()
}

fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::system(format!("remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
