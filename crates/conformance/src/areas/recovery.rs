//! The daemon dies by SIGKILL and comes back: containers run on, nothing is lost, what ended meanwhile is known.

use crate::check::{Check, contains, same, skip};
use crate::daemon::Daemon;
use crate::fixture::BUSYBOX;
use crate::scope::{Scope, eventually};
use anyhow::{Context, Result};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::PoisonError;

const AREA: &str = "recovery";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a chatty container loses no line when the daemon is killed", chatty).alone(),
        Check::new(AREA, "an end while the daemon is dead is reported with code and time", ended_meanwhile)
            .alone(),
        Check::new(AREA, "exec, logs, kill and wait work on a container from before", works_on).alone(),
        Check::new(AREA, "what was created, ended or named before is still there", records).alone(),
        Check::new(AREA, "--rm of a container that ended meanwhile is done late", late_removal).alone(),
        Check::new(AREA, "a published port works while the daemon is dead and after", ports).alone(),
        Check::new(AREA, "health is kept, and a container from before is asked again", health).alone(),
        Check::new(AREA, "ten kills in a row change nothing", many_kills).alone(),
        Check::new(AREA, "a daemon that is stopped and started keeps everything", stop_and_start).alone(),
        Check::new(AREA, "networks and names are the same after a kill", networks_survive).alone(),
        Check::new(
            AREA,
            "a published port never closes while the daemon is away and comes back",
            port_stays_open,
        )
        .alone(),
        Check::new(
            AREA,
            "volumes that are mounts are the same over a kill, and end with their last user",
            mounted,
        )
        .alone(),
        Check::new(AREA, "firewall rules that somebody flushed are back", flushed_rules).alone(),
    ]
}

/// Does something with the daemon that the suite started; skips when it is somebody else's.
fn with_daemon<T>(scope: &Scope<'_>, act: impl FnOnce(&mut Daemon) -> Result<T>) -> Result<T> {
    let Some(daemon) = &scope.engine.daemon else { return Err(skip("the daemon is not the suite's own")) };
    act(&mut daemon.lock().unwrap_or_else(PoisonError::into_inner))
}

fn crash(scope: &Scope<'_>) -> Result<()> {
    with_daemon(scope, Daemon::kill_hard)
}

fn revive(scope: &Scope<'_>) -> Result<()> {
    with_daemon(scope, Daemon::start_again)
}

fn crash_and_revive(scope: &Scope<'_>) -> Result<()> {
    crash(scope)?;
    revive(scope)
}

fn pid(scope: &Scope<'_>, name: &str) -> Result<u64> {
    scope.inspect(name)?["State"]["Pid"].as_u64().context("State.Pid")
}

