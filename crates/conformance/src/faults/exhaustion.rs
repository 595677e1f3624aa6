//! What a daemon needs runs out: room and names on the disk, processes, descriptors, memory. What cannot be done is refused
//! in words that say what is missing, the world is on one side of it, and all goes on by itself once there is more.

mod group;
mod memory;
mod read_only;

use super::disks::call;
use super::ground::Ground;
use super::operations::{Operation, Side, ready, service};
use super::random::Random;
use super::steps::choose;
use crate::daemon::{Daemon, Setup};
use crate::fixture::Archives;
use crate::scope::eventually;
use anyhow::{Context, Result, ensure};
use group::Group;
use linux::pidfd::PidFd;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The disk of the daemon under test: this large, and with so many names. Some of it is kept free by the daemon.
const DISK: &str = "size=400m,nr_inodes=8000,mode=0755";
/// A refusal takes no longer than this.
const PROMPT: Duration = Duration::from_secs(30);

/// One thing that runs out.
struct Shortage {
    name: &'static str,
    /// Uses up what there is, or sets a limit to it.
    take: fn(&Ground) -> Result<()>,
    /// Gives it back.
    give: fn(&Ground) -> Result<()>,
    /// What a refusal says, one of these.
    words: &'static [&'static str],
}

/// What nobody asks for is not refused either: whoever waits for it waits until there is more.
const UNASKED: &[&str] = &["another start by policy", "the end of one that removes itself"];

const NO_ROOM: &[&str] = &["no space left", "No space left", "ENOSPC"];

const SHORTAGES: &[Shortage] = &[
    Shortage { name: "room on the disk", take: fill, give: empty, words: NO_ROOM },
    Shortage { name: "names on the disk", take: use_up_names, give: empty, words: NO_ROOM },
    Shortage {
        name: "descriptors",
        take: |ground| limit_descriptors(ground, Some(2)),
        give: |ground| limit_descriptors(ground, None),
        words: &["too many open files", "Too many open files", "EMFILE", "too many connections"],
    },
    Shortage {
        name: "processes",
        take: |ground| limit_processes(ground, true),
        give: |ground| limit_processes(ground, false),
        words: &["temporarily unavailable", "EAGAIN", "fork"],
    },
];

/// Tries each operation in each shortage, at most `limit` operations in each; how many went wrong.
pub(super) fn run(
    others: &Setup,
    archives: &Archives,
    operations: &[Operation],
    limit: Option<usize>,
    random: &mut Random,
) -> Result<usize> {
    let setup = Setup { directory: others.directory.with_file_name("small"), ..others.clone() };
    let disk = setup.data_root();
    fs::create_dir_all(&disk)?;
    call("mount", &["-t", "tmpfs", "-o", DISK, "berth-test-disk", &disk.display().to_string()])?;
    let mut ground = Ground::prepare(Daemon::start(setup)?, archives)?;
    let operations: Vec<&Operation> = operations.iter().filter(|one| !UNASKED.contains(&one.name)).collect();
    let operations = operations.as_slice();
    let mut failed = 0;
    for shortage in SHORTAGES {
        let (mut tried, mut refused, mut wrong) = (0, 0, 0);
        for at in choose(operations.len().saturating_sub(1), limit, random) {
            let operation = operations[at - 1];
            tried += 1;
            match attempt(&mut ground, shortage, operation) {
                Ok(was_refused) => refused += usize::from(was_refused),
                Err(error) => {
                    println!("FAILED  {} without {}: {error:#}", operation.name, shortage.name);
                    wrong += 1;
                    (shortage.give)(&ground)?;
                    ground.begin_anew()?;
                }
            }
        }
        wrong += report(return_in(&mut ground, shortage), "a new daemon", shortage.name);
        wrong += report(run_again_in(&mut ground, shortage), "what is always to run,", shortage.name);
        let verdict = if wrong == 0 { "ok    " } else { "FAILED" };
        println!(
            "{verdict}  no {} left: {tried} operations, {refused} refused, {wrong} wrong",
            shortage.name
        );
        failed += wrong;
    }
    failed += report(started_read_only(&mut ground), "a daemon", "a disk that can be written");
    failed += report(memory::daemon(&mut ground), "a daemon", "memory");
    failed += memory::run(&mut ground, operations, limit, random)?;
    failed += ground.close()?;
    call("umount", &[&disk.display().to_string()])?;
    failed += read_only::run(others, archives, operations, limit, random)?;
    Ok(failed)
}

fn report(outcome: Result<()>, what: &str, shortage: &str) -> usize {
    match outcome {
        Ok(()) => {
            println!("ok      {what} without {shortage}");
            0
        }
        Err(error) => {
            println!("FAILED  {what} without {shortage}: {error:#}");
            1
        }
    }
}

