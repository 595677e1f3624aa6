//! What can be changed of a container that is there, and what its restart policy does.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::scope::{Scope, percent_encode};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const AREA: &str = "updates";

/// Prints what is in force, from the tree of either version of control groups.
const IN_FORCE: &str = "both() { cat $1 2>/dev/null || cat $2; }; cd /sys/fs/cgroup; \
    both memory.max memory/memory.limit_in_bytes; both memory.low memory/memory.soft_limit_in_bytes; \
    both pids.max pids/pids.max; cat cpu.max 2>/dev/null || echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us); \
    both cpuset.cpus cpuset/cpuset.cpus; both cpuset.mems cpuset/cpuset.mems; cat cpu/cpu.shares 2>/dev/null || cat cpu.weight";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "every limit of a running container is changed, in force and shown", running),
        Check::new(AREA, "rates of single devices are set, left and cleared while the program runs", rates),
        Check::new(AREA, "limits of a stopped container hold from its next start on", stopped),
        Check::new(AREA, "what cannot be is refused and changes nothing", refused),
        Check::new(AREA, "the restart policy is changed while the program runs", policy),
        Check::new(AREA, "restarts come later and later", later_and_later),
        Check::new(AREA, "unless-stopped starts again what ended, and not what was stopped", unless_stopped),
        Check::new(AREA, "always starts again what was killed from inside, whatever its code", always),
    ]
}

fn limits() -> Value {
    json!({
        "Memory": 100 << 20, "MemorySwap": 200 << 20, "MemoryReservation": 50 << 20, "PidsLimit": 55,
        "CpuPeriod": 50_000, "CpuQuota": 30_000, "CpusetCpus": "0", "CpusetMems": "0", "CpuShares": 1024,
    })
}

/// What [`IN_FORCE`] prints then, but for the shares, whose number on v2 is a weight.
const EXPECTED: [&str; 6] = ["104857600", "52428800", "55", "30000 50000", "0", "0"];

fn compare(scope: &Scope<'_>, name: &str) -> Result<()> {
    let printed = scope.ok(&["exec", name, "sh", "-c", IN_FORCE])?;
    let lines: Vec<&str> = printed.lines().collect();
    same("in force", lines.get(..6).unwrap_or_default(), EXPECTED.as_slice())?;
    if scope.engine.cgroup_version == 1 {
        same("shares", lines.get(6), Some(&"1024"))?;
    }
    let shown = scope.inspect(name)?["HostConfig"].take();
    for (key, value) in limits().as_object().into_iter().flatten() {
        same(key, &shown[key], value)?;
    }
    Ok(())
}

fn running(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("limited", &[], &["sleep", "300"])?;
    let answer = scope.api_json("POST", &format!("/containers/{name}/update"), &limits())?.expect(200)?;
    same("Warnings", answer.json()?["Warnings"].as_array().is_none_or(Vec::is_empty), true)?;
    compare(scope, &name)?;
    // What a request does not name stays as it is.
    let one = json!({ "PidsLimit": 66 });
    scope.api_json("POST", &format!("/containers/{name}/update"), &one)?.expect(200)?;
    let printed = scope.ok(&["exec", &name, "sh", "-c", IN_FORCE])?;
    same("one changed", printed.lines().take(3).collect::<Vec<_>>(), vec!["104857600", "52428800", "66"])?;
    let none = json!({ "PidsLimit": -1 });
    scope.api_json("POST", &format!("/containers/{name}/update"), &none)?.expect(200)?;
    let printed = scope.ok(&["exec", &name, "sh", "-c", IN_FORCE])?;
    same("without a limit", printed.lines().nth(2), Some("max"))
}

/// What is left out or `null` stays, an empty list clears; versions before 1.55 do not know of it.
fn rates(scope: &Scope<'_>) -> Result<()> {
    let device = super::fields::block_device()?;
    let name = scope.start("rates", &[], &["sleep", "300"])?;
    let in_force = |number: u32| {
        let script = format!(
            "cat /sys/fs/cgroup/blkio/blkio.throttle.*_device /sys/fs/cgroup/io.max 2>/dev/null | grep -c '[ =]{number}'"
        );
        let output = scope.docker(&["exec", &name, "sh", "-c", &script])?;
        Ok::<_, anyhow::Error>(output.stdout.trim() != "0")
    };
    let list = |rate: u32| json!([{ "Path": device, "Rate": rate }]);
    for (version, request, expected) in [
        ("/v1.54", json!({ "BlkioDeviceReadBps": list(1_048_577) }), [false, false]),
        (
            "",
            json!({ "BlkioDeviceReadBps": list(1_048_577), "BlkioDeviceWriteIOps": list(1239) }),
            [true, true],
        ),
        ("", json!({ "BlkioDeviceReadBps": null, "PidsLimit": 70 }), [true, true]),
        ("", json!({ "BlkioDeviceReadBps": [] }), [false, true]),
        ("", json!({ "BlkioDeviceWriteIOps": [] }), [false, false]),
    ] {
        let path = format!("{version}/containers/{name}/update");
        scope.api_json("POST", &path, &request)?.expect(200)?;
        same(&request.to_string(), [in_force(1_048_577)?, in_force(1239)?], expected)?;
        if version.is_empty() && scope.engine.is_old() {
            return scope.since_new_engines("rates of single devices cannot be updated");
        }
    }
    let shown = scope.inspect(&name)?["HostConfig"].take();
    same("shown", (&shown["BlkioDeviceReadBps"], &shown["BlkioDeviceWriteIOps"]), (&json!([]), &json!([])))
}