/// A container that counts into its log, and says in a shared file how far it has come.
fn chatty(scope: &Scope<'_>) -> Result<()> {
    let shared = scope.directory()?.to_owned();
    let volume = format!("{}:/shared", shared.display());
    let script = "i=0; while [ ! -e /shared/stop ]; do i=$((i+1)); echo line $i; echo $i > /shared/count; done; echo end";
    let name = scope.start("chatty", &["-v", &volume], &["sh", "-c", script])?;
    let count = || {
        std::fs::read_to_string(shared.join("count"))
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    let advance = |by: u64| {
        let goal = count() + by;
        eventually(&format!("{by} more lines"), || Ok((count() > goal).then_some(())))
    };
    advance(500)?;
    let before = pid(scope, &name)?;
    crash(scope)?;
    advance(2000)?;
    revive(scope)?;
    advance(500)?;
    same("the same process", pid(scope, &name)?, before)?;
    std::fs::write(shared.join("stop"), "")?;
    scope.ended(&name)?;
    let text = scope.ok(&["logs", &name])?;
    let total = count();
    let expected: String = (1..=total).map(|number| format!("line {number}\n")).collect::<String>() + "end";
    same("lines", text.lines().count() as u64, total + 1)?;
    same("every line in order", text == expected, true)
}

/// Waits until a process is gone; it is not ours, so /proc is asked.
fn gone(pid: u64) -> Result<()> {
    let path = format!("/proc/{pid}/stat");
    eventually(&format!("the end of process {pid}"), || {
        let stat = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
        Ok((stat.is_empty() || stat.contains(") Z ")).then_some(()))
    })
}

fn health(scope: &Scope<'_>) -> Result<()> {
    let flags = ["--health-cmd", "test ! -e /ill", "--health-interval", "200ms", "--health-retries", "1"];
    let name = scope.start("asked", &flags, &["sleep", "300"])?;
    let status = || -> Result<String> {
        Ok(scope.inspect(&name)?["State"]["Health"]["Status"].as_str().unwrap_or_default().to_owned())
    };
    let becomes = |wanted: &str| eventually(wanted, || Ok((status()? == wanted).then_some(())));
    becomes("healthy")?;
    scope.ok(&["exec", &name, "touch", "/ill"])?;
    becomes("unhealthy")?;
    crash_and_revive(scope)?;
    scope.since_new_engines("it forgets")?;
    same("kept", status()?, "unhealthy".to_owned())?;
    scope.ok(&["exec", &name, "rm", "/ill"])?;
    becomes("healthy")
}

const UNTIL_TOLD: &str = "while [ ! -e /shared/go ]; do sleep 0.02; done; echo told; exit 7";

fn ended_meanwhile(scope: &Scope<'_>) -> Result<()> {
    let shared = scope.directory()?.to_owned();
    let name = scope.start(
        "ending",
        &["-v", &format!("{}:/shared", shared.display())],
        &["sh", "-c", UNTIL_TOLD],
    )?;
    let process = pid(scope, &name)?;
    crash(scope)?;
    let early = now()?;
    std::fs::write(shared.join("go"), "")?;
    gone(process)?;
    let late = now()?;
    revive(scope)?;
    let state = scope.ended(&name)?;
    same("ExitCode", &state["ExitCode"], &json!(7))?;
    let finished = state["FinishedAt"].as_str().unwrap_or_default().to_owned();
    same("wait", scope.ok(&["wait", &name])?, "7")?;
    scope.since_new_engines(
        "it loses what is written meanwhile, and takes the time of its own return for the end",
    )?;
    same("log", scope.ok(&["logs", &name])?, "told")?;
    same(&format!("{early} <= {finished} <= {late}"), early <= finished && finished[..19] <= late[..19], true)
}

/// The time in UTC to the second, as the API prints it.
fn now() -> Result<String> {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn works_on(scope: &Scope<'_>) -> Result<()> {
    let script = "trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.02; done";
    let name = scope.start("adopted", &[], &["sh", "-c", script])?;
    scope.logged(&name, "ready")?;
    crash_and_revive(scope)?;
    same("exec", scope.ok(&["exec", &name, "echo", "inside"])?, "inside")?;
    same("logs", scope.ok(&["logs", &name])?, "ready")?;
    scope.ok(&["stop", &name])?;
    same("wait", scope.ok(&["wait", &name])?, "5")?;
    same("logs", scope.ok(&["logs", &name])?, "ready\nterm")
}

fn records(scope: &Scope<'_>) -> Result<()> {
    let running = scope.start("r", &["-l", "kept=yes"], &["sleep", "300"])?;
    let ended = scope.start("e", &[], &["sh", "-c", "echo out; exit 4"])?;
    scope.ended(&ended)?;
    let created = scope.name("c");
    scope.ok(&["create", "--name", &created, BUSYBOX, "echo", "late"])?;
    let inspect = |name: &str| -> Result<serde_json::Value> { scope.inspect(name) };
    let before = [inspect(&running)?, inspect(&ended)?, inspect(&created)?];
    crash_and_revive(scope)?;
    let after = [inspect(&running)?, inspect(&ended)?, inspect(&created)?];
    for (before, after) in before.iter().zip(&after) {
        for key in ["Id", "Name", "Config", "HostConfig", "Path", "Args", "Created", "Image"] {
            same(key, &after[key], &before[key])?;
        }
        same(
            "State",
            (&after["State"]["Status"], &after["State"]["ExitCode"], &after["State"]["Pid"]),
            (&before["State"]["Status"], &before["State"]["ExitCode"], &before["State"]["Pid"]),
        )?;
    }
    same("log", scope.ok(&["logs", &ended])?, "out")?;
    same("start of the created one", scope.ok(&["start", "-a", &created])?, "late")
}

fn late_removal(scope: &Scope<'_>) -> Result<()> {
    let shared = scope.directory()?.to_owned();
    let name = scope.start(
        "leaving",
        &["--rm", "-v", &format!("{}:/shared", shared.display())],
        &["sh", "-c", UNTIL_TOLD],
    )?;
    let process = pid(scope, &name)?;
    crash(scope)?;
    std::fs::write(shared.join("go"), "")?;
    gone(process)?;
    revive(scope)?;
    scope.eventually("the removal", || {
        Ok((scope.api("GET", &format!("/containers/{name}/json"))?.status == 404).then_some(()))
    })
}

fn ports(scope: &Scope<'_>) -> Result<()> {
    let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port();
    let script = "echo ready; while :; do echo hello | nc -l -p 80; done";
    let name = scope.start("server", &["-p", &format!("{port}:80")], &["sh", "-c", script])?;
    scope.logged(&name, "ready")?;
    let answers = || {
        eventually("an answer", || {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let text = TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2))
                .and_then(std::io::read_to_string);
            Ok(text.is_ok_and(|text| text == "hello\n").then_some(()))
        })
    };
    answers()?;
    crash(scope)?;
    let dead = if scope.engine.is_old() { Ok(()) } else { answers() };
    revive(scope)?;
    dead.context("while the daemon is dead")?;
    answers().context("after its return")?;
    let output = scope.run(&["-p", &format!("{port}:80")], &["true"])?.expect_code(125)?;
    contains("the port is still taken", &output.stderr, "port is already allocated")
}

