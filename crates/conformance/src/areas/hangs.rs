//! Something hangs (a frozen container, a stopped shim, a file system, a client) and the engine answers all the same.

use crate::check::{Check, contains, same, skip};
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::hung_mount::HungMount;
use crate::scope::{Scope, eventually, percent_encode};
use crate::slow_registry::SlowRegistry;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const AREA: &str = "hangs";

/// How long an answer may take on a busy machine. A quiet one needs milliseconds.
const PROMPT: Duration = Duration::from_secs(3);

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "everything answers while a container is paused", paused),
        Check::new(AREA, "everything answers while a shim is stopped", stopped_shim).alone(),
        Check::new(AREA, "kill ends a container whose shim is stopped", kill_past_a_shim).alone(),
        Check::new(AREA, "everything answers while a file system under a container hangs", hung_file_system)
            .alone(),
        Check::new(AREA, "everything answers while clients read nothing", silent_clients),
        Check::new(AREA, "everything answers while an image is being pulled", pulling),
        Check::new(AREA, "a stop goes on when its client leaves", leaving_client),
        Check::new(AREA, "a client that leaves cancels nothing half-way", abandoned),
    ]
}

/// Every question that must be answered whatever hangs, about one container.
pub(crate) fn questions(container: &str) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/_ping",
        "/version",
        "/info",
        "/containers/json?all=1",
        "/images/json",
        "/networks",
        "/volumes",
        "/events?since=0&until=1",
    ]
    .map(str::to_owned)
    .into();
    paths.push(format!("/containers/{container}/json"));
    paths.push(format!("/containers/{container}/stats?stream=0"));
    paths.push(format!("/containers/{container}/stats?stream=0&one-shot=1"));
    paths
}

