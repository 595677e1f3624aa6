//! The answer of `GET /containers/{id}/stats`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::is_zero;

/// One sample of what a container uses, with the one before it for differences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// The container's ID.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// The container's name with a leading `/`.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// `linux`.
    #[serde(skip_serializing_if = "is_zero")]
    pub os_type: String,
    /// When it was taken, RFC 3339.
    pub read: String,
    /// Processor.
    pub cpu_stats: CpuStats,
    /// Memory.
    pub memory_stats: MemoryStats,
    /// By interface name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, NetworkStats>,
    /// Processes.
    pub pids_stats: PidsStats,
    /// Block devices.
    pub blkio_stats: BlkioStats,
    /// Windows only.
    pub num_procs: u32,
    /// Windows only.
    pub storage_stats: StorageStats,
    /// When the sample before was taken; [`crate::time::ZERO`] for the first.
    pub preread: String,
    /// Processor, as the sample before had it; zero for the first.
    pub precpu_stats: CpuStats,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            id: String::new(),
            name: String::new(),
            os_type: String::new(),
            read: crate::time::ZERO.into(),
            cpu_stats: CpuStats::default(),
            memory_stats: MemoryStats::default(),
            networks: BTreeMap::new(),
            pids_stats: PidsStats::default(),
            blkio_stats: BlkioStats::default(),
            num_procs: 0,
            storage_stats: StorageStats::default(),
            preread: crate::time::ZERO.into(),
            precpu_stats: CpuStats::default(),
        }
    }
}

/// Processor time. All times are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    /// Of the container.
    pub cpu_usage: CpuUsage,
    /// Of the whole machine.
    #[serde(rename = "system_cpu_usage", skip_serializing_if = "is_zero")]
    pub system_usage: u64,
    /// Processors the machine has.
    #[serde(skip_serializing_if = "is_zero")]
    pub online_cpus: u32,
    /// What the quota held back.
    pub throttling_data: ThrottlingData,
}

/// Processor time of a container, nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// In all.
    pub total_usage: u64,
    /// By processor (cgroup v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_usage: Vec<u64>,
    /// In the kernel.
    pub usage_in_kernelmode: u64,
    /// In programs.
    pub usage_in_usermode: u64,
}

/// What the quota held back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottlingData {
    /// Periods.
    pub periods: u64,
    /// Periods in which the container was held back.
    pub throttled_periods: u64,
    /// Nanoseconds.
    pub throttled_time: u64,
}

/// Memory, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most so far (cgroup v1).
    #[serde(skip_serializing_if = "is_zero")]
    pub max_usage: u64,
    /// Lines of `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stats: BTreeMap<String, u64>,
    /// How often the limit was met (cgroup v1).
    #[serde(skip_serializing_if = "is_zero")]
    pub failcnt: u64,
    /// At most the machine's memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// One number about one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioStatEntry {
    /// Device number.
    pub major: u64,
    /// Device number.
    pub minor: u64,
    /// `read`, `write`, …
    pub op: String,
    /// Bytes or operations.
    pub value: u64,
}

/// Block devices. A list is `null` when the kernel does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioStats {
    /// Bytes.
    pub io_service_bytes_recursive: Option<Vec<BlkioStatEntry>>,
    /// Operations.
    pub io_serviced_recursive: Option<Vec<BlkioStatEntry>>,
    /// cgroup v1.
    pub io_queue_recursive: Option<Vec<BlkioStatEntry>>,
    /// cgroup v1.
    pub io_service_time_recursive: Option<Vec<BlkioStatEntry>>,
    /// cgroup v1.
    pub io_wait_time_recursive: Option<Vec<BlkioStatEntry>>,
    /// cgroup v1.
    pub io_merged_recursive: Option<Vec<BlkioStatEntry>>,
    /// cgroup v1.
    pub io_time_recursive: Option<Vec<BlkioStatEntry>>,
    /// cgroup v1.
    pub sectors_recursive: Option<Vec<BlkioStatEntry>>,
}

/// Windows only; always empty here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageStats {}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Received with errors.
    pub rx_errors: u64,
    /// Received and dropped.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Sent with errors.
    pub tx_errors: u64,
    /// Dropped instead of sent.
    pub tx_dropped: u64,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// The most allowed; 0 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}
