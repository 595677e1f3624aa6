//! What a plan of limits depends on: the group as it is now.

use linux::dir::Dir;

use crate::group::{text, text_if_present};
use crate::{Cgroup, Controller, Error, Limits, Result, Version};

/// The state of a group, as far as the limits that are to be set depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The version of the hierarchy.
    pub version: Version,
    /// The controllers that the group has.
    pub controllers: Vec<Controller>,
    /// Memory; gathered when a limit of memory is to be set.
    pub memory: MemoryFacts,
    /// Processors; gathered when a limit of processor time is to be set.
    pub cpu: CpuFacts,
    /// How weights of block devices are told; gathered when one is to be set. `None` when this kernel has no weights.
    pub weights: Option<Weights>,
    /// Whether reservations of huge pages can be limited; gathered when huge pages are to be limited.
    pub hugetlb_reservations: bool,
}

/// The memory limits in force, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryFacts {
    /// The limit of memory; `None` when there is none.
    pub limit: Option<u64>,
    /// The limit of memory and swap together on v1; `None` when there is none.
    pub swap_limit: Option<u64>,
    /// Whether swap is counted.
    pub counts_swap: bool,
    /// What is in use.
    pub usage: u64,
}

/// The limits of processor time in force, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuFacts {
    /// Time in every period; `None` when there is no limit.
    pub quota: Option<u64>,
    /// The length of a period.
    pub period: u64,
    /// Saved time; `None` where the kernel cannot save any (before 5.14).
    pub burst: Option<u64>,
    /// Time for real-time processes and the length of its period, on a v1 group whose kernel has them; gathered when both
    /// are to be set.
    pub realtime: Option<(i64, u64)>,
}

/// Where weights of block devices are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// v1 before 5.0: `blkio.weight` and `blkio.weight_device`.
    Cfq,
    /// The BFQ scheduler: `blkio.bfq.weight` or `io.bfq.weight`, with devices in the same or a `_device` file.
    Bfq {
        /// Whether single devices can have a weight (since 5.4).
        per_device: bool,
    },
    /// v2 with the cost model: `io.weight`.
    Cost,
}

impl Default for CpuFacts {
    /// A group as the kernel makes it.
    fn default() -> Self {
        Self { quota: None, period: 100_000, burst: Some(0), realtime: None }
    }
}

impl Facts {
    /// Reads from the group what planning `limits` will need; asks for nothing else.
    pub fn gather(group: &Cgroup, limits: &Limits) -> Result<Self> {
        let mut facts = Self {
            version: group.version(),
            controllers: group.controllers().collect(),
            memory: MemoryFacts::default(),
            cpu: CpuFacts::default(),
            weights: None,
            hugetlb_reservations: false,
        };
        let memory = &limits.memory;
        if let (true, Some(dir)) =
            (memory.limit.is_some() || memory.swap.is_some(), group.dir(Controller::Memory))
        {
            facts.memory = facts.gather_memory(dir)?;
        }
        let cpu = &limits.cpu;
        let bandwidth = cpu.quota.is_some() || cpu.period.is_some() || cpu.burst.is_some();
        if let (true, Some(dir)) = (bandwidth, group.dir(Controller::Cpu)) {
            facts.cpu = facts.gather_cpu(dir)?;
        }
        if let (Some(_), Some(_), Some(dir)) =
            (cpu.realtime_period, cpu.realtime_runtime, group.dir(Controller::Cpu))
        {
            facts.cpu.realtime = gather_realtime(dir)?;
        }
        if limits.blkio.weight.is_some() || !limits.blkio.device_weights.is_empty() {
            facts.weights = group.dir(Controller::Blkio).and_then(|dir| facts.find_weights(dir));
        }
        if let (Some((size, _)), Some(dir)) = (limits.hugetlb.first(), group.dir(Controller::Hugetlb)) {
            let file = if facts.version == Version::V1 { "limit_in_bytes" } else { "max" };
            facts.hugetlb_reservations = dir.has(&format!("hugetlb.{size}.rsvd.{file}"));
        }
        Ok(facts)
    }

