//! Crashes while the daemon itself comes or goes: at each step of a start after a crash, when there is much to be put right,
//! and of an orderly end. The next start finds a world that is half put right, and puts it right.

use super::api::Api;
use super::ground::Ground;
use super::halted::Halted;
use super::operations::{SERVICE, Side, ask, end, ready, running, service};
use super::random::Random;
use super::steps::{choose, observed, watched};
use super::{images, volumes};
use crate::fixture::BUSYBOX;
use crate::scope::eventually;
use anyhow::{Context, Result, bail, ensure};
use linux::pidfd::PidFd;
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::time::Duration;

const SIGTERM: i32 = 15;
/// How long a daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The port of the container that is reached from outside.
const PORT: u16 = 38083;

/// The daemon comes, or goes.
#[derive(Debug, Clone, Copy)]
enum Passage {
    Start,
    End,
}

/// Crashes at the steps of both, at most `limit` of them; how many tries went wrong.
pub(super) fn run(ground: &mut Ground, limit: Option<usize>, random: &mut Random) -> Result<usize> {
    let mut failed = 0;
    for (what, passage) in [("start after a crash", Passage::Start), ("an orderly end", Passage::End)] {
        furnish(ground, passage, random).context("prepare")?;
        let (made, steps) = passed(ground, passage, usize::MAX)?;
        made.with_context(|| format!("{what}, undisturbed"))?;
        settle(ground).with_context(|| format!("after {what}, undisturbed"))?;
        let chosen = choose(steps.len(), limit, random);
        let mut wrong = 0;
        for at in &chosen {
            if let Err(error) = attempt(ground, passage, *at, random) {
                println!("FAILED  {what}, crash at step {at} of about {}: {error:#}", steps.len());
                wrong += 1;
                drop(ground.daemon.kill_hard());
                ground.revive()?;
                ground.api.clear()?;
                ground.put_up_with_leftovers()?;
            }
        }
        let verdict = if wrong == 0 { "ok    " } else { "FAILED" };
        println!("{verdict}  {what}: {} of about {} steps, {wrong} wrong", chosen.len(), steps.len());
        failed += wrong;
    }
    Ok(failed)
}

fn attempt(ground: &mut Ground, passage: Passage, at: usize, random: &mut Random) -> Result<()> {
    furnish(ground, passage, random).context("prepare")?;
    let (_, steps) = passed(ground, passage, at)?;
    let place = steps.get(at - 1).map_or("at the end".to_owned(), |step| format!("before {step}"));
    settle(ground).context(place)
}

/// Containers of all kinds, of which some have ended while no daemon was there to see it, and something that is half done.
fn furnish(ground: &mut Ground, passage: Passage, random: &mut Random) -> Result<()> {
    let api = &ground.api;
    running(api, "lasting")?;
    running(api, "ended")?;
    running(api, "held")?;
    ask(api, "/containers/held/pause")?;
    begin(api, "tireless", &json!({ "RestartPolicy": { "Name": "always" } }))?;
    let mut passing = service();
    passing["HostConfig"] = json!({ "AutoRemove": true });
    passing["Volumes"] = json!({ "/nameless": {} });
    api.start("passing", &passing)?;
    ready(api, "passing")?;
    let mut served = service();
    served["Cmd"] = json!(["sh", "-c", format!("httpd -p 80 -h /; {SERVICE}")]);
    served["ExposedPorts"] = json!({ "80/tcp": {} });
    served["HostConfig"] = json!({ "PortBindings": { "80/tcp": [{ "HostPort": PORT.to_string() }] } });
    api.start("served", &served)?;
    ready(api, "served")?;
    if matches!(passage, Passage::End) {
        return Ok(());
    }
    let programs: Vec<PidFd> =
        ["ended", "tireless", "passing"].iter().map(|name| program(api, name)).collect::<Result<_>>()?;
    // Where it is cut short, the seed says; any answer is one.
    let at = 1 + random.below(40);
    drop(watched(ground.daemon.pid(), at, || half_done(&ground.api))?);
    ground.daemon.kill_hard()?;
    for program in &programs {
        program.send(SIGTERM)?;
    }
    for program in &programs {
        eventually("the end of a program without a daemon", || Ok((!program.send(0)?).then_some(())))?;
    }
    Ok(())
}

