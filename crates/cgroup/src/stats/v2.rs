//! Counters of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst).

use linux::dir::Dir;

use super::parse::{device, key_values, limit, malformed, nested, single};
use super::v1::rdma;
use super::{BlkioEntry, BlkioStats, CpuStats, HugetlbStats, MemoryStats, MemoryUsage, PidsStats, Stats};
use crate::{Cgroup, Controller, Result};

pub(super) fn stats(group: &Cgroup) -> Result<Stats> {
    let mut stats = Stats::default();
    // Every group counts its time, whether or not the cpu controller was handed down to it.
    if let Some(dir) = group.unified_dir() {
        stats.cpu = cpu(dir)?;
    }
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
        stats.blkio = io(dir)?;
    }
    if let Some(dir) = group.dir(Controller::Hugetlb) {
        hugetlb(dir, &mut stats)?;
    }
    if let Some(dir) = group.dir(Controller::Rdma) {
        rdma(dir, &mut stats)?;
    }
    Ok(stats)
}

pub(super) fn cpu(dir: &Dir) -> Result<CpuStats> {
    let stat = key_values(dir, "cpu.stat")?;
    let value = |key| stat.get(key).copied().unwrap_or_default();
    let nanos = |key| value(key).saturating_mul(1000);
    Ok(CpuStats {
        total_nanos: nanos("usage_usec"),
        user_nanos: nanos("user_usec"),
        kernel_nanos: nanos("system_usec"),
        percpu_nanos: Vec::new(),
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_nanos: nanos("throttled_usec"),
    })
}

pub(super) fn memory(dir: &Dir) -> Result<MemoryStats> {
    let events = key_values(dir, "memory.events")?;
    let mut memory = usage(dir, "memory")?.unwrap_or_default();
    memory.failures = events.get("oom").copied().unwrap_or_default();
    let mut swap = usage(dir, "memory.swap")?;
    if let Some(swap) = &mut swap {
        swap.failures = key_values(dir, "memory.swap.events")?.get("fail").copied().unwrap_or_default();
    }
    Ok(MemoryStats { memory, swap, stat: key_values(dir, "memory.stat")?, events, ..MemoryStats::default() })
}

fn usage(dir: &Dir, prefix: &str) -> Result<Option<MemoryUsage>> {
    let Some(usage) = single(dir, &format!("{prefix}.current"))? else { return Ok(None) };
    Ok(Some(MemoryUsage {
        usage,
        max_usage: single(dir, &format!("{prefix}.peak"))?.unwrap_or_default(),
        limit: limit(dir, &format!("{prefix}.max"))?,
        failures: 0,
    }))
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0` per line.
pub(super) fn io(dir: &Dir) -> Result<BlkioStats> {
    let mut stats = BlkioStats::default();
    for (name, pairs) in nested(dir, "io.stat")? {
        let (major, minor) = device(&name).ok_or_else(|| malformed(dir, "io.stat", &name))?;
        for (key, value) in pairs {
            let (list, operation) = match key.as_str() {
                "rbytes" => (&mut stats.service_bytes, "read"),
                "wbytes" => (&mut stats.service_bytes, "write"),
                "dbytes" => (&mut stats.service_bytes, "discard"),
                "rios" => (&mut stats.serviced, "read"),
                "wios" => (&mut stats.serviced, "write"),
                "dios" => (&mut stats.serviced, "discard"),
                _ => continue,
            };
            let value = value.unwrap_or_default();
            list.push(BlkioEntry { major, minor, operation: operation.to_owned(), value });
        }
    }
    Ok(stats)
}

fn hugetlb(dir: &Dir, stats: &mut Stats) -> Result<()> {
    for entry in dir.entries()? {
        let Some(size) = entry.name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(".max"))
        else {
            continue;
        };
        if size.contains('.') {
            continue;
        }
        let reserved = single(dir, &format!("hugetlb.{size}.rsvd.current"))?;
        let usage = match reserved {
            Some(usage) => usage,
            None => single(dir, &format!("hugetlb.{size}.current"))?.unwrap_or_default(),
        };
        let events = key_values(dir, &format!("hugetlb.{size}.events"))?;
        let failures = events.get("max").copied().unwrap_or_default();
        stats.hugetlb.insert(size.to_owned(), HugetlbStats { usage, max_usage: 0, failures });
    }
    Ok(())
}
