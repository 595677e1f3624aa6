//! What a container is, resolved: nothing optional that is not, nothing left to be looked up in a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything needed to start a container, apart from facts about this machine at that moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The program.
    pub process: ProcessSpec,
    /// Host name inside.
    pub hostname: String,
    /// Domain name inside; may be empty.
    pub domainname: String,
    /// The root file system.
    pub root: RootSpec,
    /// Mounts beside the default ones, in order of destination depth.
    pub mounts: Vec<MountSpec>,
    /// Bytes of /dev/shm.
    pub shm_size: i64,
    /// Namespaces shared with others.
    pub namespaces: Namespaces,
    /// All capabilities, all devices, nothing masked.
    pub privileged: bool,
    /// Our init is process 1.
    pub init: bool,
    /// Hidden paths.
    pub masked_paths: Vec<String>,
    /// Read-only paths.
    pub readonly_paths: Vec<String>,
    /// Whether control groups may be changed from inside; those of a privileged container may when nobody says.
    #[serde(default)]
    pub writable_cgroups: Option<bool>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Handed on to the runtime.
    pub annotations: BTreeMap<String, String>,
    /// Host devices.
    pub devices: Vec<DeviceSpec>,
    /// Further device rules: `c 1:3 rwm`.
    pub device_rules: Vec<String>,
    /// Limits.
    pub limits: Limits,
    /// Parent of the control group.
    pub cgroup_parent: String,
    /// Signal that stops the program.
    pub stop_signal: i32,
    /// Seconds until SIGKILL; -1 waits for ever.
    pub stop_timeout: i64,
    /// Where output goes.
    pub log: LogSpec,
    /// Names and addresses.
    pub network: NetworkSpec,
}

