//! From a request to a network's record: pure, with Docker's words for what cannot be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::network::{CreateRequest, Ipam, IpamConfig};
use network::ipam::{AddressPool, Subnet, SubnetConfig, choose_subnet, unique_local_subnet};
use network::{MacAddress, Prefix};

use super::record::{Driver, NetworkRecord, NetworkSubnet};
use crate::{Error, Result};

/// What a decision about a new network depends on beside the request.
#[derive(Debug, Clone)]
pub(crate) struct CreateFacts {
    /// The new network's identifier.
    pub(crate) id: String,
    /// Now.
    pub(crate) created: i64,
    /// For the bridge.
    pub(crate) mac: MacAddress,
    /// For an IPv6 subnet that nobody chose.
    pub(crate) random: [u8; 5],
    /// Where subnets that nobody chose come from.
    pub(crate) pools: Vec<AddressPool>,
    /// Options that networks have when nobody says, by driver.
    pub(crate) options: BTreeMap<String, BTreeMap<String, String>>,
    /// Subnets of our networks.
    pub(crate) ours: Vec<Prefix>,
    /// Networks that the host itself uses.
    pub(crate) hosts: Vec<Prefix>,
    /// The records of the networks that there are.
    pub(crate) existing: Vec<NetworkRecord>,
}

/// Decides what a new network is.
pub(crate) fn plan_create(request: &CreateRequest, facts: &CreateFacts) -> Result<NetworkRecord> {
    check_name(&request.name, facts)?;
    let request = &with_configuration(request, facts)?;
    if request.ingress {
        return Err(Error::unavailable(
            "an ingress network needs swarm mode, which this engine does not have",
        ));
    }
    if !matches!(request.scope.as_str(), "" | "local") {
        return Err(Error::invalid(format!(
            "invalid network scope {:?}: only local networks can be made",
            request.scope
        )));
    }
    let driver = if request.driver.is_empty() { "bridge" } else { &request.driver };
    if matches!(driver, "host" | "null" | "none") {
        return Err(Error::forbidden(format!("only one instance of \"{driver}\" network is allowed")));
    }
    if driver == "overlay" {
        return Err(Error::unavailable(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        ));
    }
    let mut options = facts.options.get(driver).cloned().unwrap_or_default();
    options.extend(request.options.clone().unwrap_or_default());
    let switch = |key: &str| options.get(key).and_then(|text| api::query::strict_bool(text));
    let mut record = NetworkRecord {
        id: facts.id.clone(),
        name: request.name.clone(),
        created: facts.created,
        driver: driver.to_owned(),
        enable_ipv4: request.enable_ipv4.or_else(|| switch("com.docker.network.enable_ipv4")).unwrap_or(true),
        enable_ipv6: request
            .enable_ipv6
            .or_else(|| switch("com.docker.network.enable_ipv6"))
            .unwrap_or(false),
        internal: request.internal,
        attachable: request.attachable,
        config_only: request.config_only,
        config_from: request.config_from.as_ref().map(|from| from.network.clone()).unwrap_or_default(),
        ipam_options: request.ipam.as_ref().and_then(|ipam| ipam.options.clone()),
        subnets: Vec::new(),
        options: options.clone(),
        labels: request.labels.clone().unwrap_or_default(),
        mac: facts.mac,
    };
    if !record.enable_ipv4 && !record.enable_ipv6 && !record.config_only {
        return Err(Error::invalid("IPv4 or IPv6 must be enabled"));
    }
    let driver = record.driver()?;
    record.common()?;
    let ipam = request.ipam.clone().unwrap_or_default();
    if !matches!(ipam.driver.as_str(), "" | "default" | "null") {
        return Err(Error::not_found(format!(
            "ipam driver {:?} not found: this engine has default and null",
            ipam.driver
        )));
    }
    if ipam.driver != "null" {
        record.subnets = subnets(&record, &ipam, facts)?;
    }
    check_driver(&record, &driver, facts)?;
    Ok(record)
}

