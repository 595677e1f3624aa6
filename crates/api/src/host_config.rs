//! `HostConfig`: how a container is run on this machine, and `Resources`, the part that `update` can change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::{embeds, is_zero, strings};
use crate::mount::Mount;
use crate::port::PortMap;

/// The names that `--ulimit` takes: those of setrlimit(2), without `RLIMIT_` and in lower case.
pub const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The kernel parameters of an ipc namespace that have no common prefix (sysctl/kernel.rst).
pub const IPC_SYSCTLS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// How a container is run on this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default, rename_all = "PascalCase")]
pub struct HostConfig {
    /// `source:destination[:mode]`.
    pub binds: Option<Vec<String>>,
    /// File in which the client wrote the container's ID.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// Where the program's output goes.
    pub log_config: LogConfig,
    /// `default`, `bridge`, `host`, `none`, `container:<id|name>`, or a network.
    pub network_mode: String,
    /// Ports published on the host.
    pub port_bindings: Option<PortMap>,
    /// What to do when the program ends.
    pub restart_policy: RestartPolicy,
    /// Remove the container and its anonymous volumes when it ends.
    pub auto_remove: bool,
    /// Driver of volumes that are made by `Binds`.
    pub volume_driver: String,
    /// `container[:mode]`: take its mounts.
    pub volumes_from: Option<Vec<String>>,
    /// First size of the terminal: height, width.
    pub console_size: [u32; 2],
    /// Given to the runtime.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Capabilities to add to the default ones.
    #[serde(deserialize_with = "strings")]
    pub cap_add: Option<Vec<String>>,
    /// Capabilities to take away.
    #[serde(deserialize_with = "strings")]
    pub cap_drop: Option<Vec<String>>,
    /// `private`, `host`; empty for the daemon's default.
    pub cgroupns_mode: String,
    /// Addresses of name servers.
    pub dns: Option<Vec<String>>,
    /// Options of resolv.conf.
    pub dns_options: Option<Vec<String>>,
    /// Search domains.
    pub dns_search: Option<Vec<String>>,
    /// `host:ip`, `host=ip`, `host:host-gateway`.
    pub extra_hosts: Option<Vec<String>>,
    /// Further groups of the program: names or numbers.
    pub group_add: Option<Vec<String>>,
    /// `none`, `private`, `shareable`, `host`, `container:<id|name>`.
    pub ipc_mode: String,
    /// No effect.
    pub cgroup: String,
    /// `name[:alias]`.
    pub links: Option<Vec<String>>,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// Empty, `host`, `container:<id|name>`.
    pub pid_mode: String,
    /// All capabilities, all devices, no masks.
    pub privileged: bool,
    /// Publish every exposed port on a free port of the host.
    pub publish_all_ports: bool,
    /// The root file system is read-only.
    pub readonly_rootfs: bool,
    /// `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`.
    pub security_opt: Option<Vec<String>>,
    /// Options of the storage driver: `size`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    /// Path to mount options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// Empty or `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Empty or `host`.
    pub userns_mode: String,
    /// Bytes of /dev/shm; 0 for the daemon's default.
    pub shm_size: i64,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Name of the runtime.
    #[serde(skip_serializing_if = "is_zero")]
    pub runtime: String,
    /// Empty or `default`.
    pub isolation: String,
    /// Limits; their fields stand beside the others in JSON.
    #[serde(flatten, skip_deserializing)]
    pub resources: Resources,
    /// What `--mount` asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Paths that are hidden; `null` for the default ones.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that are read-only; `null` for the default ones.
    pub readonly_paths: Option<Vec<String>>,
    /// Run an init as process 1; `null` for the daemon's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// The bits of modes that new files do not get, for every program of the container; `null` for the runtime's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
}

embeds!(HostConfig { resources });

/// Where a program's output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LogConfig {
    /// Driver: `json-file`, `local`, `none`, …
    #[serde(rename = "Type")]
    pub kind: String,
    /// The driver's options.
    pub config: Option<BTreeMap<String, String>>,
}

/// What to do when a program ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// Empty, `no`, `always`, `unless-stopped`, `on-failure`.
    pub name: String,
    /// Only with `on-failure`; 0 for no limit.
    pub maximum_retry_count: i64,
}

/// Limits. Zero (and `null`) means not limited, or not changed by an update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Resources {
    /// Relative weight.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory: i64,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Parent cgroup or systemd slice.
    pub cgroup_parent: String,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Weight by device.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Bytes a second by device.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Bytes a second by device.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Operations a second by device.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Operations a second by device.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds in each period.
    pub cpu_quota: i64,
    /// Microseconds (cgroup v1).
    pub cpu_realtime_period: i64,
    /// Microseconds (cgroup v1).
    pub cpu_realtime_runtime: i64,
    /// `0-3,7`.
    pub cpuset_cpus: String,
    /// `0-1`.
    pub cpuset_mems: String,
    /// Devices of the host to add.
    pub devices: Option<Vec<DeviceMapping>>,
    /// `c 1:3 rwm`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Devices by driver and capability.
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Bytes, soft.
    pub memory_reservation: i64,
    /// Bytes of memory and swap together; -1 for no limit.
    pub memory_swap: i64,
    /// 0 to 100; `null` for the default.
    pub memory_swappiness: Option<i64>,
    /// cgroup v1 only.
    pub oom_kill_disable: Option<bool>,
    /// `null` not changed; 0 and -1 not limited.
    pub pids_limit: Option<i64>,
    /// Limits by process.
    pub ulimits: Option<Vec<Ulimit>>,
    /// Windows only.
    pub cpu_count: i64,
    /// Windows only.
    pub cpu_percent: i64,
    /// Windows only.
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    /// Windows only.
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
}

/// Weight of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WeightDevice {
    /// `/dev/sda`.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// Limit of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ThrottleDevice {
    /// `/dev/sda`.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// A device of the host in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceMapping {
    /// `/dev/…` on the host.
    pub path_on_host: String,
    /// `/dev/…` in the container.
    pub path_in_container: String,
    /// Any of `rwm`.
    pub cgroup_permissions: String,
}

/// Devices by driver and capability (`--gpus`, CDI).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceRequest {
    /// `cdi`, `nvidia`, …
    pub driver: String,
    /// How many; -1 for all.
    pub count: i64,
    /// Which.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// One of these lists of capabilities.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// For the driver.
    pub options: Option<BTreeMap<String, String>>,
}

/// A limit by process (`setrlimit`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ulimit {
    /// `nofile`, `core`, …
    pub name: String,
    /// -1 for no limit.
    pub hard: i64,
    /// -1 for no limit.
    pub soft: i64,
}
