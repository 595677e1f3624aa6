//! Other OCI runtimes (`--runtime`): what they make behaves as what the engine makes by itself.

use crate::check::{Check, contains, same, skip};
use crate::daemon::PEERS;
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;

const AREA: &str = "runtimes";

pub(crate) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::new(AREA, "an unknown runtime is refused", unknown),
        Check::new(AREA, "a runtime that is not there fails the start and nothing else", missing),
        Check::new(AREA, "info names every runtime and the default", info),
    ];
    for (runtime, program) in PEERS {
        let mut add = |name: &str, body: fn(&Scope<'_>, &str) -> Result<()>| {
            checks.push(Check::new(AREA, format!("{runtime}: {name}"), move |scope| {
                if !Path::new(program).exists() {
                    return Err(skip(format!("no {program}")));
                }
                body(scope, runtime)
            }));
        };
        add("output, exit code, input and environment", run);
        add("a terminal with its size", terminal);
        add("exec with code, user, input and a terminal", exec);
        add("pause, unpause, stats, top, stop, start and rm", life);
        add("limits are in force, and running out of memory is told", limits);
        add("networks, published ports and volumes", furnished);
        add("parts of volumes, files of images and an init", held);
        add("a program that is not there is code 127", no_program);
        add("a container that is killed leaves nothing", leavings);
    }
    checks
}

fn unknown(scope: &Scope<'_>) -> Result<()> {
    let body = json!({ "Image": BUSYBOX, "Cmd": ["true"], "HostConfig": { "Runtime": "nope" } });
    let answer = scope.api_json("POST", "/containers/create", &body)?;
    let words = "unknown or invalid runtime name: nope".to_owned();
    same("answer", (answer.status, answer.message()), (400, words))
}

fn missing(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("missing");
    scope.ok(&["create", "--name", &name, "--runtime", "missing", BUSYBOX, "true"])?;
    let output = scope.docker(&["start", &name])?;
    same("code", output.code, 1)?;
    contains("words", &output.stderr, "/no/such/runtime: no such file or directory")?;
    same("state", scope.inspect(&name)?["State"]["Running"].take(), json!(false))?;
    scope.ok(&["rm", &name]).map(drop)
}

fn info(scope: &Scope<'_>) -> Result<()> {
    let info = scope.api("GET", "/info")?.expect(200)?.json()?;
    same("default", &info["DefaultRuntime"], &json!("runc"))?;
    same("missing", &info["Runtimes"]["missing"]["path"], &json!("/no/such/runtime"))?;
    same("own", info["Runtimes"]["runc"].is_object(), true)
}

fn run(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let flags = ["--runtime", runtime, "-i", "-e", "A=b", "-w", "/tmp", "-h", "inner"];
    let script = "cat; echo $A $PWD $(hostname) >&2; exit 7";
    let output = scope.run_with_input(&flags, &["sh", "-c", script], b"given\n")?.expect_code(7)?;
    same("streams", (output.stdout.as_str(), output.stderr.trim_end()), ("given\n", "b /tmp inner"))?;
    let flags = ["--runtime", runtime, "--user", "alice:team", "--read-only", "--cap-drop", "ALL"];
    let script =
        "id -u; id -g; touch /x 2>/dev/null || echo refused; awk '/^CapBnd/{print $2}' /proc/self/status";
    same("confined", scope.script(&flags, script)?, "1000\n2000\nrefused\n0000000000000000")?;
    let name = scope.start("shown", &["--runtime", runtime], &["sleep", "300"])?;
    same("inspect", scope.inspect(&name)?["HostConfig"]["Runtime"].take(), json!(runtime))
}

fn terminal(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let body = json!({
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", "test -t 0 && test -t 2 && stty size"],
        "Tty": true,
        "HostConfig": { "Runtime": runtime, "ConsoleSize": [31, 107] },
    });
    let name = scope.name("tty");
    scope.api_json("POST", &format!("/containers/create?name={name}"), &body)?.expect(201)?;
    scope.ok(&["start", &name])?;
    scope.ended(&name)?;
    same("size", scope.ok(&["logs", &name])?.trim().to_owned(), "31 107")
}

fn exec(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let name = scope.start("alive", &["--runtime", runtime, "-e", "A=b"], &["sleep", "300"])?;
    let output = scope.docker(&["exec", &name, "sh", "-c", "echo $A; echo err >&2; exit 3"])?;
    let output = output.expect_code(3)?;
    same("streams", (output.stdout.as_str(), output.stderr.as_str()), ("b\n", "err\n"))?;
    let who = scope.ok(&["exec", "--user", "alice", "-w", "/tmp", &name, "sh", "-c", "id -u; pwd"])?;
    same("user", who, "1000\n/tmp")?;
    let output = scope.client().call_with_input(&["exec", "-i", name.as_str(), "cat"], b"given\n")?;
    same("input", output.expect_code(0)?.stdout, "given\n")?;
    let shared = scope.ok(&["exec", &name, "sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '"])?;
    same("namespaces", shared.trim().to_owned(), "sleep 300")?;
    same("a terminal", scope.ok(&["exec", "-t", &name, "tty"])?.trim().to_owned(), "/dev/pts/0")?;
    scope.docker(&["exec", &name, "no-such-program"])?.expect_code(127).map(drop)
}

