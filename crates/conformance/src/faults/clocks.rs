//! A clock that jumps, forwards and back, while daemon and containers are at work: nothing of them counts by it. Only when
//! asked for, and on a machine that is nobody else's: there is one clock for all.

use super::api::Api;
use super::ground::Ground;
use super::operations::ask;
use crate::fixture::BUSYBOX;
use crate::http::{Request, Streaming};
use crate::scope::eventually;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the clock jumps to, in seconds from where it would be: a little and far, forwards and back, and before everything.
const JUMPS: &[i64] = &[90, -90, 86_400, -86_400, 40_000_000, -40_000_000, 0];
/// Seconds of grace of a stop that a jump falls into.
const GRACE: u64 = 3;

/// The clock of the machine, which is put right in the end.
struct Clock {
    began: Instant,
    at: Duration,
}

impl Clock {
    fn now() -> Result<Self> {
        Ok(Self { began: Instant::now(), at: SystemTime::now().duration_since(UNIX_EPOCH)? })
    }

    /// Sets it to so many seconds after what it would be, or before.
    fn jump(&self, by: i64) -> Result<()> {
        let right = i64::try_from((self.at + self.began.elapsed()).as_secs())?;
        let output = Command::new("date").args(["-u", "-s", &format!("@{}", right + by)]).output()?;
        ensure!(output.status.success(), "date: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Err(error) = self.jump(0) {
            eprintln!("the clock stays wrong: {error:#}");
        }
    }
}

/// Jumps; how much went wrong.
pub(super) fn run(ground: &mut Ground) -> Result<usize> {
    let clock = Clock::now()?;
    ground.api.start("well", &well())?;
    ground.api.start("talker", &talker())?;
    let mut failed = 0;
    for by in JUMPS {
        match jump(ground, &clock, *by) {
            Ok(()) => println!("ok      the clock jumps to {by:+} s"),
            Err(error) => {
                println!("FAILED  the clock jumps to {by:+} s: {error:#}");
                failed += 1;
            }
        }
    }
    drop(clock);
    let lines = numbers(&ground.api.logs("talker")?)?;
    ensure!(lines.first() == Some(&1), "the first line of the log is gone");
    for name in ["well", "talker"] {
        ground.api.remove(name)?;
    }
    for line in ground.leftovers()? {
        println!("FAILED  left behind: {line}");
        failed += 1;
    }
    Ok(failed)
}

fn well() -> Value {
    json!({
        "Image": BUSYBOX,
        "Cmd": ["sleep", "100000"],
        "Healthcheck": { "Test": ["CMD-SHELL", "echo x >> /probes"], "Interval": 200_000_000 },
    })
}

/// Ends at once, and is started again.
fn restless() -> Value {
    json!({
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", "exit 1"],
        "HostConfig": { "RestartPolicy": { "Name": "always" } },
    })
}

