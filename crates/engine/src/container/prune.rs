//! Remove stopped containers.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use api::container::PruneReport;
use api::filters::Filters;

use super::registry::Handle;
use super::state::State;
use super::view::View;
use crate::engine::Engine;
use crate::told::Told;
use crate::{Error, Result, time};

/// How many containers are removed at the same time.
const AT_A_TIME: usize = 16;

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
pub async fn prune(engine: &Engine, filters: &Filters, told: &Told) -> Result<PruneReport> {
    filters.validate(&["label", "label!", "until"]).map_err(|error| Error::invalid(error.to_string()))?;
    let until = until(filters)?;
    let mut report = PruneReport::default();
    let all = engine.containers.all();
    let mut wanted = all.into_iter().filter(|handle| is_wanted(&handle.view(), filters, until));
    // Some at a time: they wait for the disk together.
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < AT_A_TIME
            && let Some(handle) = wanted.next()
        {
            let engine = engine.clone();
            under_way.spawn(async move { remove_one(&engine, &handle).await });
        }
        let Some(done) = under_way.join_next().await else { break };
        let done = done.map_err(|error| Error::system(format!("prune containers: {error}")))?;
        if let Some((id, size)) = done? {
            report.space_reclaimed += u64::try_from(size).unwrap_or(0);
            told.deleted(&id);
            report.containers_deleted.get_or_insert_default().push(id);
        }
    }
    let reclaimed = BTreeMap::from([("reclaimed".to_owned(), report.space_reclaimed.to_string())]);
    engine.events.publish("container", "prune", "", reclaimed);
    Ok(report)
}

fn is_wanted(view: &View, filters: &Filters, until: Option<i64>) -> bool {
    let stopped = matches!(view.state(), State::Created(_) | State::Exited { .. } | State::Dead { .. });
    let labels = view.record.config.labels.clone().unwrap_or_default();
    stopped
        && until.is_none_or(|until| view.record.created <= until)
        && filters.labels_match("label", &labels)
        && (!filters.contains("label!") || !filters.labels_match("label!", &labels))
}

/// Removes one; its ID, and the bytes that its own layer took.
async fn remove_one(engine: &Engine, handle: &Handle) -> Result<Option<(String, i64)>> {
    let (owned, id) = (engine.clone(), handle.id.to_string());
    let size = crate::blocking(move || crate::image_use::own_layer_size(&owned, &id)).await?;
    match super::remove::remove(engine, &handle.id, false, false).await {
        Ok(()) => Ok(Some((handle.id.to_string(), size))),
        // Somebody started or removed it meanwhile: it is not ours to remove any more.
        Err(error) if matches!(error.kind, crate::Kind::Conflict | crate::Kind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
