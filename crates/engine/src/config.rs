//! What the engine is told: directories, defaults and limits. Some of it may be told anew while it runs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::host::Host;
use crate::{Error, Result};

use api::host_config::Ulimit;

/// The engine's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Everything that must survive a reboot.
    pub data_root: PathBuf,
    /// Sockets and other things of this boot.
    pub exec_root: PathBuf,
    /// Who makes control groups; `None`: systemd where it runs and cgroup v2 rules, else we do.
    pub cgroup_driver: Option<CgroupDriver>,
    /// Parent of the containers' control groups, for example `/berth`, or a slice of systemd; empty: the driver's own.
    pub cgroup_parent: String,
    /// The default bridge.
    pub bridge: Bridge,
    /// Where subnets come from that nobody chose.
    pub address_pools: Vec<network::ipam::AddressPool>,
    /// Options that new networks have, by driver.
    pub network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Packets between interfaces that are not ours are forwarded as well, although forwarding was off before.
    pub forward_for_others: bool,
    /// What published ports have to obey.
    pub publish_policy: PublishPolicy,
    /// Our tables of the packet filter are nobody else's, where the kernel can.
    pub firewall_lock: bool,
    /// Streams that stay on this host are paced where the host's congestion control paces, as all others are.
    pub pace_local: bool,
    /// Packets with this mark, in the bits of the mask, are let into containers.
    pub accepted_mark: Option<(u32, u32)>,
    /// Size of /dev/shm in bytes when a container does not say.
    pub default_shm_size: i64,
    /// Seconds between the stop signal and SIGKILL when a container does not say.
    pub default_stop_timeout: i64,
    /// Log driver when a container does not say.
    pub log_driver: String,
    /// Options of the default log driver.
    pub log_opts: Vec<(String, String)>,
    /// Labels of the daemon.
    pub labels: Vec<String>,
    /// Nameservers for containers; empty: the host's.
    pub dns: Vec<String>,
    /// Resolver options for containers.
    pub dns_options: Vec<String>,
    /// Search domains for containers.
    pub dns_search: Vec<String>,
    /// Run an init as pid 1 when a container does not say.
    pub init: bool,
    /// Forbid gaining privileges when a container does not say.
    pub no_new_privileges: bool,
    /// Debug mode, shown in the system information.
    pub debug: bool,
    /// Registries that may be spoken to without TLS; shown in the system information.
    pub insecure_registries: Vec<String>,
    /// Mirrors of docker.io; shown in the system information.
    pub registry_mirrors: Vec<String>,
    /// Bytes of the disk that a container's own layer may take when it does not say; 0 is without limit.
    pub default_size_limit: u64,
    /// Proxies on the way to registries.
    pub proxies: Proxies,
    /// The socket of the system's D-Bus.
    pub system_bus: PathBuf,
    /// `private` or `shareable`, when a container does not say.
    pub default_ipc_mode: String,
    /// `private` or `host`, when a container does not say; `None`: what suits the version of the control groups.
    pub default_cgroupns_mode: Option<String>,
    /// Limits of containers that do not have one of that name.
    pub default_ulimits: Vec<Ulimit>,
    /// What `host-gateway` means in a container's hosts file; empty: the gateway of the default network.
    pub host_gateway: Vec<IpAddr>,
    /// The system call filter when a container does not say.
    pub seccomp_profile: SeccompProfile,
    /// Switches by name; shown by a reload's event.
    pub features: BTreeMap<String, bool>,
    /// Layers of one pull that are fetched at a time.
    pub max_concurrent_downloads: u32,
    /// Layers of one push that are sent at a time.
    pub max_concurrent_uploads: u32,
    /// How often a layer's download is tried.
    pub max_download_attempts: u32,
    /// Where descriptions of devices are, later ones before earlier ones; empty: nobody can name devices.
    pub cdi_spec_dirs: Vec<PathBuf>,
    /// Containers run on when the daemon ends; else they are stopped.
    pub live_restore: bool,
    /// OCI runtimes beside our own, by name.
    pub runtimes: BTreeMap<String, OciRuntime>,
    /// The runtime of containers that do not say: a name of these, or one of ours.
    pub default_runtime: String,
    /// Who the users of containers are on the host (`--userns-remap`); `None`: who they are in the container.
    pub remap: Option<crate::userns::Remap>,
    /// What the operator should know: lines of the system information.
    pub warnings: Vec<String>,
}

/// Names of the runtime that is built in.
pub const OWN_RUNTIMES: [&str; 3] = ["runc", "berth", "io.containerd.runc.v2"];

/// Another program that makes containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OciRuntime {
    /// A path, or a name that is looked for where programs are.
    pub program: String,
    /// Arguments before all others.
    pub arguments: Vec<String>,
}

/// The default system call filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SeccompProfile {
    /// The engine's own.
    #[default]
    Builtin,
    /// None.
    Unconfined,
    /// A profile in Docker's format: where it was read from, and its text.
    Custom {
        /// The file, for people.
        path: PathBuf,
        /// JSON.
        text: String,
    },
}

/// Proxies, as environment variables have them; empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `HTTP_PROXY`.
    pub http: String,
    /// `HTTPS_PROXY`.
    pub https: String,
    /// `NO_PROXY`.
    pub except: String,
}

/// Who makes control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// We do, as directories.
    Cgroupfs,
    /// systemd does, as scopes.
    Systemd,
}

impl CgroupDriver {
    /// Docker's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }

    /// Where groups lie when nobody says.
    pub(crate) fn default_parent(self) -> &'static str {
        match self {
            Self::Cgroupfs => "/berth",
            Self::Systemd => "system.slice",
        }
    }
}