/// The program and its rights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments; never empty.
    pub args: Vec<String>,
    /// `KEY=value`, later ones win already.
    pub env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    /// `user[:group]` as written; empty is root.
    pub user: String,
    /// Further groups, names or numbers.
    pub groups: Vec<String>,
    /// With a terminal.
    pub tty: bool,
    /// Height and width of the terminal at start; zeros when not known.
    pub console_size: [u32; 2],
    /// Standard input is kept open.
    pub open_stdin: bool,
    /// Standard input is closed when its first client leaves.
    pub stdin_once: bool,
    /// Capabilities, `CAP_…`, in kernel order.
    pub capabilities: Vec<String>,
    /// No new privileges.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// AppArmor profile by name, when one was asked for.
    pub apparmor: Option<String>,
    /// -1000 to 1000.
    pub oom_score_adj: i32,
    /// Limits by process: `RLIMIT_…`.
    pub rlimits: Vec<Rlimit>,
    /// The bits of modes that new files do not get; none is the runtime's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
}

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` …
    pub name: String,
    /// Soft; `u64::MAX` for none.
    pub soft: u64,
    /// Hard; `u64::MAX` for none.
    pub hard: u64,
}

/// Which system call filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The engine's default profile.
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON form.
    Custom(String),
}

/// Where the root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSpec {
    /// What is below.
    pub source: RootSource,
    /// Mounted read-only.
    pub readonly: bool,
    /// Bytes of the disk that the container's own layer may take; 0 is without limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size_limit: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is below a container's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSource {
    /// The layers of the container's image, under a layer of its own.
    Image,
    /// A directory of the host under a layer of the container's own.
    Overlay(String),
    /// A directory of the host itself.
    Directory(String),
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Absolute, clean.
    pub destination: String,
    /// What is mounted.
    pub source: MountSource,
    /// Writable.
    pub writable: bool,
    /// Read-only reaches sub-mounts too.
    pub recursive_readonly: bool,
    /// Take sub-mounts along.
    pub recursive: bool,
    /// `rprivate`, `rslave` …; empty is `rprivate`.
    pub propagation: String,
    /// The mode as the user wrote it, for inspect.
    pub mode: String,
    /// Users and groups of the host show as others.
    #[serde(default)]
    pub id_map: Option<IdMap>,
}

/// Which users and groups of the host show as which in a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdMap {
    /// The owner of the source shows as the container's user, and what that one makes is the owner's.
    Owner,
    /// These, and no others.
    Ranges {
        /// Users.
        users: Vec<IdRange>,
        /// Groups.
        groups: Vec<IdRange>,
    },
}

/// Numbers in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one on the host.
    pub host: u32,
    /// The first one in the container.
    pub container: u32,
    /// How many.
    pub count: u32,
}

impl MountSpec {
    /// The name of the volume that is mounted, if one is.
    #[must_use]
    pub fn volume(&self) -> Option<&str> {
        match &self.source {
            MountSource::Volume { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The path of the host that is mounted; empty where there is none.
    #[must_use]
    pub fn source<'a>(&'a self, volume_paths: &'a BTreeMap<String, String>) -> &'a str {
        match &self.source {
            MountSource::Bind { path, .. } => path,
            MountSource::Volume { name, .. } => volume_paths.get(name).map_or("", String::as_str),
            MountSource::Image { .. } | MountSource::Tmpfs { .. } => "",
        }
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute.
        path: String,
        /// Make a directory there when nothing is.
        create: bool,
    },
    /// A volume.
    Volume {
        /// Its name.
        name: String,
        /// It was made for this container and goes with it.
        anonymous: bool,
        /// Fill an empty volume from the image.
        copy: bool,
        /// Only this part of it; empty: the whole.
        subpath: String,
    },
    /// The files of an image, read-only.
    Image {
        /// As the user wrote it.
        name: String,
        /// Its digest.
        id: String,
        /// Only this part of it; empty: the whole.
        subpath: String,
    },
    /// Memory.
    Tmpfs {
        /// Mount options: `size=1m`, `mode=1777`, `noexec` …
        options: Vec<String>,
    },
}

/// A host device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// On the host.
    pub host: String,
    /// In the container.
    pub container: String,
    /// Some of `rwm`.
    pub permissions: String,
}

/// A namespace: one's own, the host's, or another container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// Its own.
    Private,
    /// The host's.
    Host,
    /// Of the container with this identifier.
    Container(String),
}

/// All namespaces that can be shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Process ids.
    pub pid: Share,
    /// System V IPC and POSIX message queues.
    pub ipc: Share,
    /// Others may join the IPC namespace.
    pub ipc_shareable: bool,
    /// No /dev/shm at all (`--ipc none`).
    pub ipc_none: bool,
    /// Host name.
    pub uts: Share,
    /// Control group root.
    pub cgroup: Share,
    /// The network; [`Share::Private`] for bridge and none.
    pub network: Share,
}

/// Limits; `None` is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes of memory and swap; -1 unlimited.
    pub memory_swap: Option<i64>,
    /// Bytes, soft.
    pub memory_reservation: Option<i64>,
    /// 0 to 100.
    pub swappiness: Option<u64>,
    /// Never kill for memory.
    pub oom_kill_disable: bool,
    /// Relative weight.
    pub cpu_shares: Option<u64>,
    /// Microseconds in each period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds (v1).
    pub cpu_realtime_period: Option<u64>,
    /// Microseconds (v1).
    pub cpu_realtime_runtime: Option<i64>,
    /// `0-3,7`.
    pub cpuset_cpus: String,
    /// `0-1`.
    pub cpuset_mems: String,
    /// Processes.
    pub pids: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// By device path: weight.
    pub blkio_weight_devices: Vec<(String, u64)>,
    /// By device path: bytes a second.
    pub blkio_read_bps: Vec<(String, u64)>,
    /// By device path: bytes a second.
    pub blkio_write_bps: Vec<(String, u64)>,
    /// By device path: operations a second.
    pub blkio_read_iops: Vec<(String, u64)>,
    /// By device path: operations a second.
    pub blkio_write_iops: Vec<(String, u64)>,
}

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// `json-file`, `local` or `none`.
    pub driver: String,
    /// Options.
    pub options: BTreeMap<String, String>,
}

/// The container's part in networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Network to join: `bridge`, `none`, `host`, `container` or a user's network.
    pub mode: String,
    /// Ports to publish.
    pub ports: Vec<PortSpec>,
    /// Nameservers; empty: the daemon's.
    pub dns: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// `host:ip`.
    pub extra_hosts: Vec<(String, String)>,
    /// MAC address asked for; empty: generated.
    pub mac_address: String,
}

/// A port to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Inside.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Host address; empty: all.
    pub host_ip: String,
    /// First and last host port to try; 0-0: any free one.
    pub host_ports: (u16, u16),
}
