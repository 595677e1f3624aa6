//! What a lost database knew of images, as far as what lies on the disk bears it out.
//!
//! ```text
//! layers      directory is there, and all that is found of it says the same  ─► record
//! snapshots   the container is there                                         ─► record
//! names       manifest or index is there                                     ─► record; of several, the one given last
//! ```
//!
//! Everything else follows from content, and `Images::check` makes it anew.

use std::collections::{BTreeMap, BTreeSet};

use oci::Reference;
use store::{Salvaged, Store};

use crate::content::Content;
use crate::images::{Images, Options};
use crate::layers::{LayerKey, directory};
use crate::prune::CheckReport;
use crate::record::{LAYERS, LayerRecord, NAMES, NameRecord, SNAPSHOTS, SnapshotRecord};
use crate::uses;
use crate::{Error, Result};

/// Records what is found in the remains of a database, before the store is opened with the new one: what has no record
/// then is swept. `containers` are those that are there. Says what was brought back.
///
/// # Errors
/// When the disk or the database fails.
pub fn bring_back(
    store: &Store,
    options: &Options,
    found: &[Salvaged],
    containers: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let content = Content::open(&options.data_root, options.steps)?;
    let layers = layers(options, found);
    let snapshots = snapshots(found, containers);
    let mut names = BTreeMap::new();
    for (key, record) in latest_names(found) {
        if content.size(&record.target.digest)? == Some(record.target.size) {
            names.insert(key, record);
        }
    }
    store.write(|transaction| {
        layers.iter().try_for_each(|(key, record)| transaction.put(&LAYERS, key, record))?;
        snapshots.iter().try_for_each(|(key, record)| transaction.put(&SNAPSHOTS, key, record))?;
        names.iter().try_for_each(|(key, record)| transaction.put(&NAMES, key, record))?;
        Ok::<_, Error>(())
    })?;
    let told = |key: &String| {
        let shown = Reference::parse(key).map_or_else(|_| key.clone(), |name| name.familiar());
        format!("the image {shown} has its name again")
    };
    Ok(names.keys().map(told).collect())
}

/// Which of `containers` have a snapshot of which something is found.
#[must_use]
pub fn rooted(found: &[Salvaged], containers: &BTreeSet<String>) -> BTreeSet<String> {
    snapshots(found, containers).into_keys().collect()
}

fn snapshots(found: &[Salvaged], containers: &BTreeSet<String>) -> BTreeMap<String, SnapshotRecord> {
    found
        .iter()
        .filter(|one| containers.contains(&one.key))
        .filter_map(|one| Some((one.key.clone(), one.decode::<SnapshotRecord>()?)))
        .filter(|(_, record)| record.layers.iter().all(|key| LayerKey::parse(key).is_some()))
        .collect()
}

/// Layers whose directory is there. One of which there are several accounts may have been removed and made again: it is
/// left to be unpacked from its content.
fn layers(options: &Options, found: &[Salvaged]) -> BTreeMap<String, LayerRecord> {
    let mut layers: BTreeMap<String, LayerRecord> = BTreeMap::new();
    let mut doubtful = BTreeSet::new();
    for one in found {
        let (Some(key), Some(record)) = (LayerKey::parse(&one.key), one.decode::<LayerRecord>()) else {
            continue;
        };
        let is_safe = record.durable || record.boot_id == options.boot_id;
        if !is_safe || !directory(&options.data_root, &key).is_dir() {
            continue;
        }
        match layers.get(&one.key) {
            Some(known) if known.boot_id != record.boot_id => {
                doubtful.insert(one.key.clone());
            }
            // Measured is better than estimated.
            Some(known) if known.durable => {}
            _ => drop(layers.insert(one.key.clone(), record)),
        }
    }
    layers.retain(|key, _| !doubtful.contains(key));
    layers
}

/// The names that people gave, each as it was given last. Images that had lost theirs are found by their manifests.
fn latest_names(found: &[Salvaged]) -> BTreeMap<String, NameRecord> {
    let mut names: BTreeMap<String, NameRecord> = BTreeMap::new();
    for one in found {
        let is_name = Reference::parse(&one.key).is_ok_and(|name| name.to_string() == one.key);
        let Some(record) = one.decode::<NameRecord>().filter(|_| is_name) else { continue };
        let is_later = |known: &NameRecord| moment(&record) > moment(known);
        if names.get(&one.key).is_none_or(is_later) {
            names.insert(one.key.clone(), record);
        }
    }
    names
}

/// When a name was given, in nanoseconds since 1970.
fn moment(record: &NameRecord) -> Option<i128> {
    let text = record.tagged.as_ref().unwrap_or(&record.created);
    crate::time::parse_nanos(text)
}

impl Images {
    /// [`Images::check`], with repair, of a database that was made anew: what no name reaches is not garbage, but may have
    /// lost its name.
    ///
    /// # Errors
    /// When the disk or the database fails.
    pub fn check_after_loss(&self) -> Result<CheckReport> {
        self.learn_uses()?;
        self.store.write(uses::forget_garbage)?;
        self.check(true)
    }
}
