//! Remove networks: one by name, or all that nobody uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::filters::Filters;
use api::network::PruneReport;

use super::attributes;
use super::record::NetworkRecord;
use crate::engine::Engine;
use crate::told::Told;
use crate::{Error, Result};

/// Removes a network that no running container uses.
pub async fn remove(engine: &Engine, reference: &str) -> Result<()> {
    let record = engine.networks.find(reference)?;
    if record.is_predefined() {
        return Err(Error::forbidden(format!(
            "{} is a pre-defined network and cannot be removed",
            record.name
        )));
    }
    erase(engine, &record).await?;
    Ok(())
}

async fn erase(engine: &Engine, record: &Arc<NetworkRecord>) -> Result<()> {
    let (owned, gone) = (engine.clone(), Arc::clone(record));
    crate::blocking(move || unmake(&owned, &gone)).await?;
    engine.events.publish("network", "destroy", &record.id, attributes(record));
    Ok(())
}

fn unmake(engine: &Engine, record: &NetworkRecord) -> Result<()> {
    let networks = &engine.networks;
    let mut state = networks.lock();
    let users = state.users(&record.id);
    if !users.is_empty() {
        let endpoint = |id: &String| {
            let name = engine.containers.find(id).map(|handle| handle.view().record.name.clone());
            format!("name:{:?} id:{:?}", name.unwrap_or_default(), crate::id::short(id))
        };
        let list: Vec<String> = users.iter().map(endpoint).collect();
        return Err(Error::forbidden(format!(
            "error while removing network: network {} id {} has active endpoints ({})",
            record.name,
            record.id,
            list.join(", ")
        )));
    }
    let dependent =
        networks.all().into_iter().find(|other| record.config_only && other.config_from == record.name);
    if let Some(other) = dependent {
        return Err(Error::forbidden(format!(
            "configuration network {:?} is in use by network {:?}",
            record.name, other.name
        )));
    }
    let Some(known) = state.networks.get(&record.id).cloned() else {
        // It could not be opened at boot: only its record is there.
        engine.records.forget_network(&record.id)?;
        networks.forget(&record.id);
        return Ok(());
    };
    // The record goes first: what a kill leaves of the rest, the next boot sweeps.
    engine.records.forget_network(&record.id)?;
    networks.forget(&record.id);
    networks.names.remove_network(&record.id);
    state.networks.remove(&record.id);
    state.close_network(&known)
}

/// Removes the networks that no running container uses.
pub async fn prune(engine: &Engine, filters: &Filters, told: &Told) -> Result<PruneReport> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(&["label", "label!", "until"]).map_err(bad)?;
    let until = crate::container::prune::until(filters)?;
    let (mut deleted, mut failure) = (Vec::new(), None);
    for record in engine.networks.all() {
        let unwanted = filters.contains("label!") && filters.labels_match("label!", &record.labels);
        let young = until.is_some_and(|until| record.created >= until);
        if record.is_predefined() || unwanted || young || !filters.labels_match("label", &record.labels) {
            continue;
        }
        match erase(engine, &record).await {
            Ok(()) => {
                told.deleted(&record.name);
                deleted.push(record.name.clone());
            }
            Err(error) if error.kind == crate::Kind::Forbidden => {}
            Err(error) => {
                tracing::warn!(network = record.name, %error, "could not be pruned");
                failure.get_or_insert(error);
            }
        }
    }
    // Whoever asked must not take it for a machine without networks to remove.
    if let (Some(error), true) = (failure, deleted.is_empty()) {
        return Err(error);
    }
    let attributes = BTreeMap::from([("reclaimed".to_owned(), "0".to_owned())]);
    engine.events.publish("network", "prune", "", attributes);
    Ok(PruneReport { networks_deleted: (!deleted.is_empty()).then_some(deleted) })
}