fn stopped(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("later");
    scope.ok(&["create", "--name", &name, BUSYBOX, "sleep", "300"])?;
    scope.api_json("POST", &format!("/containers/{name}/update"), &limits())?.expect(200)?;
    scope.ok(&["start", &name])?;
    compare(scope, &name)
}

fn refused(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("steady", &["-m", "64m", "--memory-swap", "64m"], &["sleep", "300"])?;
    let before = scope.inspect(&name)?["HostConfig"].take();
    for (fields, words) in [
        (json!({ "Memory": 1000 }), "Minimum memory limit allowed is 6MB"),
        (json!({ "Memory": 128 << 20 }), "Memory limit should be smaller than already set memoryswap limit"),
        (json!({ "CpusetCpus": "4000" }), "Requested CPUs are not available"),
        (json!({ "RestartPolicy": { "Name": "sometimes" } }), "restart policy"),
    ] {
        let answer = scope.api_json("POST", &format!("/containers/{name}/update"), &fields)?;
        ensure!((400..=500).contains(&answer.status), "{fields}: {}", answer.status);
        contains(&fields.to_string(), &answer.message(), words)?;
    }
    same("HostConfig", scope.inspect(&name)?["HostConfig"].take(), before)
}

fn policy(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("calm", &[], &["sleep", "300"])?;
    let change = json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 4 } });
    scope.api_json("POST", &format!("/containers/{name}/update"), &change)?.expect(200)?;
    same("inspect", &scope.inspect(&name)?["HostConfig"]["RestartPolicy"], &change["RestartPolicy"])?;
    let before = scope.inspect(&name)?["State"]["Pid"].as_i64().context("Pid")?;
    let main = before.to_string();
    std::process::Command::new("kill").args(["-9", &main]).status().context("kill(1)")?;
    scope.eventually("another run", || {
        let state = scope.inspect(&name)?;
        Ok((state["RestartCount"] == json!(1) && state["State"]["Running"] == json!(true)).then_some(()))
    })
}

/// When a container ended and began, in nanoseconds, in the order of the events.
fn moments(scope: &Scope<'_>, name: &str) -> Result<Vec<(String, i64)>> {
    let until = super::queries::now()?;
    let filters = json!({ "container": [name], "type": ["container"], "event": ["start", "die"] });
    let path = format!("/events?since=1&until={until}&filters={}", percent_encode(&filters.to_string()));
    let text = scope.api("GET", &path)?.expect(200)?.text();
    let mut found = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        let action = event["Action"].as_str().context("Action")?.to_owned();
        found.push((action, event["timeNano"].as_i64().context("timeNano")?));
    }
    Ok(found)
}

fn later_and_later(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("failing", &["--restart", "on-failure:4"], &["sh", "-c", "exit 1"])?;
    scope.eventually("the last try", || {
        let found = scope.inspect(&name)?;
        Ok((found["RestartCount"] == json!(4) && found["State"]["Status"] == "exited").then_some(()))
    })?;
    let found = moments(scope, &name)?;
    let gaps: Vec<i64> = found
        .windows(2)
        .filter(|pair| pair[0].0 == "die" && pair[1].0 == "start")
        .map(|pair| (pair[1].1 - pair[0].1) / 1_000_000)
        .collect();
    same("restarts", gaps.len(), 4)?;
    // 100 ms and twice as long each time: never less, and as much more as the machine is busy.
    for (gap, least) in gaps.iter().zip([100, 200, 400, 800]) {
        ensure!(*gap >= least - 5, "{gaps:?} ms");
    }
    Ok(())
}

fn unless_stopped(scope: &Scope<'_>) -> Result<()> {
    let script = "trap 'exit 0' TERM; echo run; [ -e /again ] || { touch /again; exit 0; }; while :; do sleep 0.05; done";
    let name = scope.start("kept", &["--restart", "unless-stopped"], &["sh", "-c", script])?;
    // Its second run listens as soon as it has said so.
    let runs = || Ok::<_, anyhow::Error>(scope.ok(&["logs", &name])?.matches("run").count());
    scope.eventually("a second run", || Ok((runs()? == 2).then_some(())))?;
    same("RestartCount", &scope.inspect(&name)?["RestartCount"], &json!(1))?;
    scope.ok(&["stop", &name])?;
    let state = scope.inspect(&name)?;
    same(
        "stopped",
        (&state["State"]["Status"], &state["State"]["Restarting"]),
        (&json!("exited"), &json!(false)),
    )?;
    same("runs", runs()?, 2)
}

fn always(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("always", &["--restart", "always"], &["sh", "-c", "exit 0"])?;
    scope.eventually("three restarts", || {
        Ok(scope.inspect(&name)?["RestartCount"].as_u64().filter(|count| *count >= 3).map(drop))
    })?;
    // A client's stop ends it, also while it waits for its next run.
    scope.ok(&["stop", &name])?;
    same("Status", &scope.inspect(&name)?["State"]["Status"], &json!("exited"))
}
