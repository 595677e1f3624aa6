//! `events`: what a container uses, in runc's form.

use std::os::fd::AsFd;
use std::time::Duration;

use cgroup::stats::{BlkioEntry, MemoryUsage};
use cgroup::{Cgroup, Stats};
use linux::procfs::Procfs;
use linux::watch::{self, Interest};
use serde_json::{Value, json};

use super::Globals;
use super::arguments::{Flag, Given, switch, value};
use super::record::{Home, Status};
use crate::{Error, Kind, Result};

/// Flags of `events`.
pub(super) const EVENTS: &[Flag] = &[value("interval"), switch("stats")];

/// `events ID`: one report with `--stats`, else one every interval, and one each time memory ran out, until it stops.
pub(super) fn events(globals: &Globals, given: &Given) -> Result<i32> {
    let home = Home::of(&globals.root, given.only("the container's id")?)?;
    let record = home.record()?;
    let procfs = Procfs::open()?;
    let running =
        record.process(&procfs)?.filter(|_| !matches!(home.status(&record, &procfs), Ok(Status::Stopped)));
    let process = running
        .ok_or_else(|| Error::new(Kind::State, format!("container with id {} is not running", record.id)))?;
    let group = record.cgroup()?;
    let group = group.ok_or_else(|| Error::new(Kind::State, "the container has no control group"))?;
    if given.on("stats") {
        println!("{}", report(&record.id, "stats", Some(stats(&group)?)));
        return Ok(0);
    }
    let interval = interval(given.get("interval").unwrap_or("5s"))?;
    let (memory, mut killed) = (group.watch_oom()?, group.oom_kill_count()?);
    loop {
        let ready = watch::wait(
            &[(process.as_fd(), Interest::Readable), (memory.as_fd(), Interest::Readable)],
            interval,
        )?;
        // The watch says that there is something to look at, not what.
        if ready.get(1) == Some(&true) && memory.take()? && group.oom_kill_count()? > killed {
            killed = group.oom_kill_count()?;
            println!("{}", report(&record.id, "oom", None));
        }
        match ready.first() {
            Some(true) => return Ok(0),
            _ if ready.iter().all(|ready| !ready) => {
                println!("{}", report(&record.id, "stats", Some(stats(&group)?)))
            }
            _ => {}
        }
    }
}

/// Go's durations as far as anyone writes them: `500ms`, `5s`, `1m`.
fn interval(text: &str) -> Result<Duration> {
    let refuse = || Error::invalid(format!("invalid value {text:?} for flag -interval"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok().filter(|number| *number > 0).ok_or_else(refuse)?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(refuse()),
    }
}

fn report(id: &str, kind: &str, data: Option<Value>) -> Value {
    let mut report = json!({ "type": kind, "id": id });
    if let Some(data) = data {
        report["data"] = data;
    }
    report
}

fn stats(group: &Cgroup) -> Result<Value> {
    let Stats { cpu, memory, pids, blkio, hugetlb, .. } = group.stats()?;
    let usage = |usage: &MemoryUsage| {
        json!({
            "limit": usage.limit.unwrap_or(u64::MAX), "usage": usage.usage, "max": usage.max_usage, "failcnt": usage.failures
        })
    };
    let entries = |entries: &[BlkioEntry]| -> Value {
        let entry = |entry: &BlkioEntry| json!({ "major": entry.major, "minor": entry.minor, "op": entry.operation, "value": entry.value });
        entries.iter().map(entry).collect()
    };
    let huge: serde_json::Map<String, Value> = hugetlb
        .iter()
        .map(|(size, huge)| {
            (size.clone(), json!({ "usage": huge.usage, "max": huge.max_usage, "failcnt": huge.failures }))
        })
        .collect();
    Ok(json!({
        "cpu": {
            "usage": { "total": cpu.total_nanos, "percpu": cpu.percpu_nanos, "kernel": cpu.kernel_nanos, "user": cpu.user_nanos },
            "throttling": { "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled_nanos }
        },
        "memory": {
            "cache": memory.stat.get("cache").or(memory.stat.get("file")).copied().unwrap_or_default(),
            "usage": usage(&memory.memory),
            "swap": memory.swap.as_ref().map(usage),
            "kernel": memory.kernel.as_ref().map(usage),
            "kernelTCP": memory.kernel_tcp.as_ref().map(usage),
            "raw": memory.stat
        },
        "pids": { "current": pids.current, "limit": pids.limit.unwrap_or_default() },
        "blkio": {
            "ioServiceBytesRecursive": entries(&blkio.service_bytes), "ioServicedRecursive": entries(&blkio.serviced),
            "ioQueueRecursive": entries(&blkio.queued), "ioServiceTimeRecursive": entries(&blkio.service_time),
            "ioWaitTimeRecursive": entries(&blkio.wait_time), "ioMergedRecursive": entries(&blkio.merged),
            "ioTimeRecursive": entries(&blkio.time), "sectorsRecursive": entries(&blkio.sectors)
        },
        "hugetlb": huge,
        "intel_rdt": {}
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "0s", "s", "-1s"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