/// One operation in need; whether it was refused.
fn attempt(ground: &mut Ground, shortage: &Shortage, operation: &Operation) -> Result<bool> {
    (operation.prepare)(&ground.api).context("prepare")?;
    (shortage.take)(ground).context("use it up")?;
    let began = Instant::now();
    let made = (operation.act)(&ground.api);
    let took = began.elapsed();
    (shortage.give)(ground).context("give it back")?;
    ensure!(took < PROMPT, "an answer took {:.1} s", took.as_secs_f64());
    if let Err(refusal) = &made {
        let mut words = format!("{refusal:#}");
        if words.contains("reset by peer") {
            // It was refused before everything was sent: the reason is in the daemon's own log.
            words.push_str(&ground.daemon.last_words());
        }
        ensure!(
            shortage.words.iter().any(|expected| words.contains(expected)),
            "refused without the reason {:?}: {words}",
            shortage.words[0]
        );
    }
    let side = (operation.judge)(&ground.api)?;
    ensure!(made.is_err() || side == Side::After, "acknowledged, and not done");
    (operation.finish)(&ground.api, side).with_context(|| format!("working on, {side:?}"))?;
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind:\n        {}", left.join("\n        "));
    Ok(made.is_err())
}

/// What is to run again without being asked does so once it can.
fn run_again_in(ground: &mut Ground, shortage: &Shortage) -> Result<()> {
    let api = &ground.api;
    let mut body = service();
    body["HostConfig"] = json!({ "RestartPolicy": { "Name": "always" } });
    api.start("tireless", &body)?;
    ready(api, "tireless")?;
    let pid = api.state("tireless")?.unwrap_or_default()["Pid"].as_u64().context("its process")?;
    let program = PidFd::open(u32::try_from(pid)?)?.context("its process has ended")?;
    (shortage.take)(ground)?;
    program.send(9)?;
    // Until another run has failed, or has begun all the same.
    let tried = eventually("another run", || {
        let container = ground.api.get("/containers/tireless/json")?.expect(200)?.json()?;
        let runs = container["State"]["Pid"].as_u64().is_some_and(|other| other != 0 && other != pid);
        Ok((runs || container["RestartCount"].as_i64() > Some(1)).then_some(()))
    });
    (shortage.give)(ground)?;
    tried?;
    eventually("it to run again", || Ok((ground.api.status("tireless")? == "running").then_some(())))
        .with_context(|| format!("{:?}", ground.api.state("tireless")))?;
    ground.api.remove("tireless")
}

/// A daemon that comes back in need serves, or says why not; then there is more, and it serves.
fn return_in(ground: &mut Ground, shortage: &Shortage) -> Result<()> {
    if !NO_ROOM.iter().any(|word| shortage.words.contains(word)) {
        return Ok(());
    }
    ground.daemon.kill_hard()?;
    (shortage.take)(ground)?;
    let came = ground.revive();
    (shortage.give)(ground)?;
    if let Err(error) = came {
        let words = format!("{error:#}");
        ensure!(shortage.words.iter().any(|expected| words.contains(expected)), "it says {words}");
        ground.revive()?;
    }
    ground.api.get("/containers/json?all=1")?.expect(200)?;
    ground.api.clear()
}

/// A daemon on a disk that cannot be written says so, and serves once it can be.
fn started_read_only(ground: &mut Ground) -> Result<()> {
    let disk = ground.daemon.setup().data_root().display().to_string();
    ground.daemon.stop()?;
    call("mount", &["-o", "remount,ro", &disk])?;
    let came = ground.revive();
    if came.is_ok() {
        ground.daemon.kill_hard()?;
    }
    call("mount", &["-o", "remount,rw", &disk])?;
    ground.revive()?;
    ground.api.clear()?;
    match came {
        Ok(()) => Ok(()),
        Err(error) if format!("{error:#}").to_lowercase().contains("read-only") => Ok(()),
        Err(error) => Err(error.context("it does not say that the file system is read-only")),
    }
}

fn ballast(ground: &Ground) -> PathBuf {
    ground.daemon.setup().data_root().join("ballast")
}

fn fill(ground: &Ground) -> Result<()> {
    let directory = ballast(ground);
    fs::create_dir_all(&directory)?;
    let mut file = fs::File::create(directory.join("room"))?;
    for size in [1 << 20, 4096, 1] {
        let block = vec![1; size];
        while file.write(&block).is_ok_and(|written| written == size) {}
    }
    Ok(())
}

fn use_up_names(ground: &Ground) -> Result<()> {
    let directory = ballast(ground);
    fs::create_dir_all(&directory)?;
    let mut number = 0;
    while fs::File::create(directory.join(number.to_string())).is_ok() {
        number += 1;
        ensure!(number < 100_000, "a disk with names without end");
    }
    Ok(())
}

fn empty(ground: &Ground) -> Result<()> {
    let directory = ballast(ground);
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// Lets the daemon open this many descriptors more, or as many as we may.
fn limit_descriptors(ground: &Ground, more: Option<usize>) -> Result<()> {
    let process = ground.daemon.pid();
    let limits = fs::read_to_string(format!("/proc/{process}/limits"))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("Max open files")?;
    let hard = line.split_whitespace().nth(4).context("a hard limit")?;
    let number = match more {
        Some(more) => (fs::read_dir(format!("/proc/{process}/fd"))?.count() + more).to_string(),
        None => hard.to_owned(),
    };
    call("prlimit", &["--pid", &process.to_string(), &format!("--nofile={number}:")])
}

/// Lets the daemon start no process or thread any more, or as many as it likes.
fn limit_processes(ground: &Ground, is_short: bool) -> Result<()> {
    let group = Group::of("pids", ground.daemon.pid())?;
    if is_short {
        let now = fs::read_to_string(group.file("pids.current"))?;
        return Ok(fs::write(group.file("pids.max"), now.trim())?);
    }
    group.remove()
}
