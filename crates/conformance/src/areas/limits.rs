//! Limits: that they are set where the kernel enforces them, and that it does.

use crate::check::{Check, contains, same};
use crate::scope::Scope;
use anyhow::Result;
use serde_json::json;

const AREA: &str = "limits";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "-m sets the limit of memory", memory),
        Check::new(AREA, "memory over the limit is a kill that is reported", out_of_memory),
        Check::new(AREA, "a kill for memory in a child is seen as well", child_out_of_memory),
        Check::new(AREA, "--cpus sets quota and period", cpus),
        Check::new(AREA, "a busy program is held at its share", throttled),
        Check::new(AREA, "--cpu-shares and --cpuset-cpus are set", cpu_shares),
        Check::new(AREA, "--pids-limit stops a fork bomb", pids),
        Check::new(AREA, "limits hold for exec too", exec),
        Check::new(AREA, "update changes the limits of a running container", update),
        Check::new(AREA, "stats reports what the container uses", stats),
        Check::new(AREA, "inspect echoes the limits", inspect),
    ]
}

/// Reads a control file of the container's own cgroup: `v2` on the unified hierarchy, else `v1`.
fn control(v2: &str, v1: &str) -> String {
    format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}")
}

fn memory(scope: &Scope<'_>) -> Result<()> {
    let script = control("memory.max", "memory/memory.limit_in_bytes");
    same("limit", scope.script(&["-m", "64m"], &script)?, "67108864")
}

fn out_of_memory(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("greedy", &["-m", "16m", "--memory-swap", "16m"], &["tail", "/dev/zero"])?;
    let state = scope.ended(&name)?;
    same("code and reason", (&state["ExitCode"], &state["OOMKilled"]), (&json!(137), &json!(true)))
}

fn child_out_of_memory(scope: &Scope<'_>) -> Result<()> {
    let output =
        scope.run(&["-m", "16m", "--memory-swap", "16m"], &["sh", "-c", "tail /dev/zero; echo code $?"])?;
    same("stdout", output.expect_code(0)?.stdout, "code 137\n")
}

fn cpus(scope: &Scope<'_>) -> Result<()> {
    let script = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) $(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)";
    same("quota and period", scope.script(&["--cpus", "0.5"], script)?, "50000 100000")?;
    same(
        "quota and period",
        scope.script(&["--cpu-quota", "20000", "--cpu-period", "50000"], script)?,
        "20000 50000",
    )
}

fn throttled(scope: &Scope<'_>) -> Result<()> {
    let script = "timeout 1 sh -c 'while :; do :; done'; cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.stat";
    let output = scope.run(&["--cpus", "0.1"], &["sh", "-c", script])?.expect_code(0)?;
    let count = output.stdout.lines().find_map(|line| line.strip_prefix("nr_throttled "));
    same("throttled", count.and_then(|count| count.parse::<u32>().ok()).unwrap_or(0) > 0, true)
}

fn cpu_shares(scope: &Scope<'_>) -> Result<()> {
    let flags = ["--cpu-shares", "512", "--cpuset-cpus", "0"];
    same("cpuset", scope.script(&flags, &control("cpuset.cpus", "cpuset/cpuset.cpus"))?, "0")?;
    same("cpus seen", scope.script(&flags, "awk '/^Cpus_allowed_list/{print $2}' /proc/self/status")?, "0")?;
    if scope.engine.cgroup_version == 1 {
        same("shares", scope.script(&flags, "cat /sys/fs/cgroup/cpu/cpu.shares")?, "512")?;
    }
    Ok(())
}

fn pids(scope: &Scope<'_>) -> Result<()> {
    same("limit", scope.script(&["--pids-limit", "20"], &control("pids.max", "pids/pids.max"))?, "20")?;
    let bomb = "i=0; while [ $i -lt 50 ]; do sleep 60 & i=$((i+1)); done; echo all";
    let output = scope.run(&["--pids-limit", "20"], &["sh", "-c", bomb])?;
    same("stopped", output.stdout.contains("all"), false)?;
    contains("stderr", &output.stderr, "can't fork")
}

fn exec(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("limited", &["--pids-limit", "5"], &["sleep", "300"])?;
    let output = scope.docker(&[
        "exec",
        &name,
        "sh",
        "-c",
        "i=0; while [ $i -lt 9 ]; do sleep 60 & i=$((i+1)); done; echo all",
    ])?;
    same("stopped", output.stdout.contains("all"), false)
}

fn update(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("updated", &["-m", "64m", "--memory-swap", "64m"], &["sleep", "300"])?;
    scope.ok(&["update", "-m", "32m", "--memory-swap", "32m", "--cpus", "0.3", &name])?;
    let script = control("memory.max", "memory/memory.limit_in_bytes");
    same("limit", scope.ok(&["exec", &name, "sh", "-c", &script])?, "33554432")?;
    let host = &scope.inspect(&name)?["HostConfig"];
    same("inspect", (&host["Memory"], &host["NanoCpus"]), (&json!(33_554_432), &json!(300_000_000)))
}

fn stats(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("measured", &["-m", "64m"], &["sh", "-c", "while :; do :; done"])?;
    let found = scope.api("GET", &format!("/containers/{name}/stats?stream=0"))?.expect(200)?.json()?;
    same("memory limit", &found["memory_stats"]["limit"], &json!(67_108_864))?;
    same("memory usage", found["memory_stats"]["usage"].as_u64().unwrap_or(0) > 0, true)?;
    same("cpu", found["cpu_stats"]["cpu_usage"]["total_usage"].as_u64().unwrap_or(0) > 0, true)?;
    same("pids", found["pids_stats"]["current"].as_u64(), Some(1))?;
    same("online_cpus", found["cpu_stats"]["online_cpus"].as_u64().unwrap_or(0) > 0, true)
}

fn inspect(scope: &Scope<'_>) -> Result<()> {
    let flags = ["-m", "64m", "--cpus", "0.5", "--pids-limit", "77", "--cpu-shares", "99"];
    let name = scope.start("echoed", &flags, &["true"])?;
    let host = &scope.inspect(&name)?["HostConfig"];
    let found =
        (&host["Memory"], &host["NanoCpus"], &host["PidsLimit"], &host["CpuShares"], &host["MemorySwap"]);
    same(
        "HostConfig",
        found,
        (&json!(67_108_864), &json!(500_000_000), &json!(77), &json!(99), &json!(134_217_728)),
    )
}