/// Says a number, and the next one.
fn talker() -> Value {
    json!({ "Image": BUSYBOX, "Cmd": ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"] })
}

/// The numbers of a log, which must come one after the other.
fn numbers(log: &str) -> Result<Vec<u64>> {
    let all: Vec<u64> = log.lines().map(str::parse).collect::<Result<_, _>>().context("a line of the log")?;
    ensure!(all.windows(2).all(|two| two[1] == two[0] + 1), "lines are missing or out of order: {all:?}");
    Ok(all)
}

fn jump(ground: &mut Ground, clock: &Clock, by: i64) -> Result<()> {
    let socket = ground.daemon.setup().socket();
    let api = ground.api.clone();
    // What an earlier jump that went wrong has left.
    api.remove("restless")?;
    api.remove("deaf")?;
    api.start("restless", &restless())?;
    api.start("deaf", &json!({ "Image": BUSYBOX, "Cmd": ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"] }))?;
    eventually("a container that hears nothing", || Ok(api.logs("deaf")?.contains("ready").then_some(())))?;
    let mut events = Request::new("GET", "/events").open(&socket)?;
    let mut follower =
        Request::new("GET", "/containers/talker/logs?follow=1&stdout=1&tail=1").open(&socket)?;
    let before = Counts::of(&api)?;
    std::thread::scope(|threads| {
        let stop = threads.spawn(|| {
            let began = Instant::now();
            ask(&api, &format!("/containers/deaf/stop?t={GRACE}")).map(|()| began.elapsed())
        });
        clock.jump(by)?;
        let took = stop.join().unwrap_or_else(|_| Err(anyhow!("a client panicked")))?;
        ensure!(took >= Duration::from_secs(GRACE), "a stop waited {:.1} s of {GRACE}", took.as_secs_f64());
        Ok(())
    })?;
    goes_on(&api, &before)?;
    hears(&mut events, b"\"Action\":\"stop\"").context("the subscriber of events")?;
    let line = format!("\n{}\n", before.lines + 5);
    hears_line(&mut follower, &line).context("the follower of the log")?;
    answers(&api)?;
    // The next daemon takes over all of it.
    ground.daemon.kill_hard()?;
    ground.revive()?;
    // The pauses of the first one have become long.
    api.remove("restless")?;
    api.start("restless", &restless())?;
    let before = Counts::of(&api)?;
    goes_on(&api, &before).context("after another daemon has come")?;
    numbers(&api.logs("talker")?)?;
    api.remove("restless")?;
    api.remove("deaf")
}

/// How far things have come.
#[derive(Debug)]
struct Counts {
    probes: usize,
    restarts: u64,
    lines: u64,
}

impl Counts {
    fn of(api: &Api) -> Result<Self> {
        let restless = api.get("/containers/restless/json")?.expect(200)?.json()?;
        Ok(Self {
            probes: api.exec("well", &["sh", "-c", "cat /probes; true"])?.lines().count(),
            restarts: restless["RestartCount"].as_u64().context("RestartCount")?,
            lines: numbers(&api.logs("talker")?)?.last().copied().unwrap_or_default(),
        })
    }
}

/// Health checks are made, the restart policy restarts, the log grows.
fn goes_on(api: &Api, before: &Counts) -> Result<()> {
    let mut last = None;
    let went_on = eventually("more of everything", || {
        let now = Counts::of(api)?;
        let is_more =
            now.probes > before.probes + 2 && now.restarts > before.restarts && now.lines > before.lines + 5;
        last = Some(now);
        Ok(is_more.then_some(()))
    });
    went_on.with_context(|| format!("{before:?} became {last:?}"))?;
    let state = api.state("well")?.unwrap_or_default();
    ensure!(state["Health"]["Status"] == "healthy", "its health: {}", state["Health"]["Status"]);
    Ok(())
}

/// Questions about times end, and say what they are asked for.
fn answers(api: &Api) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let logs = |query: &str| api.get(&format!("/containers/talker/logs?stdout=1&{query}"))?.expect(200);
    logs(&format!("since={now}"))?;
    logs(&format!("until={now}"))?;
    ensure!(!logs("since=0")?.body.is_empty(), "logs since ever are empty");
    ensure!(logs("until=1")?.body.is_empty(), "there are logs of 1970");
    ensure!(!logs("tail=3")?.body.is_empty(), "the last lines are none");
    api.get(&format!("/events?since={}&until={now}", now.saturating_sub(5)))?.expect(200)?;
    // Until a moment that is still to come.
    api.get(&format!("/events?since={now}&until={}", now + 2))?.expect(200)?;
    for path in
        ["/containers/json?all=1", "/containers/deaf/json", "/containers/well/stats?stream=0", "/info"]
    {
        api.get(path)?.expect(200)?;
    }
    Ok(())
}

/// Reads until something has come.
fn hears(stream: &mut Streaming, wanted: &[u8]) -> Result<()> {
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while !heard.windows(wanted.len()).any(|window| window == wanted) {
        let length = stream.read(&mut piece)?;
        ensure!(length > 0, "it has ended: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..length]);
    }
    Ok(())
}

/// The same of a line in frames of eight bytes and what follows them.
fn hears_line(stream: &mut Streaming, line: &str) -> Result<()> {
    let mut heard = String::from("\n");
    while !heard.contains(line) {
        let mut head = [0; 8];
        stream.read_exact(&mut head).with_context(|| format!("after {heard:?}"))?;
        let mut body = vec![0; u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize];
        stream.read_exact(&mut body)?;
        heard.push_str(&String::from_utf8_lossy(&body));
    }
    Ok(())
}

/// Whether the clock is ours to set.
pub(super) fn may_jump() -> bool {
    // A virtual machine that was made for a run has its plan here.
    Path::new("/payload/steps.json").exists()
}
