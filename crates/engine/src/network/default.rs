//! The three networks that every engine has, from its configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;

use network::ipam::{SubnetConfig, choose_subnet, unique_local_subnet};
use network::{InterfaceName, MacAddress, Network, Prefix};

use super::attachment::{WAY_OUT_IPV4, WAY_OUT_IPV6};
use super::record::{NetworkRecord, NetworkSubnet};
use super::{PREDEFINED, failed};
use crate::config::Config;
use crate::records::Records;
use crate::{Error, Result, id};

/// Their records, the default bridge first; without that when it is disabled.
pub(super) fn networks(
    config: &Config,
    records: &Records,
    kernel: &mut Network,
) -> Result<Vec<NetworkRecord>> {
    let created = records.lasting("networks-created", || Ok(crate::time::now().to_string()))?;
    let mac = records.lasting("bridge-mac", || Ok(MacAddress::from_random(id::random()?).to_string()))?;
    let mac: MacAddress =
        mac.parse().map_err(|_| Error::system("the recorded address of the bridge is damaged"))?;
    let record = |name: &str, driver: &str| -> Result<NetworkRecord> {
        Ok(NetworkRecord {
            id: records.lasting(&format!("network-{name}"), id::new_id)?,
            name: name.to_owned(),
            created: created.parse().unwrap_or(0),
            driver: driver.to_owned(),
            enable_ipv4: true,
            enable_ipv6: false,
            internal: false,
            attachable: false,
            config_only: false,
            config_from: String::new(),
            ipam_options: None,
            subnets: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            mac,
        })
    };
    let mut networks = vec![record(PREDEFINED[1], "host")?, record(PREDEFINED[2], "null")?];
    if let Some(name) = &config.bridge.name {
        let mut bridge = record(PREDEFINED[0], "bridge")?;
        bridge.subnets = subnets(name, config, records, kernel)?;
        bridge.enable_ipv6 = config.bridge.ipv6;
        bridge.options = options(name, config);
        networks.insert(0, bridge);
    }
    Ok(networks)
}

/// The bridge's subnets: that of its IPv4 address, and one of IPv6 when it is to have that.
fn subnets(
    name: &str,
    config: &Config,
    records: &Records,
    kernel: &mut Network,
) -> Result<Vec<NetworkSubnet>> {
    let bad = |flag: &str, text: &str| {
        Error::invalid(format!("--{flag} {text}: it must be an address with a prefix length"))
    };
    let parse = |flag: &'static str, text: &str| text.parse::<Prefix>().map_err(|_| bad(flag, text));
    let subnet = |gateway: Prefix, range: Option<Prefix>| {
        let config = SubnetConfig {
            gateway: Some(gateway.address()),
            range: range.map(|range| range.network()),
            auxiliary: way_out(config, gateway)?,
            ..SubnetConfig::new(gateway.network())
        };
        match config.problems().into_iter().next() {
            Some(problem) => Err(Error::invalid(format!("default bridge: {problem}"))),
            None => Ok(NetworkSubnet { config, configured: false }),
        }
    };
    let range = config.bridge.range.as_deref().map(|text| parse("fixed-cidr", text)).transpose()?;
    let mut subnets = vec![subnet(gateway(name, config, range, kernel)?, range)?];
    if config.bridge.ipv6 {
        let given =
            config.bridge.subnet_ipv6.as_deref().map(|text| parse("fixed-cidr-v6", text)).transpose()?;
        let gateway = match &config.bridge.address_ipv6 {
            Some(text) => parse("bip6", text)?,
            None => {
                let local = || Ok(unique_local_subnet(id::random()?).to_string());
                let chosen = match given {
                    Some(subnet) => subnet,
                    None => parse("bip6", &records.lasting("bridge-subnet-v6", local)?)?,
                };
                let first = chosen.network().nth(1).and_then(|address| Prefix::new(address, chosen.length()));
                first.ok_or_else(|| bad("fixed-cidr-v6", &chosen.to_string()))?
            }
        };
        let range = given.filter(|given| given.network() != gateway.network());
        subnets.push(subnet(gateway, range)?);
    }
    Ok(subnets)
}

/// The way out that containers have instead of the bridge, under the name by which Docker keeps it.
fn way_out(config: &Config, gateway: Prefix) -> Result<BTreeMap<String, IpAddr>> {
    let (name, flag, given) = match gateway.is_ipv6() {
        false => (WAY_OUT_IPV4, "default-gateway", &config.bridge.default_gateway),
        true => (WAY_OUT_IPV6, "default-gateway-v6", &config.bridge.default_gateway_ipv6),
    };
    let Some(text) = given else { return Ok(BTreeMap::new()) };
    let address = text.parse().ok().filter(|address| gateway.network().contains(*address));
    let address = address.ok_or_else(|| {
        Error::invalid(format!("--{flag} {text}: it must be an address of the subnet {}", gateway.network()))
    })?;
    Ok([(name.to_owned(), address)].into())
}

fn options(name: &str, config: &Config) -> BTreeMap<String, String> {
    let mtu = if config.bridge.mtu > 0 { config.bridge.mtu } else { 1500 };
    let entries = [
        ("com.docker.network.bridge.default_bridge", true.to_string()),
        ("com.docker.network.bridge.enable_icc", config.bridge.inter_container.to_string()),
        ("com.docker.network.bridge.enable_ip_masquerade", config.bridge.masquerade.to_string()),
        ("com.docker.network.bridge.host_binding_ipv4", config.bridge.publish_address.clone()),
        ("com.docker.network.bridge.name", name.to_owned()),
        ("com.docker.network.driver.mtu", mtu.to_string()),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The bridge's address: what was asked for, what it has already, the first one of the range that was asked for, or one of
/// a subnet nobody uses.
fn gateway(name: &str, config: &Config, range: Option<Prefix>, kernel: &mut Network) -> Result<Prefix> {
    if let Some(text) = &config.bridge.address {
        return text.parse().map_err(|_| {
            Error::invalid(format!("--bip {text}: it must be an address with a prefix length"))
        });
    }
    let interface: InterfaceName =
        name.parse().map_err(|error: network::InvalidName| Error::invalid(error.to_string()))?;
    let facts = kernel.gather_facts().map_err(failed)?;
    let present = facts.link(&interface).map(|link| link.index);
    let present = present.and_then(|index| facts.addresses_of(index).find(|address| !address.is_ipv6()));
    if let Some(address) = present {
        return Ok(address);
    }
    let pools: Vec<_> = config.address_pools.iter().filter(|pool| !pool.base.is_ipv6()).copied().collect();
    let subnet = range
        .map(|range| range.network())
        .or_else(|| choose_subnet(&pools, None, &facts.used_networks(&[&interface])));
    let gateway = subnet.and_then(|subnet| Prefix::new(subnet.nth(1)?, subnet.length()));
    gateway
        .ok_or_else(|| Error::system("no free subnet is left for the default bridge: choose one with --bip"))
}
