//! Remove stopped containers.

use std::collections::BTreeMap;

use api::container::PruneReport;
use api::filters::Filters;

use super::state::State;
use crate::engine::Engine;
use crate::{Error, Result, time};

/// A moment given as a filter value: RFC 3339, seconds since the epoch, or a duration back from now.
pub(crate) fn until(filters: &Filters) -> Result<Option<i64>> {
    let mut values = filters.get("until");
    let Some(text) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid("more than one until filter specified"));
    }
    if let Some(ago) = api::query::duration_nanos(text) {
        return Ok(Some(time::now() - ago));
    }
    let at = api::time::parse_parameter(text).map_err(Error::invalid)?;
    Ok(i64::try_from(at.unix_nanos()).ok())
}

/// Removes every container that does not run and matches the filters `label`, `label!` and `until`.
pub async fn prune(engine: &Engine, filters: &Filters) -> Result<PruneReport> {
    filters.validate(&["label", "label!", "until"]).map_err(|error| Error::invalid(error.to_string()))?;
    let until = until(filters)?;
    let mut report = PruneReport::default();
    for handle in engine.containers.all() {
        let view = handle.view();
        let stopped = matches!(view.state(), State::Created(_) | State::Exited { .. } | State::Dead { .. });
        let labels = view.record.config.labels.clone().unwrap_or_default();
        let wanted = stopped
            && until.is_none_or(|until| view.record.created <= until)
            && filters.labels_match("label", &labels)
            && (!filters.contains("label!") || !filters.labels_match("label!", &labels));
        if !wanted {
            continue;
        }
        let (owned, record) = (engine.clone(), (*view.record).clone());
        let size = crate::blocking(move || crate::image_use::own_layer_size(&owned, &record.id)).await?;
        match super::remove::remove(engine, &handle.id, false, false).await {
            Ok(()) => {
                report.space_reclaimed += u64::try_from(size).unwrap_or(0);
                report.containers_deleted.get_or_insert_default().push(handle.id.to_string());
            }
            // Somebody started or removed it meanwhile: it is not ours to remove any more.
            Err(error) if matches!(error.kind, crate::Kind::Conflict | crate::Kind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    let reclaimed = BTreeMap::from([("reclaimed".to_owned(), report.space_reclaimed.to_string())]);
    engine.events.publish("container", "prune", "", reclaimed);
    Ok(report)
}
