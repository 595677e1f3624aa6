//! Load, by hand: very many containers, very many clients, very many execs, subscribers that do not read. What is asked must
//! be answered all the same, and nothing may be left or held afterwards; the figures are printed, with what is aimed at by
//! a daemon that is built as it is shipped on a machine with nothing else to do.

use super::api::Api;
use super::ground::Ground;
use super::parts;
use super::random::Random;
use crate::fixture::BUSYBOX;
use crate::http::Request;
use crate::scope::eventually;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount {
    /// Containers that run at a time. Ten times as many are there without running when a daemon starts.
    pub(super) containers: usize,
    /// Execs, one after another in some threads.
    pub(super) execs: usize,
    /// Clients that ask for all kinds of things.
    pub(super) clients: usize,
    /// For how long they do.
    pub(super) length: Duration,
}

/// Threads that make and end containers.
const HANDS: usize = 4;

pub(super) fn run(ground: &mut Ground, amount: Amount, random: &mut Random) -> Result<usize> {
    let parts: [(&str, Part); 4] = [
        ("many containers", many_running),
        ("many clients", hammer),
        ("many execs", many_execs),
        ("a start", many_stopped),
    ];
    parts::run(ground, &parts, |ground, part| part(ground, amount, random).map(|()| String::new()))
}

type Part = fn(&mut Ground, Amount, &mut Random) -> Result<()>;

/// Does something with each number below `count`, some at a time.
fn each(count: usize, hands: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        let (next, work) = (&next, &work);
        let all: Vec<_> = (0..hands)
            .map(|_| {
                threads.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok(());
                        }
                        work(number).with_context(|| format!("number {number}"))?;
                    }
                })
            })
            .collect();
        all.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a client panicked"))))
    })
}

fn sleeper() -> Value {
    json!({ "Image": BUSYBOX, "Cmd": ["sleep", "100000"], "HostConfig": { "NetworkMode": "none" } })
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let value = work().with_context(|| what.to_owned())?;
    println!("        {what}: {:.3} s", began.elapsed().as_secs_f64());
    Ok(value)
}

fn list(api: &Api, query: &str) -> Result<usize> {
    let all = api.get(&format!("/containers/json?{query}"))?.expect(200)?.json()?;
    all.as_array().map(Vec::len).context("a list")
}

/// That as many containers are listed as there are.
fn lists(api: &Api, query: &str, count: usize) -> Result<()> {
    let listed = list(api, query)?;
    ensure!(listed == count, "{listed} of {count} containers are listed");
    Ok(())
}

fn whole(api: &Api, path: &str) -> Result<()> {
    api.get(path)?.expect(200).map(drop)
}

/// The median of some calls, in milliseconds.
fn median(what: &str, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut took = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        call()?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    println!("        {what}: {:.1} ms (median of {}; worst {:.1})", took[10], took.len(), took[20]);
    Ok(took[10])
}

fn many_running(ground: &mut Ground, amount: Amount, _: &mut Random) -> Result<()> {
    let (api, count) = (&ground.api, amount.containers);
    timed(&format!("{count} containers made and started"), || {
        each(count, HANDS, |number| api.start(&format!("many-{number}"), &sleeper()))
    })?;
    let (daemon, shims) = memory(ground)?;
    println!(
        "        memory, each its share of it (PSS): daemon {daemon} KiB, {} shims {} KiB (aim: 300 MB for 1000)",
        shims.1, shims.0
    );
    lists(api, "", count)?;
    // The answer alone: to read it all takes a harness that is not optimised longer than a daemon that is.
    median(&format!("ps of {count} (aim: 50 ms for 1000)"), || whole(api, "/containers/json"))?;
    median("inspect of one", || whole(api, "/containers/many-0/json"))?;
    median("exec of one", || api.exec("many-0", &["true"]).map(drop))?;
    ground.daemon.kill_hard()?;
    timed(&format!("a daemon that takes over {count} running containers"), || ground.revive())?;
    let api = &ground.api;
    ensure!(list(api, "")? == count, "some do not run any more");
    timed(&format!("{count} containers removed by force"), || {
        each(count, HANDS, |number| api.remove(&format!("many-{number}")))
    })?;
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    Ok(())
}

/// KiB of memory of the daemon, and of its shims with their number: what is shared counts in part (PSS).
fn memory(ground: &Ground) -> Result<(u64, (u64, usize))> {
    let own = |process: &str| -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let daemon = own(&ground.daemon.pid().to_string()).context("the daemon's memory")?;
    let mark = ground.daemon.setup().exec_root().display().to_string();
    let (mut sum, mut count) = (0, 0);
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let command = fs::read(format!("/proc/{name}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        if name != ground.daemon.pid().to_string() && command.contains(&mark) && command.contains("shim") {
            sum += own(&name).unwrap_or_default();
            count += 1;
        }
    }
    Ok((daemon, (sum, count)))
}

/// How much more memory the daemon may have in the end, in KiB: what allocators keep of many requests at a time.
const SLACK_KIB: u64 = 64 << 10;

/// What the daemon holds: descriptors, and KiB of memory.
fn holdings(ground: &Ground) -> Result<(usize, u64)> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", ground.daemon.pid()))?.count();
    Ok((descriptors, memory(ground)?.0))
}