fn check_name(name: &str, facts: &CreateFacts) -> Result<()> {
    if super::PREDEFINED.contains(&name) || name == "default" {
        return Err(Error::forbidden(format!("operation is not permitted on predefined {name} network")));
    }
    if name.trim().is_empty() {
        return Err(Error::invalid("invalid network name: name is empty"));
    }
    if name.trim() != name
        || !name.bytes().all(|byte| (byte == b' ' || byte.is_ascii_graphic()) && byte != b'/')
    {
        return Err(Error::invalid(format!(
            "invalid network name {name:?}: it must be of printable ASCII characters without '/', and neither begin nor end with a space"
        )));
    }
    if facts.existing.iter().any(|record| record.name == name) {
        return Err(Error::conflict(format!("network with name {name} already exists")));
    }
    Ok(())
}

/// The request with what the network named in `ConfigFrom` gives.
fn with_configuration(request: &CreateRequest, facts: &CreateFacts) -> Result<CreateRequest> {
    let mut request = request.clone();
    let Some(from) = request.config_from.clone().filter(|from| !from.network.is_empty()) else {
        return Ok(request);
    };
    if request.config_only {
        return Err(Error::invalid("a network cannot be both a configuration and made from one"));
    }
    let given = facts.existing.iter().find(|record| record.name == from.network || record.id == from.network);
    let given = given
        .filter(|record| record.config_only)
        .ok_or_else(|| Error::not_found(format!("configuration network {:?} not found", from.network)))?;
    if request.ipam.as_ref().is_some_and(|ipam| ipam.config.as_ref().is_some_and(|config| !config.is_empty()))
        || request.options.as_ref().is_some_and(|options| !options.is_empty())
    {
        return Err(Error::invalid(
            "user specified configurations are not supported if the network depends on a configuration network",
        ));
    }
    request.enable_ipv6 = Some(given.enable_ipv6);
    request.internal = given.internal;
    request.options = Some(given.options.clone());
    let config = given.subnets.iter().filter(|subnet| subnet.configured).map(shown_subnet).collect();
    request.ipam =
        Some(Ipam { driver: String::new(), options: given.ipam_options.clone(), config: Some(config) });
    Ok(request)
}

/// A subnet as the API shows it.
pub(crate) fn shown_subnet(subnet: &NetworkSubnet) -> IpamConfig {
    let text = |value: Option<String>| value.unwrap_or_default();
    let config = &subnet.config;
    IpamConfig {
        subnet: config.subnet.to_string(),
        ip_range: text(config.range.map(|range| range.to_string())),
        gateway: text(config.gateway.map(|gateway| gateway.to_string())),
        aux_addresses: config
            .auxiliary
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    }
}

