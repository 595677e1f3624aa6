//! What a container uses.

use std::collections::BTreeMap;

use api::stats::{
    BlkioStatEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    ThrottlingData,
};

use super::record::Record;
use super::view::View;
use crate::engine::Engine;
use crate::{Error, Result, time};

/// One sample. `before` fills the `pre…` fields. A container that does not run has zeros.
pub async fn sample(engine: &Engine, reference: &str, before: Option<&Stats>) -> Result<Stats> {
    let handle = engine.containers.find(reference)?;
    let view = handle.view();
    let mut stats = Stats {
        id: view.record.id.clone(),
        name: format!("/{}", view.record.name),
        os_type: "linux".to_owned(),
        ..Stats::default()
    };
    if let Some(running) = view.state().running() {
        let pid = running.process.pid;
        let (owned, view) = (engine.clone(), View::clone(&view));
        stats = crate::blocking(move || gather(&owned, &view.record, pid, stats)).await?;
    }
    if let Some(before) = before {
        stats.preread.clone_from(&before.read);
        stats.precpu_stats = before.cpu_stats.clone();
    }
    Ok(stats)
}

fn gather(engine: &Engine, record: &Record, pid: i32, stats: Stats) -> Result<Stats> {
    let group = super::group::open(engine, record)?;
    let found = group.stats().map_err(|error| Error::system(error.to_string()))?;
    let v2 = engine.host.cgroup_v2();
    let machine = u64::try_from(engine.host.memory).unwrap_or(0);
    let memory = &found.memory;
    let networks = if record.spec.namespaces.network == super::spec::Share::Private {
        interfaces(pid)
    } else {
        BTreeMap::new()
    };
    Ok(Stats {
        read: time::rfc3339(time::now()),
        cpu_stats: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: found.cpu.total_nanos,
                percpu_usage: found.cpu.percpu_nanos.clone(),
                usage_in_kernelmode: found.cpu.kernel_nanos,
                usage_in_usermode: found.cpu.user_nanos,
            },
            system_usage: system_nanos()?,
            online_cpus: engine.host.cpus,
            throttling_data: ThrottlingData {
                periods: found.cpu.periods,
                throttled_periods: found.cpu.throttled_periods,
                throttled_time: found.cpu.throttled_nanos,
            },
        },
        memory_stats: MemoryStats {
            usage: memory.memory.usage,
            max_usage: if v2 { 0 } else { memory.memory.max_usage },
            stats: memory.stat.clone(),
            failcnt: if v2 { 0 } else { memory.memory.failures },
            // No limit is the machine's memory.
            limit: memory.memory.limit.map_or(machine, |limit| limit.min(machine)),
        },
        pids_stats: PidsStats { current: found.pids.current, limit: found.pids.limit.unwrap_or(0) },
        blkio_stats: blkio(&found.blkio),
        networks,
        ..stats
    })
}

fn blkio(found: &cgroup::stats::BlkioStats) -> BlkioStats {
    let list = |entries: &[cgroup::stats::BlkioEntry]| {
        Some(
            entries
                .iter()
                .map(|entry| BlkioStatEntry {
                    major: entry.major,
                    minor: entry.minor,
                    op: entry.operation.to_ascii_lowercase(),
                    value: entry.value,
                })
                .collect(),
        )
    };
    BlkioStats {
        io_service_bytes_recursive: list(&found.service_bytes),
        io_serviced_recursive: list(&found.serviced),
        io_queue_recursive: list(&found.queued),
        io_service_time_recursive: list(&found.service_time),
        io_wait_time_recursive: list(&found.wait_time),
        io_merged_recursive: list(&found.merged),
        io_time_recursive: list(&found.time),
        sectors_recursive: list(&found.sectors),
    }
}

/// Processor time of the whole machine in nanoseconds (proc_stat(5): user to steal, in ticks of 1/100 s).
fn system_nanos() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat")
        .map_err(|error| Error::system(format!("read /proc/stat: {error}")))?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: u64 =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks * 10_000_000)
}

/// Counters of a container's interfaces (proc_net(5), in its own network namespace).
fn interfaces(pid: i32) -> BTreeMap<String, NetworkStats> {
    // A process that has just ended has no interfaces any more.
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in text.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else { continue };
        let numbers: Vec<u64> = counters.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
        if name.trim() == "lo" {
            continue;
        }
        let stats = NetworkStats {
            rx_bytes: at(0),
            rx_packets: at(1),
            rx_errors: at(2),
            rx_dropped: at(3),
            tx_bytes: at(8),
            tx_packets: at(9),
            tx_errors: at(10),
            tx_dropped: at(11),
        };
        found.insert(name.trim().to_owned(), stats);
    }
    found
}
