//! What a database that had to be set aside still tells of containers, networks and volumes, as far as what lies on the
//! disk bears it out.
//!
//! ```text
//! containers  their directory is there            of several accounts the one whose run is the latest; a boot finds out the rest
//! networks    nothing is in their way             those that containers are in first, then the newest
//! volumes     their directory is there, or a      a directory that nothing tells of gets a record of its own
//!             container has them from a plugin
//! own texts   as they are: they never change
//! ```
//!
//! Nothing is thrown away: directories of containers that nothing tells of are moved to `lost`, where no boot sweeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use store::Salvaged;

use crate::container::record::Record;
use crate::container::state::{Nanos, State};
use crate::engine::Engine;
use crate::id::{is_id, short};
use crate::network::record::NetworkRecord;
use crate::records::{Records, VolumeRecord};
use crate::{Error, Result, volume};

/// Where directories of containers are moved whose records are lost.
const LOST: &str = "lost";

/// Records again what is found in the remains of a database at `aside`, in the new one of `data_root`, before anything
/// else looks at that. Says what was done, a line each.
pub(crate) fn bring_back(data_root: &Path, aside: &Path) -> Result<Vec<String>> {
    let found = store::salvage(aside)?;
    let records = Records::open(&data_root.join("records"))?;
    let options = image::Options::new(data_root).map_err(crate::image_use::error)?;
    let mut said = Vec::new();
    own_texts(&records, &found, &options.boot_id)?;
    let containers = containers(data_root, &found, &mut said);
    let ids: BTreeSet<String> = containers.iter().map(|record| record.id.clone()).collect();
    for record in &containers {
        records.save(record, true)?;
        said.push(format!("the container {} ({}) has its record again", record.name, short(&record.id)));
    }
    for network in networks(&found, &containers) {
        records.save_network(&network)?;
        said.push(format!("the network {} has its record again", network.name));
    }
    for (volume, known) in volumes(data_root, &found, &containers)? {
        records.save_volume(&volume)?;
        let what = if known { "its record again" } else { "a new record: its labels and options are lost" };
        said.push(format!("the volume {} has {what}", volume.name));
    }
    said.extend(keep_lost(data_root, "containers", &ids)?);
    // What a container has written is of no use where nothing tells what it lies on.
    let rooted = image::salvage::rooted(&found, &ids);
    said.extend(keep_lost(data_root, "snapshots", &rooted)?);
    let images = image::salvage::bring_back(records.store(), &options, &found, &ids);
    said.extend(images.map_err(crate::image_use::error)?);
    Ok(said)
}

/// The same while the daemon runs: the database is made anew under it. What it knows itself counts more than what is found;
/// each container is still to be written by its owner. Says what was done, a line each.
pub(crate) fn start_anew(engine: &Engine) -> Result<Vec<String>> {
    let records = &engine.records;
    let mut said = Vec::new();
    let found = match records.store().start_anew()? {
        Some(aside) => {
            said.push(format!("the damaged database is now {}", aside.display()));
            store::salvage(&aside)?
        }
        None => Vec::new(),
    };
    let options = image::Options::new(&engine.config.data_root).map_err(crate::image_use::error)?;
    own_texts(records, &found, &options.boot_id)?;
    records.replace("boot-id", &options.boot_id)?;
    for network in engine.networks.all() {
        if network.is_predefined() {
            records.lasting(&format!("network-{}", network.name), || Ok(network.id.clone()))?;
        } else {
            records.save_network(&network)?;
        }
    }
    for volume in engine.volumes.records() {
        records.save_volume(&volume)?;
    }
    said.push("containers, networks and volumes were recorded anew as the daemon knows them".to_owned());
    let ids = engine.containers.all().iter().map(|handle| handle.id.to_string()).collect();
    let images = image::salvage::bring_back(records.store(), &options, &found, &ids);
    said.extend(images.map_err(crate::image_use::error)?);
    Ok(said)
}

/// What the daemon keeps of itself: its identifier, and those of the networks that every engine has.
fn own_texts(records: &Records, found: &[Salvaged], boot_id: &str) -> Result<()> {
    const KEYS: &[&str] = &["engine-id", "networks-created", "bridge-mac", "bridge-subnet-v6"];
    let mut boots = BTreeSet::new();
    for one in found {
        let Some(text) = one.decode::<String>() else { continue };
        if KEYS.contains(&one.key.as_str()) || one.key.starts_with("network-") {
            records.lasting(&one.key, || Ok(text))?;
        } else if one.key == "boot-id" {
            boots.insert(text);
        }
    }
    // The boots before this one are there as well.
    let last = if boots.contains(boot_id) { Some(boot_id) } else { boots.last().map(String::as_str) };
    last.map_or(Ok(false), |boot| records.replace("boot-id", boot)).map(drop)
}

