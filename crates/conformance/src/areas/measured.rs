//! Statistics: that every number is the one the kernel has, read on the host beside the engine.

use crate::check::{Check, same};
use crate::scope::Scope;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;

const AREA: &str = "stats";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "processor time is what the cgroup has used", processor),
        Check::new(AREA, "memory, its limit and its kinds are those of the cgroup", memory),
        Check::new(AREA, "what was written to a disk is counted there", disk),
        Check::new(AREA, "network counters are those of the container's interfaces", network),
        Check::new(AREA, "one-shot has one sample, the default two, and what has ended none", samples),
        Check::new(AREA, "docker stats prints what the numbers say", table),
    ]
}

/// The numbers of a container, all at once.
fn numbers(scope: &Scope<'_>, name: &str) -> Result<Value> {
    scope.api("GET", &format!("/containers/{name}/stats?stream=0&one-shot=1"))?.expect(200)?.json()
}

/// A control file of a container's cgroup, as the host has it: `(controller, file)` on v1, else the file on v2.
fn control(scope: &Scope<'_>, name: &str, v1: (&str, &str), v2: &str) -> Result<String> {
    let pid = scope.inspect(name)?["State"]["Pid"].as_u64().context("State.Pid")?;
    let lines = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let is_v2 = scope.engine.cgroup_version == 2;
    let path = lines.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let fits =
            if is_v2 { controllers.is_empty() } else { controllers.split(',').any(|name| name == v1.0) };
        fits.then(|| path.trim_start_matches('/').to_owned())
    });
    let path = path.with_context(|| format!("the cgroup of {pid} in {lines:?}"))?;
    let root =
        if is_v2 { PathBuf::from("/sys/fs/cgroup") } else { PathBuf::from("/sys/fs/cgroup").join(v1.0) };
    let file = root.join(path).join(if is_v2 { v2 } else { v1.1 });
    std::fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// `name value` lines.
fn table_of(text: &str) -> HashMap<&str, u64> {
    let pair =
        |line: &'_ str| line.split_once(' ').map(|(name, value)| (name.len(), value.trim().parse().ok()));
    text.lines().filter_map(|line| pair(line).and_then(|(end, value)| Some((&line[..end], value?)))).collect()
}

/// Fails unless a counter lies between what it was before and after.
fn between(what: &str, before: u64, found: &Value, after: u64) -> Result<()> {
    match found.as_u64() {
        Some(found) if (before..=after).contains(&found) => Ok(()),
        _ => bail!("{what}: {found}, between {before} and {after} in the cgroup"),
    }
}

fn processor(scope: &Scope<'_>) -> Result<()> {
    let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; exec sleep 60";
    let name = scope.start("busy", &[], &["sh", "-c", script])?;
    scope.logged(&name, "done")?;
    let used = || -> Result<u64> {
        let text = control(scope, &name, ("cpuacct", "cpuacct.usage"), "cpu.stat")?;
        match table_of(&text).get("usage_usec") {
            Some(micros) => Ok(micros * 1000),
            None => Ok(text.trim().parse()?),
        }
    };
    let before = used()?;
    let found = &numbers(scope, &name)?["cpu_stats"];
    between("total_usage", before / 1000 * 1000, &found["cpu_usage"]["total_usage"], used()?)?;
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let modes =
        number(&found["cpu_usage"]["usage_in_usermode"]) + number(&found["cpu_usage"]["usage_in_kernelmode"]);
    same("some time in a mode", modes > 0, true)?;
    let processors = std::fs::read_to_string("/proc/stat")?;
    let processors =
        processors.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    same("online_cpus", found["online_cpus"].as_u64(), Some(processors as u64))?;
    same(
        "the machine has used more",
        number(&found["system_cpu_usage"]) > number(&found["cpu_usage"]["total_usage"]),
        true,
    )
}

fn memory(scope: &Scope<'_>) -> Result<()> {
    let script =
        "head -c 8388608 /dev/zero > /dev/shm/held; cat /bin/busybox > /dev/null; echo done; exec sleep 60";
    let name = scope.start("holding", &["-m", "96m"], &["sh", "-c", script])?;
    scope.logged(&name, "done")?;
    let found = &numbers(scope, &name)?["memory_stats"];
    let usage = control(scope, &name, ("memory", "memory.usage_in_bytes"), "memory.current")?
        .trim()
        .parse::<u64>()?;
    // Processors keep pages of their own: the sum wavers by some of them.
    const SLACK: u64 = 2 << 20;
    between("usage", usage.saturating_sub(SLACK), &found["usage"], usage + SLACK)?;
    same("what is held counts", usage > 8 << 20, true)?;
    same("limit", found["limit"].as_u64(), Some(96 << 20))?;
    let kinds = control(scope, &name, ("memory", "memory.stat"), "memory.stat")?;
    let kinds = table_of(&kinds);
    let shown = found["stats"].as_object().context("stats")?;
    let missing: Vec<&&str> = kinds.keys().filter(|kind| !shown.contains_key(**kind)).collect();
    same("kinds that are not shown", missing, Vec::<&&str>::new())?;
    for kind in ["inactive_file", "active_file", "pgfault"] {
        let value = *kinds.get(kind).with_context(|| kind.to_owned())?;
        let slack = if kind == "pgfault" { 200 } else { SLACK };
        between(kind, value.saturating_sub(slack), &shown[kind], value + slack)?;
    }
    Ok(())
}

