//! Remove volumes: one that nobody uses, those that nobody uses.

use std::collections::BTreeMap;

use api::filters::Filters;
use api::volume::PruneReport;

use super::{attributes, list, local, place};
use crate::engine::Engine;
use crate::records::VolumeRecord;
use crate::told::Told;
use crate::{Error, Result};

/// Why a volume goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody wants it gone: one that is used stays.
    Asked,
    /// The same, and a plugin that does not answer does not keep it.
    Forced,
    /// The one container that it was made for goes, or was never made.
    WithItsContainer,
}

/// Removes a volume that no container uses. `force` makes the absence of the volume a success.
pub async fn remove(engine: &Engine, name: &str, force: bool) -> Result<()> {
    let (engine, name) = (engine.clone(), name.to_owned());
    crate::blocking(move || {
        if engine.volumes.find(&name).is_none() {
            return match foreign(&engine, &name) {
                Err(_) if force => Ok(()),
                done => done,
            };
        }
        let why = if force { Why::Forced } else { Why::Asked };
        erase(&engine, &name, why).map_err(|error| error.context(format!("remove {name}")))
    })
    .await
}

/// Removes a volume that only a plugin knows.
fn foreign(engine: &Engine, name: &str) -> Result<()> {
    let found = list::look(engine, name)?;
    let driver = engine.volumes.plugins.driver(&found.driver)?;
    driver.remove(name).map_err(|error| error.context(format!("remove {name}")))
}

/// Removes a volume's content and record. Removing the absent succeeds.
pub(crate) fn erase(engine: &Engine, name: &str, why: Why) -> Result<()> {
    let removed = engine.volumes.uses.with(name, |used| {
        let Some(record) = engine.volumes.find(name) else { return Ok(None) };
        if why != Why::WithItsContainer {
            let mut users = list::users(engine).remove(name).unwrap_or_default();
            users.extend(used.all().filter(|user| !users.contains(user)).collect::<Vec<_>>());
            if !users.is_empty() {
                return Err(Error::conflict(format!("volume is in use - [{}]", users.join(", "))));
            }
        }
        let trash = take_away(engine, &record, why)?;
        engine.records.forget_volume(name)?;
        engine.volumes.lock().remove(name);
        engine.events.publish("volume", "destroy", name, attributes(&record));
        Ok(Some(trash))
    })?;
    // Nobody waits for the lock of a volume while its files are removed one by one.
    removed.flatten().map_or(Ok(()), |trash| place::clear(&trash))
}

/// Moves a volume's directory out of sight; where it is now. A plugin removes its own.
fn take_away(engine: &Engine, record: &VolumeRecord, why: Why) -> Result<Option<std::path::PathBuf>> {
    if record.driver != super::LOCAL {
        let asked = engine.volumes.plugin(record);
        let removed = asked.and_then(|plugin| plugin.map_or(Ok(()), |plugin| plugin.remove(&record.name)));
        return match removed {
            Err(error) if why == Why::Asked => Err(error),
            Err(error) => {
                tracing::warn!(volume = record.name, %error, "it is forgotten, but its plugin may keep it");
                Ok(None)
            }
            Ok(()) => Ok(None),
        };
    }
    local::unmount(&engine.volumes.path(&record.name))?;
    if let Some(top) = engine.volumes.path(&record.name).parent() {
        engine.images.quotas().forget(top).map_err(crate::image_use::error)?;
    }
    place::take_away(&engine.volumes, &record.name).map(Some)
}

/// Removes volumes that no container uses: anonymous ones, or with `all=true` named ones too.
pub async fn prune(engine: &Engine, filters: &Filters, told: &Told) -> Result<PruneReport> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(&["all", "label", "label!"]).map_err(bad)?;
    let all = filters.bool_value("all").map_err(bad)?.unwrap_or(false);
    let users = list::users(engine);
    let unused: Vec<VolumeRecord> = engine
        .volumes
        .lock()
        .values()
        .filter(|record| (all || record.anonymous) && !users.contains_key(&record.name))
        .filter(|record| record.driver == super::LOCAL)
        .filter(|record| filters.labels_match("label", &record.labels))
        .filter(|record| !filters.contains("label!") || !filters.labels_match("label!", &record.labels))
        .cloned()
        .collect();
    let (engine, told) = (engine.clone(), told.clone());
    crate::blocking(move || {
        // Here Docker has a list, also an empty one.
        let mut report = PruneReport { volumes_deleted: Some(Vec::new()), ..PruneReport::default() };
        for record in unused {
            let size = list::size(&engine, &record)?.unwrap_or_default();
            match erase(&engine, &record.name, Why::Asked) {
                Ok(()) => {}
                // A container came for it meanwhile.
                Err(error) if error.kind == crate::Kind::Conflict => continue,
                Err(error) => return Err(error),
            }
            report.space_reclaimed += size;
            told.deleted(&record.name);
            report.volumes_deleted.get_or_insert_default().push(record.name);
        }
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), report.space_reclaimed.to_string())]);
        engine.events.publish("volume", "prune", "", reclaimed);
        Ok(report)
    })
    .await
}
