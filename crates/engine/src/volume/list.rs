//! Look at volumes: one, all, and how large they are.

use std::collections::BTreeMap;

use api::filters::Filters;
use api::volume::{ListResponse, UsageData, Volume};

use super::plugin::{Driver, Remote};
use super::{LOCAL, options};
use crate::engine::Engine;
use crate::records::VolumeRecord;
use crate::{Error, Result};

/// A volume as clients see it.
pub(super) fn shown(engine: &Engine, record: &VolumeRecord) -> Volume {
    Volume {
        created_at: api::time::Timestamp::from_unix_nanos(i128::from(record.created)).to_seconds(),
        driver: record.driver.clone(),
        labels: (!record.labels.is_empty()).then(|| record.labels.clone()),
        mountpoint: engine.volumes.shown_path(&record.name),
        name: record.name.clone(),
        options: (!record.options.is_empty()).then(|| record.options.clone()),
        scope: "local".to_owned(),
        ..Volume::default()
    }
}

/// One volume.
pub async fn inspect(engine: &Engine, name: &str) -> Result<Volume> {
    let record = engine.volumes.find(name);
    if record.is_some_and(|record| record.driver == LOCAL) {
        return Ok(shown(engine, &engine.volumes.get(name)?));
    }
    let (engine, name) = (engine.clone(), name.to_owned());
    crate::blocking(move || look(&engine, &name)).await
}

/// The same, with what a plugin says about its volume, and of volumes that only a plugin knows. Blocks on the plugin.
pub(super) fn look(engine: &Engine, name: &str) -> Result<Volume> {
    let volumes = &engine.volumes;
    let missing = || Error::not_found(format!("get {name}: no such volume"));
    let Some(record) = volumes.find(name) else {
        let (found, _) = volumes.plugins.volumes(Vec::new());
        let mut all = found.iter().flat_map(|(driver, list)| list.iter().map(move |remote| (driver, remote)));
        let (driver, remote) = all.find(|(_, remote)| remote.name == name).ok_or_else(missing)?;
        return Ok(foreign(driver, remote));
    };
    let Some(driver) = volumes.plugin(&record)? else { return Ok(shown(engine, &record)) };
    let asked = driver.get(name).inspect_err(|_| volumes.plugins.forget(driver.name()));
    let remote = asked.map_err(|error| match error.kind {
        crate::Kind::Unavailable => error,
        _ => Error { message: missing().message, ..error },
    })?;
    Ok(told(shown(engine, &record), &driver, &remote))
}

/// A volume that a plugin made for somebody else.
fn foreign(driver: &Driver, remote: &Remote) -> Volume {
    let volume = Volume { name: remote.name.clone(), driver: driver.name().to_owned(), ..Volume::default() };
    told(volume, driver, remote)
}

fn told(mut volume: Volume, driver: &Driver, remote: &Remote) -> Volume {
    volume.mountpoint.clone_from(&remote.mountpoint);
    volume.scope.clone_from(&driver.scope);
    volume.status = remote.status.clone().unwrap_or_default();
    if !remote.created_at.is_empty() {
        volume.created_at.clone_from(&remote.created_at);
    }
    volume
}

/// Containers that use each volume, by the volume's name.
pub(super) fn users(engine: &Engine) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for handle in engine.containers.all() {
        for name in handle.view().record.volume_paths.keys() {
            users.entry(name.clone()).or_default().push(handle.id.to_string());
        }
    }
    users
}

/// Whether another container than this one uses a volume.
pub(crate) fn is_used_beside(engine: &Engine, name: &str, container_id: &str) -> bool {
    users(engine).get(name).is_some_and(|users| users.iter().any(|user| user != container_id))
}

/// Volumes by filter: `dangling`, `driver`, `label`, `name`.
pub async fn list(engine: &Engine, filters: &Filters) -> Result<ListResponse> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(&["dangling", "driver", "label", "name"]).map_err(bad)?;
    let dangling = filters.bool_value("dangling").map_err(bad)?;
    let names = crate::pattern::Patterns::of(filters, "name");
    let users = users(engine);
    let owned = engine.clone();
    let (mut volumes, warnings) = crate::blocking(move || Ok(all(&owned))).await?;
    let none = BTreeMap::new();
    volumes.retain(|volume| {
        dangling.is_none_or(|wanted| wanted != users.contains_key(&volume.name))
            && filters.labels_match("label", volume.labels.as_ref().unwrap_or(&none))
            && names.match_any(&[&volume.name])
            && filters.matches_exactly("driver", &volume.driver)
    });
    Ok(ListResponse { volumes, warnings: (!warnings.is_empty()).then_some(warnings) })
}

/// What is recorded, with what plugins say about theirs, and what only they know. One that does not answer is a warning.
fn all(engine: &Engine) -> (Vec<Volume>, Vec<String>) {
    let records: Vec<VolumeRecord> = engine.volumes.lock().values().cloned().collect();
    let drivers = records.iter().map(|record| record.driver.clone()).filter(|driver| driver != LOCAL);
    let (found, warnings) = engine.volumes.plugins.volumes(drivers.collect());
    let mut all: BTreeMap<String, Volume> =
        records.iter().map(|record| (record.name.clone(), shown(engine, record))).collect();
    for (driver, remotes) in &found {
        for remote in remotes.iter().filter(|remote| !remote.name.is_empty()) {
            match all.get_mut(&remote.name) {
                Some(known) if known.driver == driver.name() => {
                    *known = told(known.clone(), driver, remote);
                }
                Some(_) => {}
                None => drop(all.insert(remote.name.clone(), foreign(driver, remote))),
            }
        }
    }
    (all.into_values().collect(), warnings)
}

/// Bytes of a volume's content; `None` for what is not the driver's own directory: measuring it may take for ever.
pub(super) fn size(engine: &Engine, record: &VolumeRecord) -> Result<Option<u64>> {
    if record.driver != super::LOCAL || options::plan(&record.options).is_some() {
        return Ok(None);
    }
    let usage = image::Usage::of(&engine.volumes.path(&record.name));
    usage.map(|usage| Some(usage.bytes)).map_err(crate::image_use::error)
}

/// All volumes with their sizes and how many containers use each.
pub(crate) async fn measured(engine: &Engine) -> Result<Vec<Volume>> {
    let users = users(engine);
    let engine = engine.clone();
    crate::blocking(move || {
        let records: Vec<VolumeRecord> = engine.volumes.lock().values().cloned().collect();
        let mut volumes = Vec::new();
        for record in &records {
            let size = match size(&engine, record) {
                Ok(size) => size,
                // Removed meanwhile.
                Err(_) if engine.volumes.find(&record.name).is_none() => continue,
                Err(error) => return Err(error),
            };
            let ref_count = users.get(&record.name).map_or(0, Vec::len);
            let usage = UsageData {
                ref_count: i64::try_from(ref_count).unwrap_or(i64::MAX),
                size: size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
            };
            volumes.push(Volume { usage_data: Some(usage), ..shown(&engine, record) });
        }
        Ok(volumes)
    })
    .await
}
