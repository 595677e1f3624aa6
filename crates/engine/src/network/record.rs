//! What is kept of a network, and what its driver's options mean.

use std::collections::BTreeMap;
use std::net::IpAddr;

use network::ipam::SubnetConfig;
use network::{GatewayMode, Guard, InterfaceName, IpvlanFlag, IpvlanMode, MacAddress, MacvlanMode};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Names of the bridge driver's options begin so.
const BRIDGE: &str = "com.docker.network.bridge.";

/// One network's durable record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique.
    pub name: String,
    /// When it was made.
    pub created: i64,
    /// `bridge`, `macvlan`, `ipvlan`, `host` or `null`.
    pub driver: String,
    /// Has IPv4.
    pub enable_ipv4: bool,
    /// Has IPv6.
    pub enable_ipv6: bool,
    /// No way out.
    pub internal: bool,
    /// Shown, no meaning without a cluster.
    pub attachable: bool,
    /// Only gives its configuration to others.
    pub config_only: bool,
    /// The network that gave the configuration; empty for none.
    pub config_from: String,
    /// Options of address management, as given.
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// The subnets with their gateways.
    pub subnets: Vec<NetworkSubnet>,
    /// The driver's options, as given.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The hardware address of its bridge.
    pub mac: MacAddress,
}

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkSubnet {
    /// The subnet; its gateway is always chosen.
    pub config: SubnetConfig,
    /// Whether a person chose it: only then may containers ask for addresses.
    pub configured: bool,
}

/// What a network's driver does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A bridge on the host.
    Bridge(BridgeSettings),
    /// Hardware addresses on an interface of the host.
    Macvlan {
        /// The interface of the host; `None`: nothing of the host is on it.
        parent: Option<InterfaceName>,
        /// Who sees whom.
        mode: MacvlanMode,
    },
    /// IP addresses on an interface of the host.
    Ipvlan {
        /// The interface of the host; `None`: nothing of the host is on it.
        parent: Option<InterfaceName>,
        /// What is done with packets.
        mode: IpvlanMode,
        /// Who sees whom.
        flag: IpvlanFlag,
    },
    /// The host's own network.
    Host,
    /// No interfaces.
    Null,
}

/// The bridge driver's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeSettings {
    /// The bridge.
    pub interface: InterfaceName,
    /// Containers may talk to each other.
    pub communication: bool,
    /// Packets to the outside get the host's address.
    pub masquerade: bool,
    /// Host address of published ports that name none.
    pub binding: Option<IpAddr>,
    /// How packets get in, by IPv4.
    pub gateway_mode_ipv4: GatewayMode,
    /// How packets get in, by IPv6.
    pub gateway_mode_ipv6: GatewayMode,
    /// The host has no IPv4 address on the bridge.
    pub inhibit_ipv4: bool,
    /// Interfaces of the host from which containers are reached directly.
    pub trusted: Vec<InterfaceName>,
    /// Source address of what leaves, by family.
    pub host_addresses: (Option<std::net::Ipv4Addr>, Option<std::net::Ipv6Addr>),
}

/// What all drivers may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommonSettings {
    /// Bytes; `None` for the kernel's default.
    pub mtu: Option<u32>,
    /// First part of the names of containers' interfaces.
    pub interface_prefix: String,
    /// Whether an address that a container gets is announced to its neighbours. The kernel does it, once.
    pub announce: bool,
    /// How closely frames of containers are looked at; `None`: of those who may not change their addresses.
    pub guard: Option<Guard>,
}

impl NetworkRecord {
    /// Whether one of the three that every engine has.
    pub(crate) fn is_predefined(&self) -> bool {
        super::PREDEFINED.contains(&self.name.as_str())
    }

    /// Whether its containers hang on an interface of the host themselves.
    pub(crate) fn parent_of_host(&self) -> bool {
        matches!(self.driver.as_str(), "macvlan" | "ipvlan")
            && self.options.get("parent").is_some_and(|name| !name.is_empty())
    }

    /// Whether containers are known by name in it.
    pub(crate) fn has_names(&self) -> bool {
        !self.is_predefined()
    }

    /// Its driver with what its options say.
    pub(crate) fn driver(&self) -> Result<Driver> {
        Ok(match self.driver.as_str() {
            "bridge" => Driver::Bridge(self.bridge()?),
            "macvlan" => Driver::Macvlan { parent: self.parent()?, mode: self.macvlan_mode()? },
            "ipvlan" => {
                let (mode, flag) = self.ipvlan_mode()?;
                Driver::Ipvlan { parent: self.parent()?, mode, flag }
            }
            "host" => Driver::Host,
            "null" => Driver::Null,
            other => return Err(Error::not_found(format!("plugin {other:?} not found"))),
        })
    }

    /// What every driver may be told.
    pub(crate) fn common(&self) -> Result<CommonSettings> {
        let mtu = match self.option("com.docker.network.driver.mtu") {
            None | Some("" | "0") => None,
            Some(text) => {
                Some(text.parse().ok().filter(|mtu| (68..=65_535).contains(mtu)).ok_or_else(|| {
                    bad(
                        "com.docker.network.driver.mtu",
                        text,
                        "it must be a number of bytes from 68 to 65535",
                    )
                })?)
            }
        };
        let key = "com.docker.network.container_iface_prefix";
        let interface_prefix =
            self.option(key).filter(|prefix| !prefix.is_empty()).unwrap_or("eth").to_owned();
        // With a number of up to three digits it must be the name of an interface.
        format!("{interface_prefix}000")
            .parse::<InterfaceName>()
            .map_err(|error| bad(key, &interface_prefix, error))?;
        let announce = self.number("com.docker.network.advertise_addr_nmsgs", 0..=3)? != Some(0);
        self.number("com.docker.network.advertise_addr_ms", 100..=2000)?;
        Ok(CommonSettings { mtu, interface_prefix, announce, guard: self.guard()? })
    }

