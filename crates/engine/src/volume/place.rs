//! Directories of volumes, and how they come and go in one step: a rename on one file system, after which the record
//! follows, or before which it came.
//!
//! ```text
//! removal    <name> → .staging/removed-<id>-<name>  ·  record forgotten  ·  files removed one by one
//! content    see `incoming`
//! with a container  see `claim`
//! boot       a removed one whose record is still there goes back; any other is removed
//! ```

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{LOCAL, Volumes, claim, incoming, local, options};
use crate::engine::Engine;
use crate::records::{Pending, VolumeRecord};
use crate::{Error, Result, id};

const REMOVED: &str = "removed-";
/// Hexadecimal digits of an identifier.
const ID_LENGTH: usize = 64;

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::system(format!("{what} {path}: {error}"))
}

/// The directory of what is on its way. No volume can have its name.
pub(super) fn staging(volumes: &Volumes) -> Result<PathBuf> {
    let path = volumes.root.join(".staging");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("make", &path))?;
    Ok(path)
}

/// Makes the names in a directory durable.
pub(super) fn sync(path: &Path) -> Result<()> {
    let directory = fs::File::open(path).map_err(failed("open", path))?;
    linux::file::sync(&directory).map_err(|error| Error::system(error.to_string()))
}

/// Moves the directory of a volume out of sight, durably; where it is now. The absent one is away already.
pub(super) fn take_away(volumes: &Volumes, name: &str) -> Result<PathBuf> {
    let away = staging(volumes)?.join(format!("{REMOVED}{}-{name}", id::new_id()?));
    let path = volumes.root.join(name);
    match fs::rename(&path, &away) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("move", &path)(error));
        }
        _ => {}
    }
    sync(&volumes.root)?;
    Ok(away)
}

/// Removes a directory on its way with all that is in it. Removing the absent succeeds.
pub(super) fn clear(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// At boot: finishes or undoes what the last daemon had begun, makes directories that the disk has lost, and unmounts
/// what no container uses any more.
pub(crate) fn settle(engine: &Engine) -> Result<()> {
    let volumes = &engine.volumes;
    let pending: Vec<_> =
        volumes.lock().values().filter(|record| record.pending.is_some()).cloned().collect();
    for record in pending {
        if let Err(error) = volumes.uses.with(&record.name, |_| incoming::finish(engine, &record)) {
            tracing::error!(volume = record.name, %error, "its directory is not what it should be");
        }
    }
    claim::settle(engine)?;
    let staging = staging(volumes)?;
    for entry in fs::read_dir(&staging).map_err(failed("list", &staging))? {
        let entry = entry.map_err(failed("list", &staging))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let removed = name.strip_prefix(REMOVED).and_then(|rest| rest.get(ID_LENGTH + 1..));
        if let Some(volume) = removed.filter(|volume| volumes.find(volume).is_some()) {
            put_back(volumes, &entry.path(), volume)?;
            continue;
        }
        // What could not be put in place just now is not lost.
        let is_awaited = |record: &VolumeRecord| record.pending == Some(Pending::Content(name.clone()));
        if !volumes.lock().values().any(is_awaited) {
            clear(&entry.path())?;
        }
    }
    let records: Vec<_> = volumes.lock().values().cloned().collect();
    for record in records.iter().filter(|record| record.driver == LOCAL) {
        if !volumes.path(&record.name).exists() {
            // It was made just before the power went, or somebody removed it.
            match super::create::furnish(engine, record) {
                Ok(()) => tracing::warn!(volume = record.name, "its directory was gone: it is empty now"),
                Err(error) => tracing::error!(volume = record.name, %error, "its directory is gone"),
            }
        }
    }
    for record in
        records.iter().filter(|record| record.driver == LOCAL && options::plan(&record.options).is_some())
    {
        let path = volumes.path(&record.name);
        let unmounted = volumes
            .uses
            .with(&record.name, |used| if used.is_idle() { local::unmount(&path) } else { Ok(()) });
        if let Err(error) = unmounted {
            tracing::error!(volume = record.name, %error, "it stays mounted");
        }
    }
    Ok(())
}

/// The removal had not been recorded: nobody was told of it.
fn put_back(volumes: &Volumes, away: &Path, name: &str) -> Result<()> {
    let path = volumes.root.join(name);
    if path.exists() {
        return clear(away);
    }
    fs::rename(away, &path).map_err(failed("move back", &path))?;
    sync(&volumes.root)
}
