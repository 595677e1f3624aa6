//! What is kept of a container: the request as it was, what it was resolved to, and where it stands.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::config::Config;
use api::descriptor::Descriptor;
use api::endpoint::EndpointSettings;
use api::host_config::HostConfig;
use serde::{Deserialize, Serialize};

use super::health::Health;
use super::spec::ContainerSpec;
use super::state::{Nanos, State};

/// One container's durable record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// When it was made.
    pub created: Nanos,
    /// Digest of the image; empty for a root directory of the host.
    pub image_id: String,
    /// The manifest that was chosen of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_manifest: Option<Descriptor>,
    /// The image as the user wrote it.
    pub image_name: String,
    /// The request's configuration with what the image added.
    pub config: Config,
    /// The request's host configuration with defaults filled in.
    pub host_config: HostConfig,
    /// Endpoints as asked for, by network name, each with its network's identifier; none when it shares another
    /// container's network.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// Where its volumes are on the host, by volume name.
    pub volume_paths: BTreeMap<String, String>,
    /// What all that means.
    pub spec: ContainerSpec,
    /// Where it stands.
    pub state: State,
    /// How well it is; only with a health check, from its first start on.
    #[serde(default)]
    pub health: Option<Health>,
    /// Its anonymous volumes go with it.
    pub remove_volumes: bool,
    /// Containers that it knows by further names; only in the default network.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Network resources that belong to the current run, in the order of its interfaces; freed at its end.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// Places where something is being mounted or taken away while it runs: after a crash there may be either. Twice when
    /// one mount takes the place of another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsettled: Vec<String>,
    /// An endpoint is being shaped anew while it runs: after a crash its links may be either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reshaping: bool,
    /// It is paused by us for something that takes a moment, and nobody asked for that: after a crash it goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// Another name for another container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other one.
    pub container_id: String,
    /// What it is called.
    pub alias: String,
}

/// What a run holds in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network.
    pub network_id: String,
    /// Its name.
    pub network_name: String,
    /// Identifier of the endpoint: 64 hexadecimal digits.
    pub endpoint_id: String,
    /// Its interface. It has default routes only when no other attachment has them.
    pub endpoint: network::Endpoint,
    /// Next hops that the network offers: at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// The highest of all attachments has the default routes.
    pub priority: i64,
    /// First part of the name of an interface that nobody named.
    pub interface_prefix: String,
    /// Names by which others in the network find the container; none in the default network.
    pub names: Vec<String>,
    /// Published ports as they were reserved.
    pub published: Vec<Published>,
    /// How closely its frames are looked at.
    #[serde(default)]
    pub guard: network::Guard,
    /// Whether the network says so, whoever the container is.
    #[serde(default)]
    pub guard_asked: bool,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Host address; 0.0.0.0 or :: for all.
    pub host_address: IpAddr,
    /// Host port.
    pub host_port: u16,
    /// The container's address.
    pub container_address: IpAddr,
    /// Inside.
    pub container_port: u16,
    /// Reached by the container's own address only: the host has no port for it.
    #[serde(default)]
    pub routed: bool,
}

impl Attachment {
    /// The container's address of a family with its prefix length.
    #[must_use]
    pub fn prefix(&self, ipv6: bool) -> Option<network::Prefix> {
        self.endpoint.addresses.iter().find(|prefix| prefix.is_ipv6() == ipv6).copied()
    }
}

impl Record {
    /// Attributes that every event of this container carries: its labels, name and image.
    #[must_use]
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.config.labels.clone().unwrap_or_default();
        attributes.insert("name".to_owned(), self.name.clone());
        attributes.insert("image".to_owned(), self.image_name.clone());
        attributes
    }
}
