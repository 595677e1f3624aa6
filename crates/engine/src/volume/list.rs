//! Look at volumes: one, all, and how large they are.

use std::collections::BTreeMap;

use api::filters::Filters;
use api::volume::{ListResponse, UsageData, Volume};

use super::options;
use crate::engine::Engine;
use crate::records::VolumeRecord;
use crate::{Error, Result};

/// A volume as clients see it.
pub(super) fn shown(engine: &Engine, record: &VolumeRecord) -> Volume {
    Volume {
        created_at: api::time::Timestamp::from_unix_nanos(i128::from(record.created)).to_seconds(),
        driver: record.driver.clone(),
        labels: (!record.labels.is_empty()).then(|| record.labels.clone()),
        mountpoint: engine.volumes.path(&record.name).display().to_string(),
        name: record.name.clone(),
        options: (!record.options.is_empty()).then(|| record.options.clone()),
        scope: "local".to_owned(),
        ..Volume::default()
    }
}

/// One volume.
pub async fn inspect(engine: &Engine, name: &str) -> Result<Volume> {
    Ok(shown(engine, &engine.volumes.get(name)?))
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
    let volumes = engine
        .volumes
        .lock()
        .values()
        .filter(|record| dangling.is_none_or(|wanted| wanted != users.contains_key(&record.name)))
        .filter(|record| filters.labels_match("label", &record.labels))
        .filter(|record| names.match_any(&[&record.name]))
        .filter(|record| filters.matches_exactly("driver", &record.driver))
        .map(|record| shown(engine, record))
        .collect();
    Ok(ListResponse { volumes, warnings: None })
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
