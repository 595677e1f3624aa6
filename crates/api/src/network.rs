//! The bodies of the network endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::endpoint::EndpointSettings;
use crate::json::is_zero;

/// A network, as `GET /networks` lists it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Network {
    /// Unique on this machine.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// `local`, `swarm`, `global`.
    pub scope: String,
    /// `bridge`, `host`, `null`, `macvlan`, …
    pub driver: String,
    /// Has IPv4.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Has IPv6.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Addresses.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// No way out.
    pub internal: bool,
    /// Swarm only.
    pub attachable: bool,
    /// Swarm only.
    pub ingress: bool,
    /// The network that gives the configuration.
    pub config_from: ConfigReference,
    /// Only gives a configuration to others.
    pub config_only: bool,
    /// The driver's options; never `null`.
    pub options: BTreeMap<String, String>,
    /// Metadata; never `null`.
    pub labels: BTreeMap<String, String>,
}

/// The answer of `GET /networks/{id}`: the fields of [`Network`] and who is in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default, rename_all = "PascalCase")]
pub struct Inspect {
    /// The network.
    #[serde(flatten, skip_deserializing)]
    pub network: Network,
    /// By container ID; never `null`.
    pub containers: BTreeMap<String, EndpointResource>,
    /// How full it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<NetworkStatus>,
}

crate::json::embeds!(Inspect { network });

/// How full a network is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStatus {
    /// Addresses.
    #[serde(rename = "IPAM")]
    pub ipam: IpamStatus,
}

/// See [`NetworkStatus`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IpamStatus {
    /// By subnet.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subnets: BTreeMap<String, SubnetStatus>,
}

/// See [`IpamStatus`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubnetStatus {
    /// Taken.
    #[serde(rename = "IPsInUse")]
    pub ips_in_use: u64,
    /// Free for new containers.
    #[serde(rename = "DynamicIPsAvailable")]
    pub dynamic_ips_available: u64,
}

/// A container in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointResource {
    /// The container's name without `/`.
    #[serde(rename = "Name")]
    pub name: String,
    /// The endpoint's ID.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// `02:42:ac:11:00:02`.
    #[serde(rename = "MacAddress")]
    pub mac_address: String,
    /// `172.17.0.2/16`.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// With prefix length, or empty.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

/// How a network gives addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ipam {
    /// `default`.
    pub driver: String,
    /// The driver's options.
    pub options: Option<BTreeMap<String, String>>,
    /// Subnets.
    pub config: Option<Vec<IpamConfig>>,
}

/// One subnet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// `10.1.0.0/16`.
    #[serde(rename = "Subnet", skip_serializing_if = "is_zero")]
    pub subnet: String,
    /// The part containers get addresses from.
    #[serde(rename = "IPRange", skip_serializing_if = "is_zero")]
    pub ip_range: String,
    /// `10.1.0.1`.
    #[serde(rename = "Gateway", skip_serializing_if = "is_zero")]
    pub gateway: String,
    /// Addresses that containers do not get, by name.
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "BTreeMap::is_empty")]
    pub aux_addresses: BTreeMap<String, String>,
}

/// A network by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ConfigReference {
    /// Its name.
    pub network: String,
}

/// The body of `POST /networks/create`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateRequest {
    /// Unique on this machine.
    pub name: String,
    /// `bridge` when empty.
    pub driver: String,
    /// `local` when empty.
    pub scope: String,
    /// `null` means true.
    #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    /// `null` means the daemon's default.
    #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
    pub enable_ipv6: Option<bool>,
    /// Addresses; `null` means a free subnet of the pools.
    #[serde(rename = "IPAM")]
    pub ipam: Option<Ipam>,
    /// No way out.
    pub internal: bool,
    /// Swarm only.
    pub attachable: bool,
    /// Swarm only.
    pub ingress: bool,
    /// Only gives a configuration to others.
    pub config_only: bool,
    /// The network that gives the configuration.
    pub config_from: Option<ConfigReference>,
    /// The driver's options.
    pub options: Option<BTreeMap<String, String>>,
    /// Metadata.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The answer of `POST /networks/create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Created {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Empty when there is none.
    pub warning: String,
}

/// The body of `POST /networks/{id}/connect`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ConnectRequest {
    /// ID or name.
    pub container: String,
    /// Wishes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_config: Option<EndpointSettings>,
}

/// The body of `POST /networks/{id}/disconnect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DisconnectRequest {
    /// ID or name.
    pub container: String,
    /// Also when the container is not known.
    pub force: bool,
}

/// The answer of `POST /networks/prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneReport {
    /// Names; `null` when there are none.
    pub networks_deleted: Option<Vec<String>>,
}