    fn number(&self, key: &str, range: std::ops::RangeInclusive<u32>) -> Result<Option<u32>> {
        let Some(text) = self.option(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let why = || format!("it must be a number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| bad(key, text, why()))
    }

    fn guard(&self) -> Result<Option<Guard>> {
        const KEY: &str = "berth.network.guard";
        Ok(match self.option(KEY).unwrap_or_default() {
            "" | "auto" => None,
            "sources" => Some(Guard::Sources),
            "announcements" => Some(Guard::Announcements),
            "off" => Some(Guard::Off),
            other => return Err(bad(KEY, other, "it must be auto, sources, announcements or off")),
        })
    }

    fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }

    fn bridge(&self) -> Result<BridgeSettings> {
        let key = format!("{BRIDGE}name");
        let interface = match self.option(&key).filter(|name| !name.is_empty()) {
            Some(name) => name.parse(),
            None => InterfaceName::for_bridge(&self.id),
        };
        let list = self.option(&format!("{BRIDGE}trusted_host_interfaces")).unwrap_or_default();
        let trusted: std::result::Result<Vec<InterfaceName>, _> =
            list.split(':').filter(|name| !name.is_empty()).map(str::parse).collect();
        Ok(BridgeSettings {
            interface: interface.map_err(|error| Error::invalid(error.to_string()))?,
            communication: self.switch(&format!("{BRIDGE}enable_icc"), true)?,
            masquerade: self.switch(&format!("{BRIDGE}enable_ip_masquerade"), true)?,
            binding: self.address(&format!("{BRIDGE}host_binding_ipv4"))?,
            gateway_mode_ipv4: self.gateway_mode("gateway_mode_ipv4")?,
            gateway_mode_ipv6: self.gateway_mode("gateway_mode_ipv6")?,
            inhibit_ipv4: self.switch(&format!("{BRIDGE}inhibit_ipv4"), false)?,
            trusted: trusted.map_err(|error| Error::invalid(error.to_string()))?,
            host_addresses: (
                self.address("com.docker.network.host_ipv4")?,
                self.address("com.docker.network.host_ipv6")?,
            ),
        })
    }

    fn gateway_mode(&self, name: &str) -> Result<GatewayMode> {
        let key = format!("{BRIDGE}{name}");
        match self.option(&key).unwrap_or_default() {
            "" | "nat" => Ok(GatewayMode::Nat),
            "nat-unprotected" => Ok(GatewayMode::NatUnprotected),
            "routed" => Ok(GatewayMode::Routed),
            "isolated" if self.internal => Ok(GatewayMode::Isolated),
            "isolated" => Err(Error::invalid(format!(
                "gateway mode 'isolated' can only be used for an internal network ({key})"
            ))),
            other => Err(bad(&key, other, "it must be nat, nat-unprotected, routed or isolated")),
        }
    }

    fn switch(&self, key: &str, default: bool) -> Result<bool> {
        match self.option(key) {
            None | Some("") => Ok(default),
            Some(text) => {
                api::query::strict_bool(text).ok_or_else(|| bad(key, text, "it must be true or false"))
            }
        }
    }

    fn address<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        match self.option(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| bad(key, text, "it must be an IP address")),
        }
    }

    fn parent(&self) -> Result<Option<InterfaceName>> {
        let named = self.option("parent").filter(|name| !name.is_empty()).map(str::parse);
        named.transpose().map_err(|error: network::InvalidName| Error::invalid(error.to_string()))
    }

    fn macvlan_mode(&self) -> Result<MacvlanMode> {
        Ok(match self.option("macvlan_mode").unwrap_or_default() {
            "" | "bridge" => MacvlanMode::Bridge,
            "private" => MacvlanMode::Private,
            "vepa" => MacvlanMode::Vepa,
            "passthru" => MacvlanMode::Passthru,
            other => {
                return Err(Error::invalid(format!(
                    "requested macvlan mode '{other}' is not valid, 'bridge' mode is the macvlan driver default"
                )));
            }
        })
    }

    fn ipvlan_mode(&self) -> Result<(IpvlanMode, IpvlanFlag)> {
        let mode = match self.option("ipvlan_mode").unwrap_or_default() {
            "" | "l2" => IpvlanMode::L2,
            "l3" => IpvlanMode::L3,
            "l3s" => IpvlanMode::L3s,
            other => {
                return Err(Error::invalid(format!(
                    "requested ipvlan mode '{other}' is not valid, 'l2' mode is the ipvlan driver default"
                )));
            }
        };
        let flag = match self.option("ipvlan_flag").unwrap_or_default() {
            "" | "bridge" => IpvlanFlag::Bridge,
            "private" => IpvlanFlag::Private,
            "vepa" => IpvlanFlag::Vepa,
            other => return Err(bad("ipvlan_flag", other, "it must be bridge, private or vepa")),
        };
        Ok((mode, flag))
    }
}

fn bad(key: &str, value: &str, why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("invalid value {value:?} for option {key}: {why}"))
}