/// The subnets that were asked for, and those that are missing, from the pools.
fn subnets(record: &NetworkRecord, ipam: &Ipam, facts: &CreateFacts) -> Result<Vec<NetworkSubnet>> {
    let mut problems = Vec::new();
    let mut wanted: Vec<(SubnetConfig, bool)> = Vec::new();
    for config in ipam.config.iter().flatten() {
        match read_config(config, record, facts) {
            Ok(found) => wanted.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(Error::invalid(format!("invalid network config:\n{}", problems.join("\n"))));
    }
    if record.config_only {
        return Ok(wanted
            .into_iter()
            .map(|(config, configured)| NetworkSubnet { config, configured })
            .collect());
    }
    for (ipv6, enabled) in [(false, record.enable_ipv4), (true, record.enable_ipv6)] {
        if enabled && !wanted.iter().any(|(config, _)| config.subnet.is_ipv6() == ipv6) {
            wanted.push((SubnetConfig::new(free_subnet(ipv6, None, facts, &wanted)?), false));
        }
    }
    for (config, _) in &wanted {
        if facts.ours.iter().any(|other| other.overlaps(&config.subnet)) {
            return Err(Error::forbidden(
                "invalid pool request: Pool overlaps with other one on this address space",
            ));
        }
    }
    wanted.into_iter().map(|(config, configured)| settle(config, configured)).collect()
}

/// Chooses the gateway where nobody did.
fn settle(mut config: SubnetConfig, configured: bool) -> Result<NetworkSubnet> {
    let subnet = Subnet::new(config.clone()).map_err(|error| Error::invalid(error.to_string()))?;
    config.gateway = Some(subnet.gateway());
    Ok(NetworkSubnet { config, configured })
}

/// A subnet that neither we nor the host uses, of the pool's size or of the one asked for.
fn free_subnet(
    ipv6: bool,
    length: Option<u8>,
    facts: &CreateFacts,
    wanted: &[(SubnetConfig, bool)],
) -> Result<Prefix> {
    let mut used = [facts.ours.clone(), facts.hosts.clone()].concat();
    used.extend(wanted.iter().map(|(config, _)| config.subnet));
    let pools: Vec<AddressPool> =
        facts.pools.iter().filter(|pool| pool.base.is_ipv6() == ipv6).copied().collect();
    let found = choose_subnet(&pools, length, &used);
    let local = || {
        let subnet = unique_local_subnet(facts.random);
        (ipv6 && pools.is_empty() && !used.iter().any(|other| other.overlaps(&subnet))).then_some(subnet)
    };
    found
        .or_else(local)
        .ok_or_else(|| Error::system("all predefined address pools have been fully subnetted"))
}

/// Reads one subnet; `None` for an empty entry.
fn read_config(
    config: &IpamConfig,
    record: &NetworkRecord,
    facts: &CreateFacts,
) -> std::result::Result<Option<(SubnetConfig, bool)>, Vec<String>> {
    if config.subnet.is_empty() {
        if config.gateway.is_empty() && config.ip_range.is_empty() && config.aux_addresses.is_empty() {
            return Ok(None);
        }
        return Err(vec![
            "invalid network config: a gateway, a range or auxiliary addresses need a subnet".to_owned(),
        ]);
    }
    let subnet: Prefix = config
        .subnet
        .parse()
        .map_err(|_| vec![format!("invalid subnet {}: invalid CIDR block notation", config.subnet)])?;
    // 0.0.0.0/24: any free subnet of that size.
    let any = subnet.address().is_unspecified() && subnet.length() > 0;
    let subnet = if any {
        free_subnet(subnet.is_ipv6(), Some(subnet.length()), facts, &[])
            .map_err(|error| vec![error.message])?
    } else {
        subnet
    };
    let mut problems = Vec::new();
    if subnet.is_ipv6() && !record.enable_ipv6 {
        problems.push(format!("invalid subnet {subnet}: IPv6 has not been enabled for this network"));
    }
    if !subnet.is_ipv6() && !record.enable_ipv4 {
        problems.push(format!("invalid subnet {subnet}: IPv4 has not been enabled for this network"));
    }
    let mut read = SubnetConfig::new(subnet);
    if !config.ip_range.is_empty() {
        match config.ip_range.parse() {
            Ok(range) => read.range = Some(range),
            Err(_) => {
                problems.push(format!("invalid ip-range {}: invalid CIDR block notation", config.ip_range))
            }
        }
    }
    if !config.gateway.is_empty() {
        match config.gateway.parse::<IpAddr>() {
            Ok(gateway) => read.gateway = Some(gateway),
            Err(_) => problems.push(format!("invalid gateway {}: invalid address", config.gateway)),
        }
    }
    for (name, text) in &config.aux_addresses {
        match text.parse::<IpAddr>() {
            Ok(address) => {
                read.auxiliary.insert(name.clone(), address);
            }
            Err(_) => problems.push(format!("invalid auxiliary address {name}: invalid address")),
        }
    }
    problems.extend(read.problems().iter().map(ToString::to_string));
    if problems.is_empty() { Ok(Some((read, !any))) } else { Err(problems) }
}

/// What only the driver can refuse.
fn check_driver(record: &NetworkRecord, driver: &Driver, facts: &CreateFacts) -> Result<()> {
    let of_family =
        |ipv6: bool| record.subnets.iter().filter(move |subnet| subnet.config.subnet.is_ipv6() == ipv6);
    if let Driver::Bridge(bridge) = driver {
        if of_family(false).count() > 1 || of_family(true).count() > 1 {
            return Err(Error::invalid("bridge driver doesn't support multiple subnets"));
        }
        let other = facts.existing.iter().find(|other| {
            matches!(other.driver(), Ok(Driver::Bridge(its)) if its.interface == bridge.interface)
                && !other.config_only
        });
        if let Some(other) = other.filter(|_| !record.config_only) {
            return Err(Error::forbidden(format!(
                "cannot create network {} ({}): conflicts with network {} ({}): networks have same bridge name",
                record.id, bridge.interface, other.id, bridge.interface
            )));
        }
    }
    Ok(())
}

/// Labels of a network, as the attributes of its events.
pub(crate) fn attributes(record: &NetworkRecord) -> BTreeMap<String, String> {
    [("name", &record.name), ("type", &record.driver)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
