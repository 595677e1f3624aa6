//! What is kept of a container: the request as it was, what it was resolved to, and where it stands.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::config::Config;
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
    /// The image as the user wrote it.
    pub image_name: String,
    /// The request's configuration with what the image added.
    pub config: Config,
    /// The request's host configuration with defaults filled in.
    pub host_config: HostConfig,
    /// Endpoints as asked for, by network name.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// Identifier of the network it belongs to; empty when it shares another container's.
    pub network_id: String,
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
    /// Network resources that belong to the current run; freed at its end.
    pub attachment: Option<Attachment>,
}

/// What a run holds in networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Identifier of the endpoint: 64 hexadecimal digits.
    pub endpoint_id: String,
    /// Its interface.
    pub endpoint: network::Endpoint,
    /// Published ports as they were reserved.
    pub published: Vec<Published>,
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
}

impl Attachment {
    /// The container's first address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.endpoint.addresses.first().map(network::Prefix::address)
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
