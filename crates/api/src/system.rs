//! The answers of `GET /version` and `GET /info`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::is_zero;
use crate::plugin::PluginsInfo;
use crate::registry::ServiceConfig;

/// The answer of `GET /version`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Version {
    /// The product.
    pub platform: PlatformInfo,
    /// Of the engine.
    pub version: String,
    /// The newest API version served.
    pub api_version: String,
    /// The oldest API version served.
    #[serde(rename = "MinAPIVersion", skip_serializing_if = "is_zero")]
    pub min_api_version: String,
    /// `linux`.
    pub os: String,
    /// `amd64`, …
    pub arch: String,
    /// The engine and what it is made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentVersion>,
    /// Of the source.
    pub git_commit: String,
    /// Of the compiler; clients print it as `Go version`.
    pub go_version: String,
    /// `uname -r`.
    #[serde(skip_serializing_if = "is_zero")]
    pub kernel_version: String,
    /// Experimental features are on.
    #[serde(skip_serializing_if = "is_zero")]
    pub experimental: bool,
    /// RFC 3339.
    #[serde(skip_serializing_if = "is_zero")]
    pub build_time: String,
}

/// The product's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PlatformInfo {
    /// `Docker Engine - Community`, ours: `berth`.
    pub name: String,
}

/// A part of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ComponentVersion {
    /// `Engine`, …
    pub name: String,
    /// Its version.
    pub version: String,
    /// For people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// The answer of `GET /info`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Info {
    /// The daemon's, kept for ever.
    #[serde(rename = "ID")]
    pub id: String,
    /// In all.
    pub containers: i64,
    /// That run.
    pub containers_running: i64,
    /// That are frozen.
    pub containers_paused: i64,
    /// That do neither.
    pub containers_stopped: i64,
    /// In all.
    pub images: i64,
    /// Storage driver.
    pub driver: String,
    /// Name and value.
    pub driver_status: Vec<[String; 2]>,
    /// Drivers.
    pub plugins: PluginsInfo,
    /// The kernel can limit memory.
    pub memory_limit: bool,
    /// The kernel can limit swap.
    pub swap_limit: bool,
    /// The kernel has CPU periods.
    pub cpu_cfs_period: bool,
    /// The kernel has CPU quotas.
    pub cpu_cfs_quota: bool,
    /// The kernel has CPU weights.
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    /// The kernel has cpusets.
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    /// The kernel can limit processes.
    pub pids_limit: bool,
    /// Forwarding is on.
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// The daemon logs more.
    pub debug: bool,
    /// Open file descriptors of the daemon.
    #[serde(rename = "NFd")]
    pub n_fd: i64,
    /// The kernel can keep the OOM killer away (cgroup v1).
    pub oom_kill_disable: bool,
    /// Tasks of the daemon.
    #[serde(rename = "NGoroutines")]
    pub n_goroutines: i64,
    /// RFC 3339 with nanoseconds.
    pub system_time: String,
    /// The default log driver.
    pub logging_driver: String,
    /// `cgroupfs`, `systemd`, `none`.
    pub cgroup_driver: String,
    /// `1`, `2`.
    #[serde(skip_serializing_if = "is_zero")]
    pub cgroup_version: String,
    /// Who listens to events.
    #[serde(rename = "NEventsListener")]
    pub n_events_listener: i64,
    /// `uname -r`.
    pub kernel_version: String,
    /// `PRETTY_NAME` of os-release.
    pub operating_system: String,
    /// `VERSION_ID` of os-release.
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    /// `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// `uname -m`.
    pub architecture: String,
    /// `https://index.docker.io/v1/`.
    pub index_server_address: String,
    /// Registries.
    pub registry_config: Option<ServiceConfig>,
    /// Processors.
    #[serde(rename = "NCPU")]
    pub n_cpu: i64,
    /// Bytes.
    pub mem_total: i64,
    /// Swarm only.
    pub generic_resources: Option<Vec<serde_json::Value>>,
    /// The data root.
    pub docker_root_dir: String,
    /// Without its password.
    pub http_proxy: String,
    /// Without its password.
    pub https_proxy: String,
    /// Hosts reached directly.
    pub no_proxy: String,
    /// Host name.
    pub name: String,
    /// `key=value`.
    pub labels: Vec<String>,
    /// Experimental features are on.
    pub experimental_build: bool,
    /// Of the engine.
    pub server_version: String,
    /// By name.
    pub runtimes: BTreeMap<String, Runtime>,
    /// One of them.
    pub default_runtime: String,
    /// `inactive` and its friends.
    pub swarm: SwarmInfo,
    /// Containers outlive the daemon.
    pub live_restore_enabled: bool,
    /// Windows only.
    pub isolation: String,
    /// Name of the init program.
    pub init_binary: String,
    /// Of containerd; ours.
    pub containerd_commit: Commit,
    /// Of the runtime.
    pub runc_commit: Commit,
    /// Of the init program.
    pub init_commit: Commit,
    /// `name=seccomp,profile=builtin`, `name=cgroupns`, …
    pub security_options: Vec<String>,
    /// Left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub product_license: String,
    /// Where networks get their subnets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_address_pools: Vec<AddressPool>,
    /// What filters packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firewall_backend: Option<FirewallInfo>,
    /// Where descriptions of devices are.
    #[serde(rename = "CDISpecDirs")]
    pub cdi_spec_dirs: Vec<String>,
    /// Devices by CDI.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discovered_devices: Vec<DeviceInfo>,
    /// Never `null`.
    pub warnings: Vec<String>,
}

/// A runtime that containers can be run with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runtime {
    /// The program.
    #[serde(skip_serializing_if = "is_zero")]
    pub path: String,
    /// Its first arguments.
    #[serde(rename = "runtimeArgs", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Left out.
    #[serde(rename = "runtimeType", skip_serializing_if = "is_zero")]
    pub kind: String,
    /// What it said about itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status: BTreeMap<String, String>,
}

/// The commit something was built from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commit {
    /// Its hash.
    #[serde(rename = "ID")]
    pub id: String,
}

/// Where networks get their subnets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AddressPool {
    /// `172.17.0.0/16`.
    pub base: String,
    /// Bits of each subnet.
    pub size: i64,
}

/// What filters packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FirewallInfo {
    /// `nftables`.
    pub driver: String,
    /// Name and value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub info: Vec<[String; 2]>,
}

/// A device by CDI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceInfo {
    /// `cdi`.
    #[serde(rename = "Source")]
    pub source: String,
    /// `vendor.com/class=name`.
    #[serde(rename = "ID")]
    pub id: String,
}

/// The machine's part in a swarm. The default is a machine outside of any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SwarmInfo {
    /// Empty outside.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Empty outside.
    pub node_addr: String,
    /// `inactive` outside.
    pub local_node_state: String,
    /// It is a manager.
    pub control_available: bool,
    /// Why it is not well.
    pub error: String,
    /// `null` outside.
    pub remote_managers: Option<Vec<serde_json::Value>>,
}

impl Default for SwarmInfo {
    fn default() -> SwarmInfo {
        SwarmInfo {
            node_id: String::new(),
            node_addr: String::new(),
            local_node_state: "inactive".into(),
            control_available: false,
            error: String::new(),
            remote_managers: None,
        }
    }
}
