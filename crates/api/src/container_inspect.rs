//! The answer of `GET /containers/{id}/json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::container::State;
use crate::descriptor::Descriptor;
use crate::endpoint::EndpointSettings;
use crate::host_config::HostConfig;
use crate::json::is_zero;
use crate::mount::MountPoint;
use crate::port::PortMap;

/// Everything about one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Inspect {
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// The program.
    pub path: String,
    /// Its arguments; never `null`.
    pub args: Vec<String>,
    /// What it does now.
    pub state: Option<State>,
    /// The image's digest.
    pub image: String,
    /// On the host.
    pub resolv_conf_path: String,
    /// On the host.
    pub hostname_path: String,
    /// On the host.
    pub hosts_path: String,
    /// On the host; empty when the log driver has no file.
    pub log_path: String,
    /// With a leading `/`.
    pub name: String,
    /// By the restart policy.
    pub restart_count: i64,
    /// Storage driver.
    pub driver: String,
    /// `linux`.
    pub platform: String,
    /// SELinux.
    pub mount_label: String,
    /// SELinux.
    pub process_label: String,
    /// Name of the profile.
    pub app_armor_profile: String,
    /// Living execs; `null` when there are none.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    /// As it was resolved when the container was made.
    pub host_config: Option<HostConfig>,
    /// Only with a graph driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_driver: Option<DriverData>,
    /// Where the root file system is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Bytes of the container's own layer, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    /// Bytes of all layers, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    /// Never `null`.
    pub mounts: Vec<MountPoint>,
    /// With what the image added.
    pub config: Option<Config>,
    /// Networks and ports as they are.
    pub network_settings: Option<NetworkSettings>,
    /// The platform's manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_manifest_descriptor: Option<Descriptor>,
}

/// Networks and ports as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// The network name space's ID.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// Its file on the host.
    pub sandbox_key: String,
    /// Published ports, and `null` for ports that are only exposed.
    pub ports: Option<PortMap>,
    /// By network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// A graph driver's own data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DriverData {
    /// What the driver says.
    pub data: Option<BTreeMap<String, String>>,
    /// The driver's name.
    pub name: String,
}

/// Where a root file system is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// Of the container.
    #[serde(rename = "RootFS", skip_serializing_if = "Option::is_none")]
    pub root_fs: Option<RootFsStorage>,
}

/// See [`Storage`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootFsStorage {
    /// A snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

/// See [`RootFsStorage`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Snapshot {
    /// The snapshotter's name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
}
