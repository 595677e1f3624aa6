//! The answer of `GET /images/{name}/json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Empty, HealthConfig};
use crate::container_inspect::DriverData;
use crate::descriptor::Descriptor;
use crate::image::ManifestSummary;
use crate::json::is_zero;

/// Everything about one image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Inspect {
    /// `sha256:…`.
    pub id: String,
    /// `repository:tag`; never `null`.
    pub repo_tags: Vec<String>,
    /// `repository@sha256:…`; never `null`.
    pub repo_digests: Vec<String>,
    /// The image that it was committed from; not shown since 1.52.
    #[serde(skip_serializing_if = "is_zero")]
    pub parent: String,
    /// The author's words.
    #[serde(skip_serializing_if = "is_zero")]
    pub comment: String,
    /// RFC 3339; left out when the image does not say.
    #[serde(skip_serializing_if = "is_zero")]
    pub created: String,
    /// Who made it.
    #[serde(skip_serializing_if = "is_zero")]
    pub author: String,
    /// What its containers run.
    pub config: Option<ImageConfig>,
    /// `amd64`, …
    pub architecture: String,
    /// `v8`, …
    #[serde(skip_serializing_if = "is_zero")]
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// Windows only.
    #[serde(skip_serializing_if = "is_zero")]
    pub os_version: String,
    /// Bytes.
    pub size: i64,
    /// Only with a graph driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_driver: Option<DriverData>,
    /// The layers.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// Kept by the engine.
    pub metadata: Metadata,
    /// What the name points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
    /// When asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestSummary>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<serde_json::Value>,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "Type", skip_serializing_if = "is_zero")]
    pub kind: String,
    /// Diff IDs, lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What the engine keeps about an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Metadata {
    /// RFC 3339; [`crate::time::ZERO`] if it never had a name.
    pub last_tag_time: String,
}

/// What containers of an image run. As in the image itself, empty fields are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageConfig {
    /// `user[:group]`.
    #[serde(skip_serializing_if = "is_zero")]
    pub user: String,
    /// `80/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `KEY=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments, or the command when there is no entry point.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Paths that get an anonymous volume.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Directory the program starts in.
    #[serde(skip_serializing_if = "is_zero")]
    pub working_dir: String,
    /// Metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the program.
    #[serde(skip_serializing_if = "is_zero")]
    pub stop_signal: String,
    /// Windows only.
    #[serde(skip_serializing_if = "is_zero")]
    pub args_escaped: bool,
    /// How to find out whether the program is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// Triggers for images made from this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// The shell of shell-form instructions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}
