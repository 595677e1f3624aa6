//! What this machine is: asked once at start, and read-only afterwards.

use std::fs;

use cgroup::{Hierarchy, Version};

use crate::container::Machine;
use crate::{Error, Result};

/// Capabilities in kernel order (capabilities(7)); a kernel may know fewer.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// This machine.
#[derive(Debug, Clone)]
pub struct Host {
    /// Control group hierarchies.
    pub cgroups: Hierarchy,
    /// Processors that may be used.
    pub cpus: u32,
    /// Memory nodes: one more than the highest number of one that has memory.
    pub memory_nodes: u32,
    /// Bytes of memory.
    pub memory: i64,
    /// Release of the kernel: `6.1.0-40-amd64`.
    pub kernel_release: String,
    /// Name of the operating system: `Debian GNU/Linux 12 (bookworm)`.
    pub os_name: String,
    /// Version of the operating system: `12`.
    pub os_version: String,
    /// Host name.
    pub name: String,
    /// Capabilities this kernel knows.
    pub capabilities: Vec<&'static str>,
    /// The kernel can filter system calls.
    pub has_seccomp: bool,
    /// systemd is process 1.
    pub has_systemd: bool,
    /// AppArmor is enabled, and there is the program that loads profiles.
    pub has_apparmor: bool,
    /// The kernel has time namespaces.
    pub has_time_namespaces: bool,
}

fn read(path: &str) -> String {
    // What cannot be read is not known; every use of it has a word for that.
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// `0-1,3` → 4; 1 where the kernel knows no nodes.
fn memory_nodes(list: &str) -> u32 {
    let last = list.rsplit([',', '-']).next().and_then(|number| number.parse::<u32>().ok());
    last.map_or(1, |last| last.saturating_add(1))
}

fn os_field(release: &str, key: &str) -> String {
    let value = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}

impl Host {
    /// Asks the machine.
    pub fn detect() -> Result<Self> {
        let cgroups =
            Hierarchy::detect().map_err(|error| Error::system(format!("control groups: {error}")))?;
        let release = read("/etc/os-release");
        let memory = read("/proc/meminfo");
        let kilobytes = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<i64>().ok());
        let known = read("/proc/sys/kernel/cap_last_cap")
            .parse::<usize>()
            .map_or(CAPABILITIES.len(), |last| last + 1);
        Ok(Self {
            cgroups,
            cpus: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1)),
            memory_nodes: memory_nodes(&read("/sys/devices/system/node/has_memory")),
            memory: kilobytes.unwrap_or(0) * 1024,
            kernel_release: read("/proc/sys/kernel/osrelease"),
            os_name: os_field(&release, "PRETTY_NAME"),
            os_version: os_field(&release, "VERSION_ID"),
            name: read("/proc/sys/kernel/hostname"),
            capabilities: CAPABILITIES[..known.min(CAPABILITIES.len())].to_vec(),
            has_seccomp: fs::exists("/proc/sys/kernel/seccomp").unwrap_or(false),
            has_systemd: fs::exists("/run/systemd/system").unwrap_or(false),
            has_apparmor: crate::apparmor::is_usable(),
            has_time_namespaces: fs::exists("/proc/self/ns/time").unwrap_or(false),
        })
    }

    /// What limits depend on.
    pub(crate) fn machine(&self) -> Machine {
        Machine { cpus: self.cpus, memory_nodes: self.memory_nodes, cgroup_v2: self.cgroup_v2() }
    }

    /// Whether cgroup v2 rules this machine.
    #[must_use]
    pub fn cgroup_v2(&self) -> bool {
        self.cgroups.version() == Version::V2
    }
}
