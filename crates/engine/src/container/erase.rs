//! The end of a container: its layer, files, volumes and record.

use std::path::Path;

use super::launch::Places;
use super::record::Record;
use super::spec::MountSource;
use super::teardown;
use crate::engine::Engine;
use crate::{Error, Result};

/// Removes everything of a container; the record goes last, so that a failure can be repeated. `is_known` when the disk
/// knows that the removal has begun.
pub(crate) fn erase(engine: &Engine, record: &Record, is_known: bool) -> Result<()> {
    let places = Places::of(engine, &record.id);
    teardown::teardown(engine, record, None)?;
    teardown::sweep_processes(engine, record)?;
    engine.images.remove_snapshot(&record.id).map_err(|error| Error::system(error.to_string()))?;
    remove_dir(&places.data_dir)?;
    if record.remove_volumes || record.host_config.auto_remove {
        for mount in &record.spec.mounts {
            if let MountSource::Volume { name, anonymous: true, .. } = &mount.source {
                // One that another container took over with `--volumes-from` stays with that one.
                if !crate::volume::is_used_beside(engine, name, &record.id) {
                    crate::volume::erase(engine, name, crate::volume::Why::WithItsContainer)?;
                }
            }
        }
    }
    // What was begun is done again by the next boot, before anybody is answered: the disk need not be waited for twice. A
    // container that removes itself is removed again in any case.
    engine.records.forget(&record.id, !is_known && !record.host_config.auto_remove)?;
    engine.execs.forget_container(&record.id);
    Ok(())
}

fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::system(format!("remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