/// Asks everything; each answer must be there in time.
pub(super) fn all_answer(scope: &Scope<'_>, container: &str) -> Result<()> {
    for path in questions(container) {
        let began = Instant::now();
        scope.api("GET", &path)?.expect(200).with_context(|| path.clone())?;
        if began.elapsed() > PROMPT {
            bail!("{path} took {:.1} s", began.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn paused(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("paused", &[], &["sleep", "300"])?;
    scope.ok(&["pause", &name])?;
    let answered = all_answer(scope, &name);
    scope.ok(&["unpause", &name])?;
    answered
}

/// The process that keeps a container, stopped; it goes on when this is dropped.
pub(super) struct StoppedShim(String);

impl StoppedShim {
    pub(super) fn of(scope: &Scope<'_>, container: &str) -> Result<Self> {
        if scope.engine.program.is_none() {
            return Err(skip("only berth's shims are known here"));
        }
        let main = scope.inspect(container)?["State"]["Pid"].as_u64().context("State.Pid")?;
        let status = std::fs::read_to_string(format!("/proc/{main}/status"))?;
        let parent =
            status.lines().find_map(|line| line.strip_prefix("PPid:")).context("PPid")?.trim().to_owned();
        let words = std::fs::read(format!("/proc/{parent}/cmdline"))?;
        contains("the parent of the container", &String::from_utf8_lossy(&words), "shim")?;
        signal("STOP", &parent)?;
        eventually("the stop of the shim", || {
            let stat = std::fs::read_to_string(format!("/proc/{parent}/stat"))?;
            Ok(stat.contains(") T ").then_some(()))
        })?;
        Ok(Self(parent))
    }
}

impl Drop for StoppedShim {
    fn drop(&mut self) {
        // One that is gone needs nothing.
        let _ = signal("CONT", &self.0);
    }
}

fn signal(name: &str, pid: &str) -> Result<()> {
    let told = Command::new("kill").args([format!("-{name}").as_str(), pid]).output().context("kill(1)")?;
    if told.status.success() { Ok(()) } else { bail!("kill -{name} {pid}: {}", told.status) }
}

fn stopped_shim(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("kept", &[], &["sleep", "300"])?;
    let shim = StoppedShim::of(scope, &name)?;
    let answered = all_answer(scope, &name);
    let other = scope.run(&[], &["echo", "another"])?;
    drop(shim);
    answered?;
    same("another container", other.expect_code(0)?.stdout, "another\n")?;
    same("exec afterwards", scope.ok(&["exec", &name, "echo", "inside"])?, "inside")
}

fn kill_past_a_shim(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("killed", &[], &["sh", "-c", "echo written; exec sleep 300"])?;
    scope.logged(&name, "written")?;
    let shim = StoppedShim::of(scope, &name)?;
    let began = Instant::now();
    scope.ok(&["kill", &name])?;
    let took = began.elapsed();
    let answered = all_answer(scope, &name);
    drop(shim);
    answered?;
    same("ExitCode", &scope.ended(&name)?["ExitCode"], &serde_json::json!(137))?;
    same("nothing of the log is lost", scope.ok(&["logs", &name])?, "written")?;
    same(&format!("kill took {:.1} s", took.as_secs_f64()), took < PROMPT, true)
}

fn hung_file_system(scope: &Scope<'_>) -> Result<()> {
    let directory = scope.directory()?.join("hung");
    std::fs::create_dir_all(&directory)?;
    if !Path::new("/dev/fuse").exists() {
        return Err(skip("there is no /dev/fuse"));
    }
    let mount = HungMount::new(&directory)?;
    let volume = format!("{}:/hung", directory.display());
    let script = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo asking; ls /hung";
    let name = scope.start("asking", &["-v", &volume, "--tmpfs", "/tmp"], &["sh", "-c", script])?;
    scope.logged(&name, "ready")?;
    mount.hang();
    scope.ok(&["exec", &name, "touch", "/tmp/go"])?;
    scope.logged(&name, "asking")?;
    let answered = all_answer(scope, &name);
    // Its program cannot be killed now: that is said, not waited for.
    let began = Instant::now();
    let stopped = scope.api("POST", &format!("/containers/{name}/stop?t=1"));
    let took = began.elapsed();
    let again = all_answer(scope, &name);
    drop(mount);
    answered?;
    again?;
    same(&format!("stop?t=1 took {:.1} s", took.as_secs_f64()), took < Duration::from_secs(40), true)?;
    let stopped = stopped?.expect(500)?.message();
    contains("stop", &stopped, "tried to kill container, but did not receive an exit event")?;
    // It is stopped as soon as it can be.
    scope.ended(&name)?;
    scope.ok(&["rm", &name]).map(drop)
}

fn silent_clients(scope: &Scope<'_>) -> Result<()> {
    let script = "i=0; while :; do i=$((i+1)); echo a line that fills what is between us $i; done";
    let name = scope.start("chatty", &[], &["sh", "-c", script])?;
    // Their answers begin, and then nobody reads.
    let paths = [
        format!("/containers/{name}/logs?follow=1&stdout=1"),
        "/events".to_owned(),
        format!("/containers/{name}/stats"),
    ];
    let mut held = Vec::new();
    for path in paths.iter().cycle().take(12) {
        let mut answer = Request::new("GET", path).open(&scope.engine.socket)?;
        same(path, answer.status, 200)?;
        if path.contains("logs") {
            answer.read_exact(&mut [0; 8])?;
        }
        held.push(answer);
    }
    let answered = all_answer(scope, &name);
    let exec = scope.ok(&["exec", &name, "echo", "inside"]);
    drop(held);
    answered?;
    same("exec", exec?, "inside")
}

fn leaving_client(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start(
        "stubborn",
        &[],
        &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.02; done"],
    )?;
    scope.logged(&name, "ready")?;
    let mut client = Command::new("timeout");
    client.args(["--signal=KILL", "0.3"]).arg(&scope.client().program).args(["stop", "-t", "1", &name]);
    let left = crate::command_line::run(
        {
            client.envs(scope.client().environment());
            client
        },
        b"",
    )?;
    same("the client was killed", left.code != 0, true)?;
    same("ExitCode", &scope.ended(&name)?["ExitCode"], &serde_json::json!(137))
}

/// A registry that sends a layer bit by bit, and one that says nothing at all: everything else goes on.
fn pulling(scope: &Scope<'_>) -> Result<()> {
    let registry = SlowRegistry::start();
    let name = scope.start("beside", &[], &["sleep", "300"])?;
    let pull = |image: &str| {
        let path = format!("/images/create?fromImage={}", percent_encode(image));
        Abandoned::send(&scope.engine.socket, "POST", &path, &serde_json::Value::Null)
    };
    let pulls = (pull(&registry.image())?, pull(&registry.silent())?);
    registry.wait_for_a_layer()?;
    registry.wait_for_silence()?;
    let answered = all_answer(scope, &name);
    let beside = scope.run(&[], &["echo", "another"])?;
    let exec = scope.ok(&["exec", &name, "echo", "inside"]);
    let tagged = scope.name("tagged");
    let tag = scope.ok(&["tag", BUSYBOX, &tagged]).and_then(|_| scope.ok(&["rmi", &tagged]));
    drop(pulls);
    answered?;
    same("another container", beside.expect_code(0)?.stdout, "another\n")?;
    same("exec", exec?, "inside")?;
    tag.map(drop)
}

/// A request whose client does not wait for the answer.
struct Abandoned(UnixStream);

impl Abandoned {
    fn send(socket: &Path, method: &str, path: &str, body: &serde_json::Value) -> Result<Self> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = UnixStream::connect(socket).context("connect")?;
        stream.write_all(format!("{head}{body}").as_bytes())?;
        Ok(Self(stream))
    }
}

/// Requests whose clients leave at once. Each is done as a whole or not begun at all: what follows finds one or the other.
fn abandoned(scope: &Scope<'_>) -> Result<()> {
    let socket = scope.engine.socket.clone();
    let leave = |method: &str, path: &str, body: &serde_json::Value| -> Result<()> {
        drop(Abandoned::send(&socket, method, path, body)?.0);
        Ok(())
    };
    let nothing = serde_json::Value::Null;
    for round in 0..3 {
        let name = scope.name(&format!("left{round}"));
        let body = serde_json::json!({ "Image": BUSYBOX, "Cmd": ["sleep", "300"] });
        leave("POST", &format!("/containers/create?name={name}"), &body)?;
        settled(
            scope,
            "create",
            || {
                scope
                    .api_json("POST", &format!("/containers/create?name={name}"), &body)
                    .map(|answer| answer.status)
            },
            &[201],
            &[409],
        )?;
        let at = |rest: &str| format!("/containers/{name}/{rest}");
        let done = |path: String| move || scope.api("POST", &path).map(|answer| answer.status);
        leave("POST", &at("start"), &nothing)?;
        settled(scope, "start", done(at("start")), &[204], &[304])?;
        same("it runs", scope.ok(&["exec", &name, "echo", "inside"])?, "inside")?;
        leave("POST", &at("pause"), &nothing)?;
        settled(scope, "pause", done(at("pause")), &[204], &[409])?;
        leave("POST", &at("unpause"), &nothing)?;
        settled(scope, "unpause", done(at("unpause")), &[204], &[409, 500])?;
        leave("POST", &at("restart?t=0"), &nothing)?;
        leave("POST", &at("update"), &serde_json::json!({ "Memory": 64 << 20, "MemorySwap": 64 << 20 }))?;
        settled(scope, "restart", done(at("restart?t=0")), &[204], &[])?;
        same("it runs again", scope.ok(&["exec", &name, "echo", "inside"])?, "inside")?;
        let other = scope.name(&format!("renamed{round}"));
        leave("POST", &at(&format!("rename?name={other}")), &nothing)?;
        settled(scope, "rename", done(at(&format!("rename?name={other}"))), &[204], &[404])?;
        let gone =
            || scope.api("DELETE", &format!("/containers/{other}?force=1")).map(|answer| answer.status);
        leave("DELETE", &format!("/containers/{other}?force=1"), &nothing)?;
        settled(scope, "remove", gone, &[204], &[404])?;
        for (kind, create, remove) in [
            ("Network", "/networks/create", format!("/networks/{name}")),
            ("volume", "/volumes/create", format!("/volumes/{name}")),
        ] {
            leave("POST", create, &serde_json::json!({ "Name": name }))?;
            let again = || {
                scope
                    .api_json("POST", create, &serde_json::json!({ "Name": name }))
                    .map(|answer| answer.status)
            };
            settled(scope, kind, again, &[201], &[409])?;
            leave("DELETE", &remove, &nothing)?;
            settled(
                scope,
                kind,
                || scope.api("DELETE", &remove).map(|answer| answer.status),
                &[204],
                &[404],
            )?;
        }
    }
    Ok(())
}

/// Asks again for what nobody waited for: it is done now, or was done before. While it is being done, either may be
/// refused in passing (a removal in progress, a name that is taken for a moment).
fn settled(
    scope: &Scope<'_>,
    what: &str,
    mut again: impl FnMut() -> Result<u16>,
    now: &[u16],
    before: &[u16],
) -> Result<()> {
    let mut last = 0;
    scope
        .eventually(what, || {
            last = again()?;
            Ok((now.contains(&last) || before.contains(&last)).then_some(()))
        })
        .with_context(|| format!("the last answer was {last}"))
}
