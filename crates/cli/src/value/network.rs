//! `--network`: a mode or a network, alone or as `name=net,alias=a,ip=10.0.0.2,driver-opt=k=v`.

use std::collections::BTreeMap;

use super::csv;
use crate::grammar::parse_int;

/// One `--network` with what belongs to its endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// The network or the mode: `bridge`, `host`, `none`, `container:…`, `my-net`.
    pub(crate) target: String,
    /// Other names in the network.
    pub(crate) aliases: Vec<String>,
    /// Options of the driver.
    pub(crate) driver_options: BTreeMap<String, String>,
    /// Containers to be reached by name.
    pub(crate) links: Vec<String>,
    /// The IPv4 address.
    pub(crate) ipv4: String,
    /// The IPv6 address.
    pub(crate) ipv6: String,
    /// Addresses of the link.
    pub(crate) link_local: Vec<String>,
    /// The hardware address.
    pub(crate) mac_address: String,
    /// The highest one of all networks is the default gateway.
    pub(crate) gateway_priority: i64,
}

impl Network {
    /// Nothing but the network is said.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self { target: self.target.clone(), ..Self::default() }
    }

    /// A network of the user's, as opposed to a mode.
    pub(crate) fn is_user_defined(&self) -> bool {
        !matches!(self.target.as_str(), "default" | "bridge" | "host" | "none")
            && !self.target.starts_with("container:")
    }
}

/// Reads one `--network`.
pub(crate) fn parse(text: &str) -> Result<Network, String> {
    let mut network = Network::default();
    if !text.contains('=') {
        text.clone_into(&mut network.target);
        return Ok(network);
    }
    for field in csv::fields(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field {field}"))?;
        let value = value.trim().to_owned();
        match key.trim().to_lowercase().as_str() {
            "name" => network.target = value,
            "alias" => network.aliases.push(value),
            "ip" => network.ipv4 = value,
            "ip6" => network.ipv6 = value,
            "mac-address" => network.mac_address = value,
            "link-local-ip" => network.link_local.push(value),
            "driver-opt" => {
                let (name, setting) = value
                    .split_once('=')
                    .filter(|(name, _)| !name.is_empty())
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                network.driver_options.insert(name.to_lowercase(), setting.to_owned());
            }
            "gw-priority" => {
                network.gateway_priority = parse_int(&value)
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if network.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(network)
}

/// For the table of flags.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}
