//! The end of a container: its layer, files, volumes and record.

use std::path::Path;

use super::launch::Places;
use super::record::Record;
use super::spec::MountSource;
use super::teardown;
use crate::engine::Engine;
use crate::{Error, Result};

/// Removes everything of a container; the record goes last, so that a failure can be repeated.
pub(crate) fn erase(engine: &Engine, record: &Record) -> Result<()> {
    let places = Places::of(engine, &record.id);
    teardown::teardown(engine, record)?;
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
    // A container that removes itself promised that to nobody: after a kill it is removed again.
    engine.records.forget(&record.id, !record.host_config.auto_remove)?;
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
