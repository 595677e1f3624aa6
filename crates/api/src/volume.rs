//! The bodies of the volume endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::is_zero;

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    /// RFC 3339, whole seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub created_at: String,
    /// `local`.
    pub driver: String,
    /// Metadata; `null` when none were given.
    pub labels: Option<BTreeMap<String, String>>,
    /// On the host.
    pub mountpoint: String,
    /// Unique on this machine.
    pub name: String,
    /// The driver's options; `null` when none were given.
    pub options: Option<BTreeMap<String, String>>,
    /// `local`.
    pub scope: String,
    /// What the driver says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status: BTreeMap<String, serde_json::Value>,
    /// Only in `GET /system/df`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_data: Option<UsageData>,
}

/// How much a volume is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UsageData {
    /// Containers that use it; -1 when not known.
    pub ref_count: i64,
    /// Bytes; -1 when not known.
    pub size: i64,
}

/// The answer of `GET /volumes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ListResponse {
    /// Never `null`.
    pub volumes: Vec<Volume>,
    /// `null` when there are none.
    pub warnings: Option<Vec<String>>,
}

/// The body of `POST /volumes/create`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateRequest {
    /// Swarm only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_volume_spec: Option<serde_json::Value>,
    /// `local` when empty.
    #[serde(skip_serializing_if = "is_zero")]
    pub driver: String,
    /// The driver's options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// A random one when empty.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
}

/// The body of `POST /berth/volumes/{name}/clone` and `…/snapshot`: the new volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CopyRequest {
    /// Its name; a snapshot without one is named after the volume and the time.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Its labels, beside those of the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// The answer of `POST /volumes/prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneReport {
    /// Names; an empty list when there are none.
    pub volumes_deleted: Option<Vec<String>>,
    /// Bytes.
    pub space_reclaimed: u64,
}