fn begin(api: &Api, name: &str, host: &Value) -> Result<()> {
    let mut body = service();
    body["HostConfig"] = host.clone();
    api.start(name, &body)?;
    ready(api, name)
}

/// The first process of a container.
fn program(api: &Api, name: &str) -> Result<PidFd> {
    let pid = api.state(name)?.unwrap_or_default()["Pid"].as_u64().context("its process")?;
    PidFd::open(u32::try_from(pid)?)?.with_context(|| format!("{name} has ended"))
}

fn half_done(api: &Api) -> Result<()> {
    let mut body = service();
    body["Volumes"] = json!({ "/nameless": {} });
    body["HostConfig"] = json!({ "Binds": ["half:/half"] });
    api.create("half", &body)?;
    images::import(api)
}

/// Lets the daemon come or go, and ends it at a step or once it is through. What came of it, and the steps.
fn passed(ground: &mut Ground, passage: Passage, at: usize) -> Result<(Result<()>, Vec<String>)> {
    let found = match passage {
        Passage::Start => {
            ground.daemon.start_again_stopped()?;
            let number = ground.daemon.pid();
            let held = Halted::of_itself(number)?;
            observed(
                &[ground.daemon.pid()],
                at,
                |_, _| {},
                || {
                    held.go_on()?;
                    answers(&ground.api, number)?;
                    // What it takes up by itself belongs to the start.
                    eventually("what is to run again", || {
                        Ok(is(&ground.api, "tireless", "running")?.then_some(()))
                    })
                },
            )
        }
        Passage::End => {
            let number = ground.daemon.pid();
            let process = PidFd::open(number)?.context("the daemon's process")?;
            observed(
                &[number],
                at,
                |_, _| {},
                || {
                    process.send(SIGTERM)?;
                    let ended =
                        linux::watch::wait(&[(process.as_fd(), linux::watch::Interest::Readable)], PATIENCE)?;
                    ensure!(ended.contains(&true), "the daemon does not end");
                    Ok(())
                },
            )
        }
    };
    ground.daemon.kill_hard()?;
    found
}

/// Waits until the daemon answers, or has ended. It is not waited for as a child: its stops are the tracer's to see.
fn answers(api: &Api, number: u32) -> Result<()> {
    eventually("an answer of the daemon", || {
        if api.get("/_ping").is_ok_and(|answer| answer.status == 200) {
            return Ok(Some(()));
        }
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        ensure!(!matches!(state, None | Some('Z' | 'X')), "the daemon has ended");
        Ok(None)
    })
}

fn is(api: &Api, name: &str, status: &str) -> Result<bool> {
    Ok(api.status(name)? == status)
}

/// Starts once more, undisturbed, and looks at everything; then removes it.
fn settle(ground: &mut Ground) -> Result<()> {
    ground.revive().context("the daemon does not come back")?;
    let api = &ground.api;
    ensure!(api.logs("lasting")? == "hello\n", "what runs has begun again: {:?}", api.logs("lasting"));
    end(api, "lasting")?;
    ensure!(is(api, "held", "paused")?, "what was paused is {}", api.status("held")?);
    end(api, "held")?;
    match (api.status("ended")?.as_str(), api.state("ended")?.unwrap_or_default()["ExitCode"].as_i64()) {
        ("exited", Some(5)) | ("running", _) => end(api, "ended")?,
        found => bail!("what ended meanwhile is {found:?}"),
    }
    eventually("what is always to run", || Ok(is(api, "tireless", "running")?.then_some(())))?;
    api.remove("tireless")?;
    eventually("what removes itself", || {
        Ok(matches!(&*api.status("passing")?, "absent" | "running").then_some(()))
    })?;
    api.remove("passing")?;
    eventually("an answer at the published port", || {
        Ok(std::net::TcpStream::connect(("127.0.0.1", PORT)).ok().map(drop))
    })?;
    end(api, "served")?;
    match api.status("half")?.as_str() {
        "absent" | "created" => api.remove("half")?,
        other => bail!("what was half made is {other}"),
    }
    if volumes::exists(api, "half")? == Side::After {
        volumes::remove(api, "half")?;
    }
    if images::exists(api, images::SMALL)? == Side::After {
        images::try_out(api, images::SMALL)?;
        images::remove(api, images::SMALL)?;
    }
    images::try_out(api, BUSYBOX)?;
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind:\n        {}", left.join("\n        "));
    Ok(())
}