/// That nothing is left of what was done, in the machine and in the daemon.
fn holds_no_more(ground: &Ground, before: (usize, u64)) -> Result<()> {
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    // Connections end, and threads that block, some seconds after their last work.
    let mut after = holdings(ground)?;
    let settled = eventually("as many descriptors as before", || {
        after = holdings(ground)?;
        Ok((after.0 <= before.0).then_some(()))
    });
    println!(
        "        the daemon's descriptors {} to {}, memory {} to {} KiB",
        before.0, after.0, before.1, after.1
    );
    settled?;
    ensure!(after.1 <= before.1 + SLACK_KIB, "memory grew from {} to {} KiB", before.1, after.1);
    Ok(())
}

/// Clients that ask for everything at once, while others listen to events and read nothing of them.
fn hammer(ground: &mut Ground, amount: Amount, random: &mut Random) -> Result<()> {
    let api = &ground.api;
    let before = holdings(ground)?;
    let silent: Vec<_> = (0..16)
        .map(|_| Request::new("GET", "/events").open(&ground.daemon.setup().socket()))
        .collect::<Result<_>>()?;
    let (over, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let slowest = std::sync::Mutex::new(Duration::ZERO);
    std::thread::scope(|threads| -> Result<()> {
        let clients: Vec<_> = (0..amount.clients)
            .map(|number| {
                let mut random = random.fork();
                let (over, requests, slowest) = (&over, &requests, &slowest);
                threads.spawn(move || -> Result<()> {
                    let name = format!("hammer-{number}");
                    while !over.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        let is_question = one_call(api, &name, &mut random)?;
                        let took = began.elapsed();
                        requests.fetch_add(1, Ordering::Relaxed);
                        if is_question && let Ok(mut slowest) = slowest.lock() {
                            *slowest = took.max(*slowest);
                        }
                    }
                    api.remove(&name)
                })
            })
            .collect();
        std::thread::sleep(amount.length);
        over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .try_for_each(|client| client.join().unwrap_or_else(|_| Err(anyhow!("a client panicked"))))
    })?;
    drop(silent);
    let count = requests.load(Ordering::Relaxed);
    let (daemon, _) = memory(ground)?;
    println!(
        "        {} clients: {count} requests in {} s, the slowest question took {:.3} s; daemon {daemon} KiB",
        amount.clients,
        amount.length.as_secs(),
        slowest.into_inner().unwrap_or_default().as_secs_f64()
    );
    holds_no_more(ground, before)
}

/// One of many calls; whether it was one that only asks.
fn one_call(api: &Api, name: &str, random: &mut Random) -> Result<bool> {
    let questions = ["/containers/json?all=1", "/info", "/images/json", "/volumes", "/networks", "/version"];
    let choice = random.below(12);
    if let Some(path) = questions.get(choice) {
        api.get(path)?.expect(200)?;
        return Ok(true);
    }
    let answer = match choice {
        6 => api.post(&format!("/containers/create?name={name}"), &sleeper())?,
        7 => api.post(&format!("/containers/{name}/start"), &Value::Null)?,
        8 => api.post(&format!("/containers/{name}/stop?t=0"), &Value::Null)?,
        9 => api.get(&format!("/containers/{name}/logs?stdout=1"))?,
        10 => api.delete(&format!("/containers/{name}?force=1"))?,
        _ => api.get(&format!("/containers/{name}/json"))?,
    };
    ensure!(answer.status < 500, "{}: {}", answer.status, answer.message());
    Ok(false)
}

fn many_execs(ground: &mut Ground, amount: Amount, _: &mut Random) -> Result<()> {
    let api = &ground.api;
    for number in 0..HANDS {
        api.start(&format!("exec-{number}"), &sleeper())?;
    }
    // The first ones make what stays: threads, and what is remembered of those that have ended.
    each(amount.execs.min(12_000), HANDS, |number| say(api, number))?;
    let before = holdings(ground)?;
    let began = Instant::now();
    each(amount.execs, HANDS, |number| say(api, number))?;
    let seconds = began.elapsed().as_secs_f64();
    let (_, shims) = memory(ground)?;
    println!(
        "        {} execs in {seconds:.1} s ({:.0} a second); {} shims {} KiB",
        amount.execs,
        amount.execs as f64 / seconds,
        shims.1,
        shims.0
    );
    (0..HANDS).try_for_each(|number| api.remove(&format!("exec-{number}")))?;
    holds_no_more(ground, before)
}

/// One exec, whose output is looked at.
fn say(api: &Api, number: usize) -> Result<()> {
    let said = api.exec(&format!("exec-{}", number % HANDS), &["echo", "word"])?;
    ensure!(said.trim() == "word", "an exec says {said:?}");
    Ok(())
}

/// A daemon starts where very many containers are that do not run.
fn many_stopped(ground: &mut Ground, amount: Amount, _: &mut Random) -> Result<()> {
    let (api, count) = (&ground.api, amount.containers * 10);
    timed(&format!("{count} containers made"), || {
        each(count, HANDS, |number| api.create(&format!("stopped-{number}"), &sleeper()))
    })?;
    ground.daemon.stop()?;
    timed(&format!("a daemon that starts with {count} containers (aim: 1 s for 10000)"), || ground.revive())?;
    ground.daemon.kill_hard()?;
    timed(&format!("one that does after a crash with {count} containers"), || ground.revive())?;
    let api = &ground.api;
    lists(api, "all=1", count)?;
    median(&format!("ps -a of {count}"), || whole(api, "/containers/json?all=1"))?;
    timed(&format!("{count} containers pruned"), || {
        api.post("/containers/prune", &Value::Null)?.expect(200).map(drop)
    })?;
    let left = ground.leftovers()?;
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    Ok(())
}