/// Containers whose directory is there, each as it was last.
fn containers(data_root: &Path, found: &[Salvaged], said: &mut Vec<String>) -> Vec<Record> {
    let mut latest: BTreeMap<String, Record> = BTreeMap::new();
    for one in found.iter().filter(|one| is_id(&one.key)) {
        let Some(record) = one.decode::<Record>().filter(|record| record.id == one.key) else { continue };
        let is_later = |known: &Record| moment(&record.state) >= moment(&known.state);
        if latest.get(&one.key).is_none_or(is_later) {
            latest.insert(one.key.clone(), record);
        }
    }
    latest.retain(|id, _| data_root.join("containers").join(id).is_dir());
    let mut names = BTreeSet::new();
    let mut containers: Vec<Record> = latest.into_values().collect();
    containers.sort_by_key(|record| record.created);
    for record in &mut containers {
        if !names.insert(record.name.clone()) {
            let name = format!("{}-{}", record.name, short(&record.id));
            said.push(format!("two containers are called {}: the newer one is now {name}", record.name));
            record.name = name;
        }
    }
    containers
}

/// When the last thing happened that a state tells of; of two of one moment, the removal came later.
fn moment(state: &State) -> (Nanos, bool) {
    let at = match state {
        State::Running(running) | State::Paused(running) | State::Stopping { running, .. } => {
            running.process.started_at
        }
        State::Created(ended)
        | State::Starting { before: ended, .. }
        | State::Exited { ended, .. }
        | State::Restarting { ended, .. }
        | State::Removing { ended }
        | State::Dead { ended }
        | State::Gone { ended } => ended.at.max(ended.started_at),
    };
    (at, matches!(state, State::Removing { .. }))
}

/// Networks of which none is in the way of another one.
fn networks(found: &[Salvaged], containers: &[Record]) -> Vec<NetworkRecord> {
    let used: BTreeSet<&str> = containers
        .iter()
        .flat_map(|record| record.endpoints.values())
        .map(|endpoint| endpoint.network_id.as_str())
        .collect();
    let mut all: BTreeMap<String, NetworkRecord> = BTreeMap::new();
    for one in found.iter().filter(|one| is_id(&one.key)) {
        if let Some(record) = one.decode::<NetworkRecord>().filter(|record| record.id == one.key) {
            all.insert(one.key.clone(), record);
        }
    }
    let mut all: Vec<NetworkRecord> = all.into_values().collect();
    all.sort_by_key(|record| (!used.contains(record.id.as_str()), std::cmp::Reverse(record.created)));
    let mut kept: Vec<NetworkRecord> = Vec::new();
    for record in all {
        let overlaps = |other: &NetworkRecord| {
            let ours = record.subnets.iter().map(|subnet| subnet.config.subnet);
            ours.into_iter()
                .any(|ours| other.subnets.iter().any(|theirs| theirs.config.subnet.overlaps(&ours)))
        };
        if !kept.iter().any(|other| other.name == record.name || overlaps(other)) {
            kept.push(record);
        }
    }
    kept
}

/// Volumes that are there, and whether anything was known of them.
fn volumes(data_root: &Path, found: &[Salvaged], containers: &[Record]) -> Result<Vec<(VolumeRecord, bool)>> {
    let mut known: BTreeMap<String, VolumeRecord> = BTreeMap::new();
    for one in found {
        if let Some(record) = one.decode::<VolumeRecord>().filter(|record| record.name == one.key) {
            known.insert(one.key.clone(), record);
        }
    }
    let there = directories(&data_root.join("volumes"))?;
    let is_used = |name: &String| containers.iter().any(|record| record.volume_paths.contains_key(name));
    known.retain(
        |name, record| {
            if record.driver == volume::LOCAL { there.contains(name) } else { is_used(name) }
        },
    );
    let unknown = there.iter().filter(|name| !name.starts_with('.') && !known.contains_key(*name));
    let new: Vec<_> = unknown.map(|name| (volume::new_record(name, is_id(name)), false)).collect();
    Ok(known.into_values().map(|record| (record, true)).chain(new).collect())
}

/// Moves directories of containers, of one kind, out of the way of the next boot where they have no record.
fn keep_lost(data_root: &Path, kind: &str, known: &BTreeSet<String>) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for id in directories(&data_root.join(kind))? {
        if known.contains(&id) || !is_id(&id) {
            continue;
        }
        let (from, lost) = (data_root.join(kind).join(&id), data_root.join(LOST).join(kind));
        let to = lost.join(&id);
        let failed = |error: std::io::Error| {
            Error::system(format!("move {} to {}: {error}", from.display(), to.display()))
        };
        std::fs::create_dir_all(&lost).map_err(failed)?;
        std::fs::rename(&from, &to).map_err(failed)?;
        said.push(format!(
            "too little is known of the container {}: its files are in {}",
            short(&id),
            to.display()
        ));
    }
    Ok(said)
}

/// The names of the directories in a directory; none when it is not there.
fn directories(path: &Path) -> Result<BTreeSet<String>> {
    let failed = |error: std::io::Error| Error::system(format!("list {}: {error}", path.display()));
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}
