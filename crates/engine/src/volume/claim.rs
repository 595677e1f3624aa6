//! Volumes that come with a container, and content that a volume gets from its image: both are nobody's until the
//! container's record is there.
//!
//! ```text
//! record of the volume, pending       ← before this a crash leaves nothing; from here on a boot takes the volume back,
//! directory · content of the image      or makes it empty again, unless a container names it
//! record of the container
//! record of the volume, without       not waited for: a boot that finds a container that names the volume does it
//! ```

use std::collections::BTreeSet;

use super::place::{clear, take_away};
use super::remove::{Why, erase};
use super::{LOCAL, create, list, options};
use crate::Result;
use crate::engine::Engine;
use crate::records::{Pending, VolumeRecord};

/// Whether a volume waits for the container that it was made or filled for.
fn is_unclaimed(record: &VolumeRecord) -> bool {
    matches!(record.pending, Some(Pending::Unclaimed | Pending::Filling))
}

/// The container that names these volumes is recorded: they stay.
pub(crate) fn claim<'a>(engine: &Engine, names: impl IntoIterator<Item = &'a String>) {
    for name in names {
        if let Err(error) = engine.volumes.uses.with(name, |_| settled(engine, name, false)) {
            tracing::warn!(volume = name, %error, "the next boot records that it is used");
        }
    }
}

/// Somebody asked for the volume itself: it stays, whatever becomes of the container. The caller holds its lock.
pub(super) fn keep(engine: &Engine, name: &str) -> Result<()> {
    settled(engine, name, true)
}

fn settled(engine: &Engine, name: &str, durable: bool) -> Result<()> {
    let Some(mut record) = engine.volumes.find(name).filter(is_unclaimed) else { return Ok(()) };
    record.pending = None;
    if durable {
        engine.records.save_volume(&record)?;
    } else {
        engine.records.save_volume_relaxed(&record)?;
    }
    engine.volumes.lock().insert(name.to_owned(), record);
    Ok(())
}

/// Notes that an empty volume that was there before is about to be filled.
pub(crate) fn begin_filling(engine: &Engine, name: &str) -> Result<()> {
    engine.volumes.uses.with(name, |_| {
        let mut record = engine.volumes.get(name)?;
        // What is mounted from elsewhere cannot be exchanged, and what else is pending comes first.
        if record.pending.is_some() || record.driver != LOCAL || options::plan(&record.options).is_some() {
            return Ok(());
        }
        record.pending = Some(Pending::Filling);
        engine.records.save_volume(&record)?;
        engine.volumes.lock().insert(name.to_owned(), record);
        Ok(())
    })
}

/// Whether a container that is being made, or runs, has this volume now.
pub(crate) fn is_reserved(engine: &Engine, name: &str) -> bool {
    engine.volumes.uses.with(name, |used| used.all().next().is_some())
}

/// The container will never be: its volumes are as they were before it was asked for.
pub(crate) fn give_up<'a>(engine: &Engine, names: impl IntoIterator<Item = &'a String>) -> Result<()> {
    for name in names {
        match engine.volumes.find(name).and_then(|record| record.pending) {
            Some(Pending::Unclaimed) => erase(engine, name, Why::WithItsContainer)?,
            Some(Pending::Filling) => empty(engine, name)?,
            _ => {}
        }
    }
    Ok(())
}

/// Takes away what an empty volume was filled with.
fn empty(engine: &Engine, name: &str) -> Result<()> {
    let away = engine.volumes.uses.with(name, |_| {
        let away = take_away(&engine.volumes, name)?;
        create::make_directory(engine, name)?;
        settled(engine, name, true)?;
        Ok::<_, crate::Error>(away)
    })?;
    clear(&away)
}

/// At boot: volumes of containers that are there stay, those of others are as they were.
pub(super) fn settle(engine: &Engine) -> Result<()> {
    let unclaimed: Vec<VolumeRecord> =
        engine.volumes.lock().values().filter(|record| is_unclaimed(record)).cloned().collect();
    if unclaimed.is_empty() {
        return Ok(());
    }
    // A record that cannot be read may name any of them.
    let (_, unreadable) = engine.records.containers()?;
    let used: BTreeSet<String> = list::users(engine).into_keys().collect();
    for record in unclaimed {
        let name = &record.name;
        let done = if used.contains(name) || !unreadable.is_empty() {
            engine.volumes.uses.with(name, |_| keep(engine, name))
        } else {
            tracing::info!(volume = name, "its container was never made: it is as it was before");
            give_up(engine, [name])
        };
        if let Err(error) = done {
            tracing::error!(volume = name, %error, "it is not what it was before its container was asked for");
        }
    }
    Ok(())
}