fn life(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let script = "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let name = scope.start("life", &["--runtime", runtime], &["sh", "-c", script])?;
    scope.logged(&name, "ready")?;
    scope.ok(&["pause", &name])?;
    same("paused", scope.inspect(&name)?["State"]["Status"].take(), json!("paused"))?;
    scope.ok(&["unpause", &name])?;
    let path = format!("/containers/{name}/stats?stream=0");
    let stats = scope.api("GET", &path)?.expect(200)?.json()?;
    same("cpu", stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64().unwrap_or(0) > 0, true)?;
    same("network", stats["networks"]["eth0"].is_object(), true)?;
    contains("top", &scope.ok(&["top", &name])?, "told")?;
    scope.ok(&["stop", &name])?;
    let state = scope.inspect(&name)?["State"].take();
    same("ended", (&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(5)))?;
    contains("log", &scope.ok(&["logs", &name])?, "told")?;
    scope.ok(&["start", &name])?;
    same("again", scope.inspect(&name)?["State"]["Running"].take(), json!(true))?;
    scope.ok(&["restart", "-t", "0", &name])?;
    scope.ok(&["rm", "-f", &name])?;
    same("gone", scope.api("GET", &format!("/containers/{name}/json"))?.status, 404)
}

fn limits(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let flags = ["--runtime", runtime, "-m", "64m", "--pids-limit", "20", "--cpus", "0.5"];
    let name = scope.start("limited", &flags, &["sleep", "300"])?;
    let script =
        "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
    same("memory", scope.ok(&["exec", &name, "sh", "-c", script])?, "67108864")?;
    scope.ok(&["update", "-m", "32m", "--memory-swap", "32m", &name])?;
    same("updated", scope.ok(&["exec", &name, "sh", "-c", script])?, "33554432")?;
    let flags = ["--runtime", runtime, "-m", "16m", "--memory-swap", "16m"];
    let greedy = scope.start("greedy", &flags, &["tail", "/dev/zero"])?;
    let state = scope.ended(&greedy)?;
    same("out of memory", (&state["ExitCode"], &state["OOMKilled"]), (&json!(137), &json!(true)))
}

fn furnished(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let network = scope.name("net");
    scope.ok(&["network", "create", &network])?;
    let volume = format!("{}:/data", scope.name("v"));
    let flags =
        ["--runtime", runtime, "--net", network.as_str(), "-p", "127.0.0.1::80", "-v", volume.as_str()];
    let name = scope.start("served", &flags, &["sleep", "300"])?;
    let ports = scope.inspect(&name)?["NetworkSettings"]["Ports"]["80/tcp"].take();
    same("published", ports[0]["HostPort"].as_str().is_some_and(|port| !port.is_empty()), true)?;
    let other = ["--runtime", runtime, "--net", network.as_str(), "-v", volume.as_str()];
    let script = format!("ping -c 1 -w 5 {name} >/dev/null && echo found; echo kept > /data/f");
    same("by name", scope.script(&other, &script)?, "found")?;
    same("volume", scope.ok(&["exec", &name, "cat", "/data/f"])?, "kept")?;
    scope.ok(&["rm", "-f", &name])?;
    scope.ok(&["volume", "rm", &scope.name("v")]).map(drop)
}

fn held(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let volume = scope.name("v");
    let whole = format!("{volume}:/data");
    scope.script(&["-v", &whole], "mkdir -p /data/part; echo inside > /data/part/f; echo out > /data/g")?;
    let part = format!("type=volume,src={volume},dst=/part,volume-subpath=part");
    let image = format!("type=image,src={BUSYBOX},dst=/image");
    let flags = ["--runtime", runtime, "--init", "--mount", part.as_str(), "--mount", image.as_str()];
    let script =
        "cat /part/f; ls /part; test -x /image/bin/busybox && echo image; test $$ != 1 && echo not the first";
    same("inside", scope.script(&flags, script)?, "inside\nf\nimage\nnot the first")?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn no_program(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let output = scope.run(&["--runtime", runtime], &["no-such-program"])?;
    same("code", output.code, 127)?;
    contains("words", &output.stderr, "executable file not found")
}

/// Mounts, control groups and directories of a container, by its identifier.
fn traces(scope: &Scope<'_>, id: &str) -> Result<Value> {
    let mounts =
        std::fs::read_to_string("/proc/self/mountinfo")?.lines().filter(|line| line.contains(id)).count();
    let Some(daemon) = &scope.engine.daemon else { return Ok(json!([mounts, false])) };
    let daemon = daemon.lock().map_err(|_| anyhow::anyhow!("the daemon's lock"))?;
    let directory = daemon.setup().exec_root().join("containers").join(id);
    Ok(json!([mounts, directory.exists()]))
}

fn leavings(scope: &Scope<'_>, runtime: &str) -> Result<()> {
    let name = scope.start("killed", &["--runtime", runtime], &["sleep", "300"])?;
    let id = scope.inspect(&name)?["Id"].as_str().unwrap_or_default().to_owned();
    same("nothing in the host's table while it runs", traces(scope, &id)?[0].take(), json!(0))?;
    scope.ok(&["kill", &name])?;
    let state = scope.ended(&name)?;
    same("code", &state["ExitCode"], &json!(137))?;
    scope.eventually("nothing left", || Ok((traces(scope, &id)? == json!([0, false])).then_some(())))?;
    scope.ok(&["start", &name])?;
    same("again", scope.ok(&["exec", &name, "echo", "yes"])?, "yes")
}
