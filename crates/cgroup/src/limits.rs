//! The limits of one container, checked: what the plan starts from.

use std::collections::BTreeMap;

use crate::device::Rule;

/// A limit that may be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// No limit.
    Unlimited,
    /// This much, in the unit of the field.
    Of(u64),
}

/// Limits of a container (runtime-spec, config-linux, "Control groups"). What is absent is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory and swap.
    pub memory: MemoryLimits,
    /// Processors.
    pub cpu: CpuLimits,
    /// The number of processes and threads.
    pub pids: Option<Amount>,
    /// Block devices.
    pub blkio: BlkioLimits,
    /// Bytes of huge pages, by the kernel's name of their size (`2MB`).
    pub hugetlb: Vec<(String, u64)>,
    /// Remote direct memory access, by device name.
    pub rdma: BTreeMap<String, RdmaLimits>,
    /// The class identifier of packets; v1 only.
    pub net_class: Option<u32>,
    /// The priority of packets by network interface; v1 only.
    pub net_priorities: Vec<(String, u32)>,
    /// Files of a v2 group with what is written to them, after everything else.
    pub unified: BTreeMap<String, String>,
    /// Rules about device nodes; not part of the plan of writes, see [`crate::Cgroup::apply_devices`].
    pub devices: Vec<Rule>,
}

/// Limits of memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Memory, page cache included.
    pub limit: Option<Amount>,
    /// Memory below which the container is spared from reclaim.
    pub reservation: Option<Amount>,
    /// Memory and swap together.
    pub swap: Option<Amount>,
    /// How eagerly memory is swapped out, 0 to 100; v1 only, without effect on v2.
    pub swappiness: Option<u64>,
    /// Processes wait for memory instead of being killed; v1 only, without effect on v2.
    pub disable_oom_killer: bool,
    /// Refuse a limit below what is in use.
    pub check_before_update: bool,
}

/// Limits of processor time, in microseconds, and of processors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuLimits {
    /// The share against neighbours, 2 to 262144; 1024 is the usual one.
    pub shares: Option<u64>,
    /// Time in every period.
    pub quota: Option<Amount>,
    /// The length of a period.
    pub period: Option<u64>,
    /// Unused time that may be saved up.
    pub burst: Option<u64>,
    /// Time for real-time processes in every real-time period; -1 lifts the limit; v1 only.
    pub realtime_runtime: Option<i64>,
    /// The length of a real-time period; v1 only.
    pub realtime_period: Option<u64>,
    /// The processors to run on, as a list such as `0-3,7`.
    pub cpus: Option<String>,
    /// The memory nodes to use, as a list.
    pub mems: Option<String>,
    /// Run only when nobody else wants to: 1, or 0.
    pub idle: Option<i64>,
}

/// Limits of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlkioLimits {
    /// The share against neighbours, 10 to 1000.
    pub weight: Option<u16>,
    /// The share against groups below; no kernel since 5.0 has it.
    pub leaf_weight: Option<u16>,
    /// Shares per device.
    pub device_weights: Vec<DeviceWeight>,
    /// Bytes read per second; 0 lifts the limit.
    pub read_bytes: Vec<Throttle>,
    /// Bytes written per second; 0 lifts the limit.
    pub write_bytes: Vec<Throttle>,
    /// Read operations per second; 0 lifts the limit.
    pub read_operations: Vec<Throttle>,
    /// Write operations per second; 0 lifts the limit.
    pub write_operations: Vec<Throttle>,
}

/// The share of a group on one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceWeight {
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
    /// The share, 10 to 1000.
    pub weight: u16,
}

/// A rate on one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
    /// Bytes or operations per second.
    pub rate: u64,
}

/// Limits of one device for remote direct memory access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RdmaLimits {
    /// Handles.
    pub handles: Option<u32>,
    /// Objects.
    pub objects: Option<u32>,
}
