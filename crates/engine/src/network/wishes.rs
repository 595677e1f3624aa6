//! What a container may wish for in a network, checked in Docker's words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::endpoint::EndpointSettings;
use api::host_config::HostConfig;
use network::{EndpointSysctl, InterfaceName, MacAddress};

use super::Networks;
use super::record::NetworkRecord;
use crate::{Error, Result};

/// The endpoints of a new container by network name: those named, and that of its network mode. A container that
/// shares another's network has none.
pub(crate) fn endpoints(
    networks: &Networks,
    host: &HostConfig,
    network_disabled: bool,
    config_mac: &str,
    given: BTreeMap<String, Option<EndpointSettings>>,
) -> Result<BTreeMap<String, EndpointSettings>> {
    let mode = match host.network_mode.as_str() {
        _ if network_disabled => "none",
        "" | "default" => "bridge",
        mode => mode,
    };
    if mode.starts_with("container:") {
        return match given.is_empty() {
            true => Ok(BTreeMap::new()),
            false => Err(Error::invalid(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            )),
        };
    }
    let mut endpoints: BTreeMap<String, EndpointSettings> = BTreeMap::new();
    for (name, settings) in given {
        let record = networks.find(&name).map_err(|error| match mode == name {
            true => error,
            false => error.context(format!("invalid config for network {name}")),
        })?;
        let settings = settings.unwrap_or_default();
        check(&record, &settings)
            .map_err(|error| error.context(format!("invalid config for network {}", record.name)))?;
        endpoints.insert(record.name.clone(), asked(&record, settings));
    }
    let main = networks.find(mode)?;
    let settings =
        endpoints.entry(main.name.clone()).or_insert_with(|| asked(&main, EndpointSettings::default()));
    if settings.mac_address.is_empty() {
        config_mac.clone_into(&mut settings.mac_address);
    }
    if main.has_names() && settings.links.is_none() {
        settings.links = host.links.clone().filter(|links| !links.is_empty());
    }
    let fixed = |name: &String| name == "host" || name == "none";
    if endpoints.len() > 1 && endpoints.keys().any(fixed) {
        return Err(Error::invalid(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ));
    }
    Ok(endpoints)
}

/// The wishes alone, without what a client copied from an answer.
pub(super) fn asked(record: &Arc<NetworkRecord>, settings: EndpointSettings) -> EndpointSettings {
    EndpointSettings {
        network_id: record.id.clone(),
        endpoint_id: String::new(),
        gateway: String::new(),
        ip_address: String::new(),
        ip_prefix_len: 0,
        ipv6_gateway: String::new(),
        global_ipv6_address: String::new(),
        global_ipv6_prefix_len: 0,
        dns_names: None,
        mac_address: settings.mac_address.to_ascii_lowercase(),
        ..settings
    }
}

/// Refuses wishes that the network cannot fulfil: all that is wrong at once.
pub(super) fn check(record: &NetworkRecord, settings: &EndpointSettings) -> Result<()> {
    let mut problems: Vec<String> = Vec::new();
    let asks = settings.ipam_config.clone().unwrap_or_default();
    let wanted: Vec<&String> =
        [&asks.ipv4_address, &asks.ipv6_address].into_iter().filter(|text| !text.is_empty()).collect();
    if !record.has_names() {
        if !wanted.is_empty() {
            problems.push("user specified IP address is supported on user defined networks only".to_owned());
        }
        if settings.aliases.as_ref().is_some_and(|aliases| !aliases.is_empty()) {
            problems.push("network-scoped aliases are only supported for user-defined networks".to_owned());
        }
    } else {
        problems.extend(wanted.iter().filter_map(|text| address_problem(record, text)));
    }
    problems.extend(super::attachment::link_local(settings).err().map(|error| error.message));
    match super::attachment::shaping(settings) {
        Err(error) => problems.push(error.message),
        Ok(shaping) if !shaping.ingress.is_none() && record.parent_of_host() => problems.push(
            "what a macvlan or ipvlan of the host's gets cannot be shaped, only what it sends".to_owned(),
        ),
        Ok(_) => {}
    }
    if record.config_only {
        problems.push(format!("configuration-only network {:?} cannot be used by containers", record.name));
    }
    if !settings.mac_address.is_empty() && settings.mac_address.parse::<MacAddress>().is_err() {
        problems.push(format!("invalid MAC address {:?}", settings.mac_address));
    }
    for (key, value) in settings.driver_opts.iter().flatten() {
        match key.as_str() {
            "com.docker.network.endpoint.ifname" => {
                problems.extend(value.parse::<InterfaceName>().err().map(|error| error.to_string()));
            }
            "com.docker.network.endpoint.sysctls" => {
                problems.extend(EndpointSysctl::parse_list(value).err().map(|error| error.to_string()));
            }
            _ => {}
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(format!("invalid endpoint settings:\n{}", problems.join("\n")))),
    }
}

fn address_problem(record: &NetworkRecord, text: &str) -> Option<String> {
    let Ok(address) = text.parse::<IpAddr>() else { return Some(format!("invalid IP address: {text}")) };
    let family =
        || record.subnets.iter().filter(|subnet| subnet.config.subnet.is_ipv6() == address.is_ipv6());
    if !family().any(|subnet| subnet.configured) {
        return Some(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
                .to_owned(),
        );
    }
    let inside = family().any(|subnet| subnet.config.subnet.contains(address));
    (!inside).then(|| format!("no configured subnet contains IP address {address}"))
}
