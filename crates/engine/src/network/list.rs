//! Networks as the API shows them.

use std::collections::BTreeMap;

use api::filters::Filters;
use api::network::{EndpointResource, Inspect, Ipam, IpamConfig, Network};

use super::{Networks, PREDEFINED};
use crate::engine::Engine;
use crate::{Error, Result};

fn shown(networks: &Networks, index: usize) -> Network {
    let name = PREDEFINED[index];
    let bridge = networks.bridge.as_ref().filter(|_| name == "bridge");
    let config = bridge.map(|bridge| {
        vec![IpamConfig {
            subnet: bridge.gateway.network().to_string(),
            gateway: bridge.gateway.address().to_string(),
            ..IpamConfig::default()
        }]
    });
    let flag = |value: bool| value.to_string();
    let options = bridge.map_or_else(BTreeMap::new, |bridge| {
        let entries = [
            ("com.docker.network.bridge.default_bridge", flag(true)),
            ("com.docker.network.bridge.enable_icc", flag(bridge.communication)),
            ("com.docker.network.bridge.enable_ip_masquerade", flag(bridge.masquerade)),
            ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0".to_owned()),
            ("com.docker.network.bridge.name", bridge.config.interface.to_string()),
            ("com.docker.network.driver.mtu", bridge.mtu.unwrap_or(1500).to_string()),
        ];
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    });
    Network {
        name: name.to_owned(),
        id: networks.ids[index].clone(),
        created: crate::time::rfc3339(networks.created),
        scope: "local".to_owned(),
        driver: if name == "none" { "null".to_owned() } else { name.to_owned() },
        enable_ipv4: true,
        ipam: Ipam { driver: "default".to_owned(), options: None, config },
        options,
        ..Network::default()
    }
}

fn indexes(networks: &Networks) -> impl Iterator<Item = usize> + '_ {
    (0..PREDEFINED.len()).filter(|index| PREDEFINED[*index] != "bridge" || networks.bridge.is_some())
}

/// Networks by filter.
pub async fn list(engine: &Engine, filters: &Filters) -> Result<Vec<Network>> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(&["dangling", "driver", "id", "label", "name", "scope", "type"]).map_err(bad)?;
    let dangling = filters.bool_value("dangling").map_err(bad)?;
    let any =
        |key: &str, matches: &dyn Fn(&str) -> bool| !filters.contains(key) || filters.get(key).any(matches);
    let networks = &engine.networks;
    Ok(indexes(networks)
        .map(|index| shown(networks, index))
        .filter(|network| {
            any("driver", &|driver| network.driver == driver)
                && any("id", &|id| network.id.starts_with(id))
                && any("name", &|name| network.name.contains(name))
                && any("scope", &|scope| network.scope == scope)
                && any("type", &|kind| kind == "builtin")
                && filters.labels_match("label", &network.labels)
                && dangling != Some(true)
        })
        .collect())
}

/// One network with the containers that run in it.
pub async fn inspect(engine: &Engine, name: &str) -> Result<Inspect> {
    let networks = &engine.networks;
    let index = networks.find(name)?;
    let network = shown(networks, index);
    let mut containers = BTreeMap::new();
    for handle in engine.containers.all() {
        let view = handle.view();
        if view.record.network_id != network.id || view.state().running().is_none() {
            continue;
        }
        let mut resource = EndpointResource { name: view.record.name.clone(), ..EndpointResource::default() };
        if let Some(held) = &view.record.attachment {
            resource.endpoint_id.clone_from(&held.endpoint_id);
            resource.mac_address = held.endpoint.mac.to_string();
            resource.ipv4_address =
                held.endpoint.addresses.first().map(ToString::to_string).unwrap_or_default();
        }
        containers.insert(handle.id.to_string(), resource);
    }
    Ok(Inspect { network, containers, status: None })
}

/// Only predefined networks exist yet, and those cannot be removed.
pub async fn remove(engine: &Engine, name: &str) -> Result<()> {
    let index = engine.networks.find(name)?;
    Err(Error::forbidden(format!("{} is a pre-defined network and cannot be removed", PREDEFINED[index])))
}
