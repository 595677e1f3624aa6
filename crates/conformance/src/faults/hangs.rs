//! A disk that takes nothing: the daemon's files are on a file system that is frozen (fsfreeze(8)), so that whoever writes
//! or syncs waits. What only asks is answered meanwhile, and what was asked to be done is done once the disk goes on.

use super::api::Api;
use super::disks::Disk;
use super::ground::Ground;
use super::operations::{ask, running, service};
use super::parts;
use crate::areas::hang_questions;
use crate::daemon::{Daemon, Setup};
use crate::fixture::Archives;
use crate::http::Request;
use anyhow::{Context, Result, anyhow, ensure};
use std::time::{Duration, Instant};

/// What an answer takes on a quiet machine at most. More than that is counted, and fails only when nothing comes at all.
const AIM: Duration = Duration::from_millis(100);
/// How often everything is asked.
const ROUNDS: usize = 20;
/// Clients that read nothing.
const SILENT: usize = 12;

/// Asks while the disk is frozen; how much went wrong.
pub(super) fn run(setup: &Setup, archives: &Archives) -> Result<usize> {
    let setup = Setup { directory: setup.directory.with_file_name("slow"), ..setup.clone() };
    let disk = Disk::mount(&setup.data_root())?;
    let mut ground = Ground::prepare(Daemon::start(setup)?, archives)?;
    let parts: [(&str, Part); 3] = [
        ("a disk that takes nothing", frozen),
        ("a disk that takes nothing while much is to be done", frozen_at_work),
        ("clients that read nothing", silent),
    ];
    let mut failed = parts::run(&mut ground, &parts, |ground, part| {
        let Slow { asked, slowest, over } = part(ground, &disk)?;
        let (slowest, aim) = (slowest.as_secs_f64() * 1000.0, AIM.as_millis());
        Ok(format!("{asked} questions, the slowest took {slowest:.1} ms, {over} more than {aim} ms"))
    })?;
    failed += ground.close()?;
    disk.unmount()?;
    Ok(failed)
}

type Part = fn(&Ground, &Disk) -> Result<Slow>;

/// How long answers took.
struct Slow {
    asked: usize,
    slowest: Duration,
    over: usize,
}

/// Asks everything that must be answered whatever hangs.
fn ask_everything(api: &Api, container: &str) -> Result<Slow> {
    let mut slow = Slow { asked: 0, slowest: Duration::ZERO, over: 0 };
    for _ in 0..ROUNDS {
        for path in hang_questions(container) {
            let began = Instant::now();
            api.get(&path)?.expect(200).with_context(|| path.clone())?;
            let took = began.elapsed();
            slow.asked += 1;
            slow.slowest = slow.slowest.max(took);
            slow.over += usize::from(took > AIM);
        }
    }
    Ok(slow)
}

fn frozen(ground: &Ground, disk: &Disk) -> Result<Slow> {
    running(&ground.api, "witness")?;
    let still = disk.freeze()?;
    let answered = ask_everything(&ground.api, "witness");
    still.go_on()?;
    let answered = answered?;
    // What it wrote meanwhile is not lost.
    super::operations::end(&ground.api, "witness")?;
    Ok(answered)
}

/// A creation, a start and a stop wait for the disk, and are done when it goes on.
fn frozen_at_work(ground: &Ground, disk: &Disk) -> Result<Slow> {
    let api = &ground.api;
    running(api, "witness")?;
    running(api, "ending")?;
    api.create("waiting", &service())?;
    let still = disk.freeze()?;
    let (answered, done) = std::thread::scope(|threads| {
        let works: [Box<dyn Fn() -> Result<()> + Send>; 4] = [
            Box::new(|| api.create("late", &service())),
            Box::new(|| ask(api, "/containers/waiting/start")),
            Box::new(|| ask(api, "/containers/ending/stop?t=20")),
            Box::new(|| super::images::import(api)),
        ];
        let works: Vec<_> = works.into_iter().map(|work| threads.spawn(work)).collect();
        let answered = ask_everything(api, "witness");
        let thawed = still.go_on();
        let mut done = thawed;
        for work in works {
            let outcome = work.join().unwrap_or_else(|_| Err(anyhow!("a client panicked")));
            done = done.and(outcome);
        }
        (answered, done)
    });
    let answered = answered?;
    done.context("what was asked while the disk took nothing")?;
    ensure!(api.status("late")? == "created", "late is {}", api.status("late")?);
    ensure!(api.status("ending")? == "exited", "ending is {}", api.status("ending")?);
    for name in ["late", "waiting", "ending", "witness"] {
        api.remove(name)?;
    }
    super::images::remove(api, super::images::SMALL)?;
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    Ok(answered)
}

fn silent(ground: &Ground, _: &Disk) -> Result<Slow> {
    let api = &ground.api;
    let mut chatty = service();
    chatty["Cmd"] =
        serde_json::json!(["sh", "-c", "while :; do echo a line that fills what is between us; done"]);
    chatty["HostConfig"] =
        serde_json::json!({ "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } } });
    api.start("chatty", &chatty)?;
    let paths = ["/containers/chatty/logs?follow=1&stdout=1", "/events", "/containers/chatty/stats"];
    let held: Vec<_> = paths
        .iter()
        .cycle()
        .take(SILENT)
        .map(|path| Request::new("GET", path).open(&ground.daemon.setup().socket()))
        .collect::<Result<_>>()?;
    let answered = ask_everything(api, "chatty");
    drop(held);
    api.remove("chatty")?;
    answered
}
