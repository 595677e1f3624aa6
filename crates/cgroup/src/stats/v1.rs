//! Counters of cgroup v1 (Documentation/admin-guide/cgroup-v1/).

use linux::dir::Dir;

use super::parse::{device, key_values, limit, list, malformed, nested, single};
use super::{
    BlkioEntry, BlkioStats, CpuStats, HugetlbStats, MemoryStats, MemoryUsage, PidsStats, RdmaStats, Stats,
};
use crate::group::{text_if_present, walk};
use crate::{Cgroup, Controller, Result};

/// Nanoseconds in a clock tick of `cpuacct.stat`: USER_HZ is 100 on every architecture we run on.
const TICK_NANOS: u64 = 10_000_000;

/// A v1 memory limit at or above this is none: the kernel prints the largest number of whole pages.
const NO_LIMIT: u64 = i64::MAX as u64 - (1 << 16);

pub(super) fn stats(group: &Cgroup) -> Result<Stats> {
    let mut stats = Stats { cpu: cpu(group)?, ..Stats::default() };
    if let Some(dir) = group.dir(Controller::Memory) {
        stats.memory = memory(dir)?;
    }
    if let Some(dir) = group.dir(Controller::Pids) {
        stats.pids = PidsStats {
            current: single(dir, "pids.current")?.unwrap_or_default(),
            limit: limit(dir, "pids.max")?,
        };
    }
    if let Some(dir) = group.dir(Controller::Blkio) {
        stats.blkio = blkio(dir)?;
    }
    if let Some(dir) = group.dir(Controller::Hugetlb) {
        hugetlb(dir, &mut stats)?;
    }
    if let Some(dir) = group.dir(Controller::Rdma) {
        rdma(dir, &mut stats)?;
    }
    Ok(stats)
}

fn cpu(group: &Cgroup) -> Result<CpuStats> {
    let mut cpu = CpuStats::default();
    if let Some(dir) = group.dir(Controller::Cpuacct) {
        let ticks = key_values(dir, "cpuacct.stat")?;
        let nanos = |key| ticks.get(key).copied().unwrap_or_default().saturating_mul(TICK_NANOS);
        cpu.total_nanos = single(dir, "cpuacct.usage")?.unwrap_or_default();
        (cpu.user_nanos, cpu.kernel_nanos) = (nanos("user"), nanos("system"));
        cpu.percpu_nanos = list(dir, "cpuacct.usage_percpu")?;
    }
    if let Some(dir) = group.dir(Controller::Cpu) {
        let stat = key_values(dir, "cpu.stat")?;
        let value = |key| stat.get(key).copied().unwrap_or_default();
        (cpu.periods, cpu.throttled_periods) = (value("nr_periods"), value("nr_throttled"));
        cpu.throttled_nanos = value("throttled_time");
    }
    Ok(cpu)
}

fn memory(dir: &Dir) -> Result<MemoryStats> {
    let mut memory = MemoryStats {
        memory: usage(dir, "memory")?.unwrap_or_default(),
        swap: usage(dir, "memory.memsw")?,
        kernel: usage(dir, "memory.kmem")?,
        kernel_tcp: usage(dir, "memory.kmem.tcp")?,
        stat: key_values(dir, "memory.stat")?,
        ..MemoryStats::default()
    };
    memory.events.insert("oom_kill".to_owned(), oom_kills(dir)?);
    Ok(memory)
}

fn usage(dir: &Dir, prefix: &str) -> Result<Option<MemoryUsage>> {
    let value = |name: &str| single(dir, &format!("{prefix}.{name}"));
    let Some(usage) = value("usage_in_bytes")? else { return Ok(None) };
    Ok(Some(MemoryUsage {
        usage,
        max_usage: value("max_usage_in_bytes")?.unwrap_or_default(),
        limit: value("limit_in_bytes")?.filter(|limit| *limit < NO_LIMIT),
        failures: value("failcnt")?.unwrap_or_default(),
    }))
}

