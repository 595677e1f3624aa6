//! Networks as the API shows them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::filters::Filters;
use api::network::{
    ConfigReference, EndpointResource, Inspect, Ipam, IpamStatus, Network, NetworkStatus, SubnetStatus,
};

use super::plan::shown_subnet;
use super::record::NetworkRecord;
use crate::container::view::View;
use crate::engine::Engine;
use crate::{Error, Result};

fn shown(record: &NetworkRecord) -> Network {
    let config: Vec<_> = record.subnets.iter().map(shown_subnet).collect();
    let bare = matches!(record.driver.as_str(), "host" | "null");
    Network {
        name: record.name.clone(),
        id: record.id.clone(),
        created: crate::time::rfc3339(record.created),
        scope: "local".to_owned(),
        driver: record.driver.clone(),
        enable_ipv4: record.enable_ipv4,
        enable_ipv6: record.enable_ipv6,
        ipam: Ipam {
            driver: "default".to_owned(),
            options: record.ipam_options.clone(),
            config: (!bare).then_some(config),
        },
        internal: record.internal,
        attachable: record.attachable,
        ingress: false,
        config_from: ConfigReference { network: record.config_from.clone() },
        config_only: record.config_only,
        options: record.options.clone(),
        labels: record.labels.clone(),
    }
}

/// Networks by filter.
pub async fn list(engine: &Engine, filters: &Filters) -> Result<Vec<Network>> {
    Ok(wanted(engine, filters)?.iter().map(|record| shown(record)).collect())
}

/// Networks by filter, each with the containers that run in it.
pub async fn inspect_all(engine: &Engine, filters: &Filters) -> Result<Vec<Inspect>> {
    let mut all = Vec::new();
    for record in wanted(engine, filters)? {
        all.push(whole(engine, record).await?);
    }
    Ok(all)
}

fn wanted(engine: &Engine, filters: &Filters) -> Result<Vec<Arc<NetworkRecord>>> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(&["dangling", "driver", "id", "label", "name", "scope", "type"]).map_err(bad)?;
    let dangling = filters.bool_value("dangling").map_err(bad)?;
    for kind in filters.get("type") {
        if !matches!(kind, "builtin" | "custom") {
            return Err(Error::invalid(format!("invalid filter: type={kind}: it must be builtin or custom")));
        }
    }
    let used: Vec<String> = match dangling {
        None => Vec::new(),
        Some(_) => engine.containers.all().iter().flat_map(|handle| networks_of(&handle.view())).collect(),
    };
    let any =
        |key: &str, matches: &dyn Fn(&str) -> bool| !filters.contains(key) || filters.get(key).any(matches);
    let accept = |record: &Arc<NetworkRecord>| {
        let kind = if record.is_predefined() { "builtin" } else { "custom" };
        any("driver", &|driver| record.driver == driver)
            && any("id", &|id| record.id.starts_with(id))
            && any("name", &|name| record.name.contains(name))
            && any("scope", &|scope| scope == "local")
            && any("type", &|wanted| wanted == kind)
            && filters.labels_match("label", &record.labels)
            && dangling.is_none_or(|wanted| (!record.is_predefined() && !used.contains(&record.id)) == wanted)
    };
    Ok(engine.networks.all().into_iter().filter(accept).collect())
}

/// Identifiers of the networks of a running container.
fn networks_of(view: &View) -> Vec<String> {
    if view.state().running().is_none() {
        return Vec::new();
    }
    view.record.endpoints.values().map(|settings| settings.network_id.clone()).collect()
}

/// One network with the containers that run in it.
pub async fn inspect(engine: &Engine, reference: &str) -> Result<Inspect> {
    whole(engine, engine.networks.find(reference)?).await
}

async fn whole(engine: &Engine, record: Arc<NetworkRecord>) -> Result<Inspect> {
    let mut containers = BTreeMap::new();
    for handle in engine.containers.all() {
        let view = handle.view();
        if !networks_of(&view).contains(&record.id) {
            continue;
        }
        let mut resource = EndpointResource { name: view.record.name.clone(), ..EndpointResource::default() };
        let held = view.record.attachments.iter().find(|held| held.network_id == record.id);
        if let Some(held) = held {
            let text = |ipv6| held.prefix(ipv6).map(|prefix| prefix.to_string()).unwrap_or_default();
            resource.endpoint_id.clone_from(&held.endpoint_id);
            resource.mac_address = held.endpoint.mac.to_string();
            (resource.ipv4_address, resource.ipv6_address) = (text(false), text(true));
        }
        containers.insert(handle.id.to_string(), resource);
    }
    let (owned, shared) = (engine.clone(), Arc::clone(&record));
    let status = crate::blocking(move || Ok(status(&owned, &shared))).await?;
    Ok(Inspect { network: shown(&record), containers, status })
}

/// How full its subnets are.
fn status(engine: &Engine, record: &NetworkRecord) -> Option<NetworkStatus> {
    let state = engine.networks.lock();
    let known = state.networks.get(&record.id)?;
    let subnets: BTreeMap<String, SubnetStatus> = record
        .subnets
        .iter()
        .map(|subnet| {
            let config = &subnet.config;
            let leases = known.leases(config.subnet);
            // The network's own address and the broadcast address, the gateway, those of others.
            let fixed = if config.subnet.last_offset() <= 1 { 1 } else { 3 } + config.auxiliary.len() as u64;
            let range = config.range.unwrap_or(config.subnet);
            let all = u64::try_from(range.last_offset()).unwrap_or(u64::MAX).saturating_add(1);
            let status = SubnetStatus {
                ips_in_use: leases.saturating_add(fixed),
                dynamic_ips_available: all.saturating_sub(leases.saturating_add(fixed)),
            };
            (config.subnet.to_string(), status)
        })
        .collect();
    (!subnets.is_empty()).then_some(NetworkStatus { ipam: IpamStatus { subnets } })
}