/// What all devices together have had written, of `Write` lines on v1 and `wbytes=` on v2.
fn written(text: &str) -> u64 {
    let v1 = |line: &str| line.split_once(" Write ").and_then(|(_, value)| value.trim().parse::<u64>().ok());
    let v2 = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("wbytes=")?.parse::<u64>().ok());
    text.lines().filter_map(|line| v1(line).or_else(|| v2(line))).sum::<u64>()
}

fn disk(scope: &Scope<'_>) -> Result<()> {
    let script = "dd if=/dev/zero of=/file bs=1M count=4 conv=fsync 2>/dev/null; echo done; exec sleep 60";
    let name = scope.start("writer", &[], &["sh", "-c", script])?;
    scope.logged(&name, "done")?;
    let counted = || control(scope, &name, ("blkio", "blkio.throttle.io_service_bytes_recursive"), "io.stat");
    let before = written(&counted()?);
    let found = numbers(scope, &name)?;
    let rows = found["blkio_stats"]["io_service_bytes_recursive"].as_array().cloned().unwrap_or_default();
    let writes =
        rows.iter().filter(|row| row["op"].as_str().is_some_and(|op| op.eq_ignore_ascii_case("write")));
    let sum: u64 = writes.filter_map(|row| row["value"].as_u64()).sum();
    between("written", before, &sum.into(), written(&counted()?))
}

fn network(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start(
        "talker",
        &[],
        &[
            "sh",
            "-c",
            "ping -c 3 -i 0.1 $(ip route | awk '/default/{print $3}') >/dev/null; echo done; exec sleep 60",
        ],
    )?;
    scope.logged(&name, "done")?;
    let pid = scope.inspect(&name)?["State"]["Pid"].as_u64().context("State.Pid")?;
    let counters = || -> Result<Vec<u64>> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev"))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).context("eth0")?;
        Ok(line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    };
    let before = counters()?;
    let found = &numbers(scope, &name)?["networks"]["eth0"];
    let after = counters()?;
    same("something was sent", before[9] > 2, true)?;
    let columns = [
        "rx_bytes",
        "rx_packets",
        "rx_errors",
        "rx_dropped",
        "",
        "",
        "",
        "",
        "tx_bytes",
        "tx_packets",
        "tx_errors",
        "tx_dropped",
    ];
    for (index, column) in columns.iter().enumerate().filter(|(_, column)| !column.is_empty()) {
        between(column, before[index], &found[*column], after[index])?;
    }
    Ok(())
}

fn samples(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("sampled", &[], &["sleep", "60"])?;
    let one = numbers(scope, &name)?;
    same("one-shot has nothing before", one["preread"].as_str(), Some("0001-01-01T00:00:00Z"))?;
    let two = scope.api("GET", &format!("/containers/{name}/stats?stream=0"))?.expect(200)?.json()?;
    same("two samples", two["preread"] != "0001-01-01T00:00:00Z", true)?;
    same("used before", two["precpu_stats"]["system_cpu_usage"].as_u64().unwrap_or(0) > 0, true)?;
    scope.ok(&["stop", "-t", "0", &name])?;
    let ended = numbers(scope, &name)?;
    same(
        "a container that has ended",
        (&ended["read"], &ended["memory_stats"]),
        (&"0001-01-01T00:00:00Z".into(), &serde_json::json!({})),
    )
}

fn table(scope: &Scope<'_>) -> Result<()> {
    let script = "head -c 8388608 /dev/zero > /dev/shm/held; echo done; exec sleep 60";
    let name = scope.start("shown", &["-m", "100m"], &["sh", "-c", script])?;
    scope.logged(&name, "done")?;
    let format = "{{.Name}} {{.PIDs}} {{.MemUsage}} {{.MemPerc}} {{.CPUPerc}} {{.NetIO}} {{.BlockIO}}";
    let line = scope.ok(&["stats", "--no-stream", "--format", format, &name])?;
    let words: Vec<&str> = line.split_whitespace().collect();
    same("name and processes", &words[..2], [name.as_str(), "1"])?;
    let (used, limit) =
        (words.get(2).copied().unwrap_or_default(), words.get(4).copied().unwrap_or_default());
    same("limit", limit, "100MiB")?;
    let used: f64 = used.trim_end_matches("MiB").parse().with_context(|| format!("{line:?}"))?;
    let percent: f64 = words.get(5).copied().unwrap_or_default().trim_end_matches('%').parse()?;
    same(&format!("8 to 16 MiB: {used}"), (8.0..16.0).contains(&used), true)?;
    same(&format!("{used} of 100 is {percent}"), (used - percent).abs() < 0.02, true)
}