    fn gather_memory(&self, dir: &Dir) -> Result<MemoryFacts> {
        // v1 prints no limit as the largest number of whole pages, which no machine has.
        let limited = |value: u64| Some(value).filter(|value| *value < i64::MAX as u64 - (1 << 16));
        match self.version {
            Version::V1 => {
                let swap = text_if_present(dir, "memory.memsw.limit_in_bytes")?;
                let swap_limit =
                    swap.as_deref().map(|value| number(dir, "memory.memsw.limit_in_bytes", value));
                Ok(MemoryFacts {
                    limit: limited(read(dir, "memory.limit_in_bytes")?),
                    swap_limit: swap_limit.transpose()?.and_then(limited),
                    counts_swap: swap.is_some(),
                    usage: read(dir, "memory.usage_in_bytes")?,
                })
            }
            Version::V2 => {
                let limit = text(dir, "memory.max")?;
                let limit = match limit.trim() {
                    "max" => None,
                    value => Some(number(dir, "memory.max", value)?),
                };
                let counts_swap = dir.has("memory.swap.max");
                Ok(MemoryFacts { limit, swap_limit: None, counts_swap, usage: read(dir, "memory.current")? })
            }
        }
    }

    fn gather_cpu(&self, dir: &Dir) -> Result<CpuFacts> {
        let burst_file = if self.version == Version::V1 { "cpu.cfs_burst_us" } else { "cpu.max.burst" };
        let burst =
            text_if_present(dir, burst_file)?.map(|value| number(dir, burst_file, &value)).transpose()?;
        let (quota, period) = match self.version {
            Version::V1 => (text(dir, "cpu.cfs_quota_us")?, text(dir, "cpu.cfs_period_us")?),
            Version::V2 => {
                let both = text(dir, "cpu.max")?;
                let (quota, period) = both.trim().split_once(' ').unwrap_or((both.trim(), "100000"));
                (quota.to_owned(), period.to_owned())
            }
        };
        let quota = match quota.trim() {
            "-1" | "max" => None,
            value => Some(number(dir, "cpu.max", value)?),
        };
        Ok(CpuFacts { quota, period: number(dir, "cpu.max", &period)?, burst, realtime: None })
    }

    fn find_weights(&self, dir: &Dir) -> Option<Weights> {
        let find = |bfq: &str, other: &str, otherwise| match () {
            () if dir.has(bfq) => Some(Weights::Bfq { per_device: per_device(dir, bfq) }),
            () if dir.has(other) => Some(otherwise),
            () => None,
        };
        match self.version {
            Version::V1 => find("blkio.bfq.weight", "blkio.weight", Weights::Cfq),
            Version::V2 => find("io.bfq.weight", "io.weight", Weights::Cost),
        }
    }
}

/// Real-time time and its period; `None` where the kernel has none.
fn gather_realtime(dir: &Dir) -> Result<Option<(i64, u64)>> {
    let file = "cpu.rt_runtime_us";
    let Some(runtime) = text_if_present(dir, file)? else { return Ok(None) };
    let malformed = |_| Error::Malformed { file: dir.path().join(file), line: runtime.trim().to_owned() };
    Ok(Some((runtime.trim().parse().map_err(malformed)?, read(dir, "cpu.rt_period_us")?)))
}

/// Whether BFQ takes weights for single devices: v1 has a file for them, v2 then prints `default 100`, not `100`.
fn per_device(dir: &Dir, file: &str) -> bool {
    dir.has(&format!("{file}_device"))
        || text(dir, file).is_ok_and(|value| value.trim().parse::<u64>().is_err())
}

fn read(dir: &Dir, file: &str) -> Result<u64> {
    number(dir, file, &text(dir, file)?)
}

fn number(dir: &Dir, file: &str, value: &str) -> Result<u64> {
    let malformed = |_| Error::Malformed { file: dir.path().join(file), line: value.trim().to_owned() };
    value.trim().parse().map_err(malformed)
}