fn many_kills(scope: &Scope<'_>) -> Result<()> {
    let name =
        scope.start("survivor", &["--init"], &["sh", "-c", "echo ready; while :; do sleep 0.02; done"])?;
    scope.logged(&name, "ready")?;
    let process = pid(scope, &name)?;
    for _ in 0..10 {
        crash_and_revive(scope)?;
    }
    same("process", pid(scope, &name)?, process)?;
    same("exec", scope.ok(&["exec", &name, "echo", "inside"])?, "inside")?;
    scope.ok(&["kill", &name])?;
    same("ExitCode", &scope.ended(&name)?["ExitCode"], &json!(137))
}

fn stop_and_start(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("kept", &[], &["sleep", "300"])?;
    let process = pid(scope, &name)?;
    let status = with_daemon(scope, Daemon::stop)?;
    same("exit code of the daemon", status.code(), Some(0))?;
    revive(scope)?;
    same("process", pid(scope, &name)?, process)?;
    same("exec", scope.ok(&["exec", &name, "echo", "inside"])?, "inside")
}

fn networks_survive(scope: &Scope<'_>) -> Result<()> {
    let network = scope.name("net");
    scope.ok(&["network", "create", "--subnet", "10.212.0.0/24", "--label", "a=b", &network])?;
    let before = scope.api("GET", &format!("/networks/{network}"))?.expect(200)?.json()?;
    let flags = ["--network", &network, "--network-alias", "other"];
    let one = scope.start("one", &flags, &["sleep", "300"])?;
    let two = scope.start("two", &["--network", &network], &["sleep", "300"])?;
    crash(scope)?;
    revive(scope)?;
    scope.ok(&["exec", &two, "nslookup", "other"])?;
    scope.ok(&["exec", &two, "ping", "-c", "1", "-W", "5", &one])?;
    // Its address is not given again.
    let third = scope.start("three", &["--network", &network], &["sleep", "300"])?;
    scope.ok(&["exec", &third, "ping", "-c", "1", "-W", "5", "other"])?;
    scope.ok(&["rm", "-f", &one, &two, &third])?;
    let after = scope.api("GET", &format!("/networks/{network}"))?.expect(200)?.json()?;
    same("the network", after, before)
}

