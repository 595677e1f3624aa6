//! What a group has used, read from the kernel's control files of either version into one shape.

use std::collections::BTreeMap;

use crate::{Cgroup, Result, Version};

mod parse;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

/// A group's use of resources at one moment; what no available controller counts is zero or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory and swap.
    pub memory: MemoryStats,
    /// Processes.
    pub pids: PidsStats,
    /// Block devices.
    pub blkio: BlkioStats,
    /// Huge pages by the kernel's name of their size, for example `2MB`.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// Remote direct memory access by device name.
    pub rdma: BTreeMap<String, RdmaStats>,
}

/// Processor time in nanoseconds, and how often the group was held back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All time used.
    pub total_nanos: u64,
    /// Time in user mode; on v1 in steps of a hundredth of a second.
    pub user_nanos: u64,
    /// Time in the kernel; on v1 in steps of a hundredth of a second.
    pub kernel_nanos: u64,
    /// Time per processor, in the order of their numbers; v1 only.
    pub percpu_nanos: Vec<u64>,
    /// Enforcement periods that went by while the group wanted to run.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// Time spent held back.
    pub throttled_nanos: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Memory, page cache included.
    pub memory: MemoryUsage,
    /// v1: memory and swap together (`memory.memsw.*`). v2: swap alone (`memory.swap.*`). `None` when swap is not
    /// counted.
    pub swap: Option<MemoryUsage>,
    /// Kernel memory (`memory.kmem.*`); v1 only.
    pub kernel: Option<MemoryUsage>,
    /// Kernel memory for TCP buffers (`memory.kmem.tcp.*`); v1 only.
    pub kernel_tcp: Option<MemoryUsage>,
    /// `memory.stat` as it is: the names differ between the versions.
    pub stat: BTreeMap<String, u64>,
    /// v2: `memory.events`. v1: `oom_kill` alone.
    pub events: BTreeMap<String, u64>,
}

/// One memory counter, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// What is in use.
    pub usage: u64,
    /// The most that has been in use; zero where the kernel does not say (v2 before 5.19).
    pub max_usage: u64,
    /// The limit; `None` when there is none.
    pub limit: Option<u64>,
    /// v1: how often the limit was hit. v2: how often allocations were about to fail (`oom` of `memory.events`).
    pub failures: u64,
}

/// The number of processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; `None` when there is no limit.
    pub limit: Option<u64>,
}

/// Block device counters. Operations are in lower case: `read`, `write`, `sync`, `async`, `discard`, `total`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlkioStats {
    /// Bytes transferred.
    pub service_bytes: Vec<BlkioEntry>,
    /// Operations done.
    pub serviced: Vec<BlkioEntry>,
    /// Operations waiting; v1 with BFQ only.
    pub queued: Vec<BlkioEntry>,
    /// Nanoseconds between dispatch and completion; v1 with BFQ only.
    pub service_time: Vec<BlkioEntry>,
    /// Nanoseconds waited for the scheduler; v1 with BFQ only.
    pub wait_time: Vec<BlkioEntry>,
    /// Requests merged; v1 with BFQ only.
    pub merged: Vec<BlkioEntry>,
    /// Milliseconds of device time; v1 with BFQ only.
    pub time: Vec<BlkioEntry>,
    /// Sectors of 512 bytes transferred; v1 with BFQ only.
    pub sectors: Vec<BlkioEntry>,
}

/// One counter of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlkioEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// The operation counted, in lower case; empty where the kernel does not tell them apart.
    pub operation: String,
    /// The count, in the unit of its list.
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HugetlbStats {
    /// What is in use, or reserved where reservations are counted.
    pub usage: u64,
    /// The most that has been in use; v1 only.
    pub max_usage: u64,
    /// How often the limit was hit.
    pub failures: u64,
}

/// Handles and objects of one device; `None` when there is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RdmaStats {
    /// Handles in use.
    pub handles: u64,
    /// Objects in use.
    pub objects: u64,
    /// How many handles there may be.
    pub handle_limit: Option<u64>,
    /// How many objects there may be.
    pub object_limit: Option<u64>,
}

impl Cgroup {
    /// Reads every counter; a group that goes away meanwhile reads as zero from there on.
    pub fn stats(&self) -> Result<Stats> {
        match self.version() {
            Version::V1 => v1::stats(self),
            Version::V2 => v2::stats(self),
        }
    }

    /// How many processes of the group, and of the groups below it, were killed because memory ran out.
    pub fn oom_kill_count(&self) -> Result<u64> {
        let Some(dir) = self.dir(crate::Controller::Memory) else { return Ok(0) };
        match self.version() {
            Version::V2 => Ok(parse::key_values(dir, "memory.events")?.get("oom_kill").copied().unwrap_or(0)),
            Version::V1 => v1::oom_kills(dir),
        }
    }
}