impl Config {
    /// The directories with descriptions of devices that count; none when the feature is switched off.
    pub(crate) fn device_descriptions(&self) -> &[PathBuf] {
        if self.features.get("cdi") == Some(&false) { &[] } else { &self.cdi_spec_dirs }
    }

    /// The runtime of a name; `None` for our own.
    pub(crate) fn runtime(&self, name: &str) -> Result<Option<&OciRuntime>> {
        if OWN_RUNTIMES.contains(&name) {
            return Ok(None);
        }
        let found = self.runtimes.get(name).map(Some);
        found.ok_or_else(|| Error::invalid(format!("unknown or invalid runtime name: {name}")))
    }

    /// Who makes control groups on this machine.
    #[must_use]
    pub fn driver(&self, host: &Host) -> CgroupDriver {
        let usual = || match host.has_systemd && host.cgroup_v2() {
            true => CgroupDriver::Systemd,
            false => CgroupDriver::Cgroupfs,
        };
        self.cgroup_driver.unwrap_or_else(usual)
    }

    /// Where groups lie when the container does not say.
    pub(crate) fn parent(&self, driver: CgroupDriver) -> &str {
        if self.cgroup_parent.is_empty() { driver.default_parent() } else { &self.cgroup_parent }
    }
}

/// What published ports have to obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublishPolicy {
    /// Nothing: they go past the host's firewall, as Docker's do.
    #[default]
    Docker,
    /// The host's own firewall: what it would not let in for a program of the host is not let in for a container.
    RespectHost,
    /// They are for this host alone when nobody names an address.
    Localhost,
}

impl std::str::FromStr for PublishPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "docker" => Ok(Self::Docker),
            "respect-host" => Ok(Self::RespectHost),
            "localhost" => Ok(Self::Localhost),
            _ => Err(Error::invalid(format!(
                "invalid publish policy {text:?}: it must be docker, respect-host or localhost"
            ))),
        }
    }
}

/// The default bridge network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Interface name; `None` when the default network is disabled (`--bridge none`).
    pub name: Option<String>,
    /// Gateway address with prefix length (`--bip`); `None`: a free default.
    pub address: Option<String>,
    /// The part of the subnet that containers get addresses from (`--fixed-cidr`).
    pub range: Option<String>,
    /// It has IPv6 too.
    pub ipv6: bool,
    /// IPv6 gateway address with prefix length (`--bip6`).
    pub address_ipv6: Option<String>,
    /// IPv6 subnet (`--fixed-cidr-v6`); `None`: a unique local one.
    pub subnet_ipv6: Option<String>,
    /// MTU; 0: the kernel's default.
    pub mtu: u32,
    /// Containers may talk to each other (`--icc`).
    pub inter_container: bool,
    /// Masquerade what leaves the bridge (`--ip-masq`).
    pub masquerade: bool,
    /// The containers' way out instead of the bridge itself, by IPv4 (`--default-gateway`).
    pub default_gateway: Option<String>,
    /// The same by IPv6 (`--default-gateway-v6`).
    pub default_gateway_ipv6: Option<String>,
    /// Host address that ports are published on when a container does not say (`--ip`).
    pub publish_address: String,
}

impl Default for Bridge {
    fn default() -> Self {
        Self {
            name: Some("docker0".to_owned()),
            address: None,
            range: None,
            ipv6: false,
            address_ipv6: None,
            subnet_ipv6: None,
            mtu: 0,
            inter_container: true,
            masquerade: true,
            default_gateway: None,
            default_gateway_ipv6: None,
            publish_address: "0.0.0.0".to_owned(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_root: PathBuf::from("/var/lib/berth"),
            exec_root: PathBuf::from("/run/berth"),
            cgroup_driver: None,
            cgroup_parent: String::new(),
            bridge: Bridge::default(),
            address_pools: network::ipam::default_pools(),
            network_options: BTreeMap::new(),
            forward_for_others: false,
            publish_policy: PublishPolicy::default(),
            firewall_lock: true,
            pace_local: false,
            accepted_mark: None,
            default_shm_size: 64 * 1024 * 1024,
            default_stop_timeout: 10,
            log_driver: "json-file".to_owned(),
            log_opts: Vec::new(),
            labels: Vec::new(),
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            init: false,
            no_new_privileges: false,
            debug: false,
            insecure_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            default_size_limit: 0,
            proxies: Proxies::default(),
            system_bus: PathBuf::from("/run/dbus/system_bus_socket"),
            default_ipc_mode: "private".to_owned(),
            default_cgroupns_mode: None,
            default_ulimits: Vec::new(),
            host_gateway: Vec::new(),
            seccomp_profile: SeccompProfile::Builtin,
            features: BTreeMap::new(),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            max_download_attempts: 5,
            cdi_spec_dirs: ["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).to_vec(),
            live_restore: true,
            runtimes: BTreeMap::new(),
            default_runtime: OWN_RUNTIMES[0].to_owned(),
            remap: None,
            warnings: Vec::new(),
        }
    }
}

/// A pool of addresses: `base` such as `10.0.0.0/8`, cut into subnets of the prefix length `size`. `None` when that
/// cannot be.
#[must_use]
pub fn address_pool(base: &str, size: u8) -> Option<network::ipam::AddressPool> {
    let base: network::Prefix = base.parse().ok()?;
    let longest = if base.is_ipv6() { 128 } else { 32 };
    (size >= base.length() && size <= longest)
        .then(|| network::ipam::AddressPool { base: base.network(), size })
}