fn mounted(scope: &Scope<'_>) -> Result<()> {
    let here = scope.directory()?.join("bound");
    std::fs::create_dir_all(&here)?;
    std::fs::write(here.join("f"), "bound")?;
    let (memory, bound) = (scope.name("memory"), scope.name("bound"));
    let create = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m"];
    scope.ok(&[&create[..], &[&memory]].concat())?;
    let device = format!("device={}", here.display());
    scope.ok(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, &bound])?;
    let mounts = [format!("{memory}:/m"), format!("{bound}:/b")];
    let flags = ["-v", &mounts[0], "-v", &mounts[1]];
    let first = scope.start("first", &flags, &["sleep", "300"])?;
    scope.ok(&["exec", &first, "sh", "-c", "echo kept > /m/f"])?;
    let seen = |container: &str| scope.ok(&["exec", container, "cat", "/m/f", "/b/f"]);
    same("before", seen(&first)?.as_str(), "kept\nbound")?;
    crash(scope)?;
    revive(scope)?;
    same("of a container from before", seen(&first)?.as_str(), "kept\nbound")?;
    let second = scope.start("second", &flags, &["sleep", "300"])?;
    same("of one that comes after", seen(&second)?.as_str(), "kept\nbound")?;
    let refused = scope.docker(&["volume", "rm", &memory])?;
    contains("in use", &refused.stderr, "volume is in use")?;
    // The last one ends while nobody is there to see it.
    scope.ok(&["rm", "-f", &second])?;
    let process = pid(scope, &first)?;
    crash(scope)?;
    std::process::Command::new("kill").args(["-KILL", &process.to_string()]).status()?;
    revive(scope)?;
    scope.ended(&first)?;
    scope.ok(&["start", &first])?;
    let left = scope.ok(&["exec", &first, "ls", "/m", "/b"])?;
    same("memory whose last user has ended", left.as_str(), "/b:\nf\n\n/m:")?;
    scope.ok(&["rm", "-f", &first])?;
    scope.ok(&["volume", "rm", &memory, &bound])?;
    same("the directory stays", std::fs::read_to_string(here.join("f"))?.as_str(), "bound")
}

/// Connects without pause until told to end; how many connections were refused or not answered.
fn knock(port: u16, stop: &std::sync::atomic::AtomicBool) -> (u32, Vec<String>) {
    use std::io::Read;
    let (mut served, mut failures) = (0, Vec::new());
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let place = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let outcome = std::net::TcpStream::connect_timeout(&place, std::time::Duration::from_secs(5));
        let read = outcome.and_then(|mut stream| {
            stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
            stream.read(&mut [0; 16])
        });
        match read {
            Ok(length) if length > 0 => served += 1,
            other => failures.push(format!("{other:?}")),
        }
    }
    (served, failures)
}

fn port_stays_open(scope: &Scope<'_>) -> Result<()> {
    let server = "echo ready; exec nc -ll -p 80 -e echo hello";
    let name = scope.start("open", &["-p", "127.0.0.1::80"], &["sh", "-c", server])?;
    scope.logged(&name, "ready")?;
    let port: u16 = scope.inspect(&name)?["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
        .as_str()
        .context("HostPort")?
        .parse()?;
    eventually("an answer", || Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())))?;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (served, failures) = std::thread::scope(|threads| {
        let knocking = threads.spawn(|| knock(port, &stop));
        let restarted = (0..3).try_for_each(|_| crash_and_revive(scope));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let knocked = knocking.join().map_err(|_| anyhow::anyhow!("the knocking thread panicked"));
        restarted.and(knocked)
    })?;
    same("connections that failed", failures, Vec::<String>::new())?;
    same("some were served", served > 0, true)
}

fn flushed_rules(scope: &Scope<'_>) -> Result<()> {
    let server = "echo ready; exec nc -ll -p 80 -e echo hello";
    let name = scope.start("flushed", &["-p", "127.0.0.1::80"], &["sh", "-c", server])?;
    scope.logged(&name, "ready")?;
    let rules = || -> Result<String> {
        let output = std::process::Command::new("nft").args(["list", "table", "inet", "berth"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let before = rules()?;
    for script in
        ["flush ruleset", "flush chain inet berth forward", "flush map inet berth published4_on_address"]
    {
        // Where the kernel keeps them for the daemon, they are not even gone.
        crate::hosts::meddle(&[], script)?;
        eventually("the rules are back", || Ok((rules()? == before).then_some(())))?;
    }
    Ok(())
}
