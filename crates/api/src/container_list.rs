//! One row of `GET /containers/json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::{ContainerState, HealthSummary};
use crate::descriptor::Descriptor;
use crate::endpoint::EndpointSettings;
use crate::json::is_zero;
use crate::mount::MountPoint;
use crate::port::PortSummary;

/// One container of a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Summary {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Each with a leading `/`.
    pub names: Vec<String>,
    /// As the user named it, or its ID when the name has gone to another image.
    pub image: String,
    /// The image's digest.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// The platform's manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_manifest_descriptor: Option<Descriptor>,
    /// The program and its arguments.
    pub command: String,
    /// Seconds since 1970.
    pub created: i64,
    /// Sorted.
    pub ports: Vec<PortSummary>,
    /// Bytes of the container's own layer, when asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_rw: i64,
    /// Bytes of all layers, when asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_root_fs: i64,
    /// Never `null`.
    pub labels: BTreeMap<String, String>,
    /// In one word.
    pub state: ContainerState,
    /// For people: `Up 5 minutes (healthy)`.
    pub status: String,
    /// A part of it.
    pub host_config: SummaryHostConfig,
    /// Only for containers with a health check, and `none` otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSummary>,
    /// The networks only.
    pub network_settings: Option<SummaryNetworkSettings>,
    /// Never `null`.
    pub mounts: Vec<MountPoint>,
}

/// The part of the host configuration that a list shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SummaryHostConfig {
    /// As inspect shows it.
    #[serde(skip_serializing_if = "is_zero")]
    pub network_mode: String,
    /// As inspect shows them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The part of the network settings that a list shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SummaryNetworkSettings {
    /// By network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}
