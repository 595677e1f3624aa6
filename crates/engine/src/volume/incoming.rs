//! Content on its way into a volume: made aside, then put in place in one step.
//!
//! ```text
//! .staging/<id>/_data   filled, synced
//! record                saved with `pending: Content(<id>)`       ← before this a crash leaves nothing, from here on all
//! <name>/_data          → .staging/<id>/old, when there is one
//! .staging/<id>/_data   → <name>/_data
//! record                saved without `pending`; .staging/<id> is removed
//! ```
//! Every step can be repeated: a boot, or the next use of the volume, finishes what was begun.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::place::{clear, failed, staging, sync};
use super::{Volumes, attributes};
use crate::engine::Engine;
use crate::records::{Pending, VolumeRecord};
use crate::{Error, Result, id};

/// A directory that nobody sees yet; removed with what is in it unless it is put in place.
pub(super) struct Incoming {
    id: String,
    path: PathBuf,
    placed: bool,
}

impl Incoming {
    /// An empty one.
    pub(super) fn new(volumes: &Volumes) -> Result<Self> {
        let id = id::new_id()?;
        let path = staging(volumes)?.join(&id);
        let make = |path: &Path, mode| fs::DirBuilder::new().mode(mode).create(path);
        make(&path, 0o700).map_err(failed("make", &path))?;
        let incoming = Self { id, path, placed: false };
        make(&incoming.content(), 0o755).map_err(failed("make", &incoming.path))?;
        Ok(incoming)
    }

    fn content(&self) -> PathBuf {
        self.path.join("_data")
    }

    /// Its directory, open.
    pub(super) fn open(&self) -> Result<OwnedFd> {
        let file = fs::File::open(self.content()).map_err(failed("open", &self.path))?;
        Ok(file.into())
    }

    /// Makes it the content of a volume, which is made when there is none. The caller holds the volume's lock.
    pub(super) fn place(mut self, engine: &Engine, mut record: VolumeRecord) -> Result<()> {
        linux::file::sync_file_system(self.open()?).map_err(|error| Error::system(error.to_string()))?;
        record.pending = Some(Pending::Content(self.id.clone()));
        engine.records.save_volume(&record)?;
        self.placed = true;
        let before = engine.volumes.lock().insert(record.name.clone(), record.clone());
        if before.is_none() {
            engine.events.publish("volume", "create", &record.name, attributes(&record));
        }
        finish(engine, &record)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = clear(&self.path)
        {
            tracing::error!(%error, "what was to become a volume stays until the next boot");
        }
    }
}

/// Does what a change to a volume has still to do with its directory. The caller holds the volume's lock.
pub(super) fn finish(engine: &Engine, record: &VolumeRecord) -> Result<()> {
    let volumes = &engine.volumes;
    let mut aside = None;
    match &record.pending {
        None | Some(Pending::Paused(_) | Pending::Unclaimed | Pending::Filling) => return Ok(()),
        Some(Pending::Content(id)) => aside = Some(put_in_place(volumes, &record.name, id)?),
        Some(Pending::Rename(old)) => take_name(volumes, old, &record.name)?,
    }
    let mut done = record.clone();
    done.pending = None;
    engine.records.save_volume(&done)?;
    volumes.lock().insert(done.name.clone(), done);
    aside.map_or(Ok(()), |aside| clear(&aside))
}

/// Exchanges the content of a volume; the directory with what it had.
fn put_in_place(volumes: &Volumes, name: &str, id: &str) -> Result<PathBuf> {
    let aside = staging(volumes)?.join(id);
    let (content, old, target) = (aside.join("_data"), aside.join("old"), volumes.path(name));
    if content.exists() {
        let home = volumes.root.join(name);
        fs::DirBuilder::new().recursive(true).mode(0o701).create(&home).map_err(failed("make", &home))?;
        if target.exists() {
            fs::rename(&target, &old).map_err(failed("move", &target))?;
        }
        fs::rename(&content, &target).map_err(failed("move", &content))?;
        sync(&home)?;
        sync(&volumes.root)?;
    }
    Ok(aside)
}

fn take_name(volumes: &Volumes, old: &str, new: &str) -> Result<()> {
    let (from, to) = (volumes.root.join(old), volumes.root.join(new));
    if from.exists() && !to.exists() {
        fs::rename(&from, &to).map_err(failed("move", &from))?;
        sync(&volumes.root)?;
    }
    Ok(())
}