/// `memory.oom_control` counts for its own group only, so the groups below are added.
pub(super) fn oom_kills(dir: &Dir) -> Result<u64> {
    let mut kills = 0;
    walk(dir, 0, &mut |dir| {
        kills += key_values(dir, "memory.oom_control")?.get("oom_kill").copied().unwrap_or_default();
        Ok(())
    })?;
    Ok(kills)
}

/// BFQ's counters where that scheduler has any, else the throttling layer's, which every request passes.
fn blkio(dir: &Dir) -> Result<BlkioStats> {
    let bfq = |name: &str| entries(dir, &format!("blkio.bfq.{name}_recursive"));
    let either = |name: &str| {
        let counted = bfq(name)?;
        if counted.is_empty() {
            entries(dir, &format!("blkio.throttle.{name}_recursive"))
        } else {
            Ok(counted)
        }
    };
    Ok(BlkioStats {
        service_bytes: either("io_service_bytes")?,
        serviced: either("io_serviced")?,
        queued: bfq("io_queued")?,
        service_time: bfq("io_service_time")?,
        wait_time: bfq("io_wait_time")?,
        merged: bfq("io_merged")?,
        time: bfq("time")?,
        sectors: bfq("sectors")?,
    })
}

/// `8:0 Read 4096` or `8:0 4096` per line; the last line, `Total 4096`, is the sum.
fn entries(dir: &Dir, file: &str) -> Result<Vec<BlkioEntry>> {
    let content = text_if_present(dir, file)?.unwrap_or_default();
    let mut entries = Vec::new();
    for line in content.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (name, operation, value) = match fields[..] {
            [] | ["Total", _] => continue,
            [name, value] => (name, "", value),
            [name, operation, value] => (name, operation, value),
            _ => return Err(malformed(dir, file, line)),
        };
        let ((major, minor), value) =
            device(name).zip(value.parse().ok()).ok_or_else(|| malformed(dir, file, line))?;
        entries.push(BlkioEntry { major, minor, operation: operation.to_lowercase(), value });
    }
    Ok(entries)
}

fn hugetlb(dir: &Dir, stats: &mut Stats) -> Result<()> {
    for entry in dir.entries()? {
        let Some(size) =
            entry.name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(".limit_in_bytes"))
        else {
            continue;
        };
        if size.contains('.') {
            continue;
        }
        let reserved = dir.has(&format!("hugetlb.{size}.rsvd.usage_in_bytes"));
        let prefix = if reserved { format!("hugetlb.{size}.rsvd") } else { format!("hugetlb.{size}") };
        let value =
            |name: &str| Ok::<_, crate::Error>(single(dir, &format!("{prefix}.{name}"))?.unwrap_or_default());
        let counted = HugetlbStats {
            usage: value("usage_in_bytes")?,
            max_usage: value("max_usage_in_bytes")?,
            failures: value("failcnt")?,
        };
        stats.hugetlb.insert(size.to_owned(), counted);
    }
    Ok(())
}

/// `mlx4_0 hca_handle=2 hca_object=max` per line, the same on both versions.
pub(super) fn rdma(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let named = |pairs: &[(String, Option<u64>)], key: &str| {
        pairs.iter().find(|(name, _)| name == key).and_then(|(_, value)| *value)
    };
    for (device, pairs) in nested(dir, "rdma.current")? {
        let used: &mut RdmaStats = stats.rdma.entry(device).or_default();
        used.handles = named(&pairs, "hca_handle").unwrap_or_default();
        used.objects = named(&pairs, "hca_object").unwrap_or_default();
    }
    for (device, pairs) in nested(dir, "rdma.max")? {
        let used: &mut RdmaStats = stats.rdma.entry(device).or_default();
        used.handle_limit = named(&pairs, "hca_handle");
        used.object_limit = named(&pairs, "hca_object");
    }
    Ok(())
}
