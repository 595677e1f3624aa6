//! Many containers: started one after the other and by several clients, a thousand running, ten thousand stopped.

use super::engines::{self, Engine, Place};
use super::report::{Row, Table, Target, quantile, sorted};
use super::{Bench, Sample, sample};
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const CLIENTS: usize = 8;
/// How many are started of ours, and of the peers, which take long.
const STARTED: [usize; 3] = [100, 40, 40];
const RUNNING: usize = 1000;
const STOPPED: usize = 10_000;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let directory = bench.directory.join("many");
    let engines = [
        engines::berth(bench, &directory, Place::Own)?,
        engines::docker(bench, &directory, Place::Own)?,
        engines::podman(bench, &directory)?,
    ];
    let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let note =
        format!("Time and processor time per container of `run -d` on the bridge; {STARTED:?} containers.");
    let mut table = Table::new("Containers in numbers", &names).note(&note);
    for (name, clients) in [("one client", 1), ("eight clients at once", CLIENTS)] {
        let mut samples = vec![Vec::new(); engines.len()];
        for ((engine, count), samples) in engines.iter().zip(STARTED).zip(&mut samples) {
            eprintln!("    {name}, {}", engine.name);
            engine.load_busybox()?;
            let names = numbered(0..count);
            samples.push(per_container(sample(&engine.group, || start(engine, &names, clients))?, count));
            engine.remove(&names)?;
        }
        table.rows.push(Row::times(name, &samples));
    }
    let [ours, docker, podman] = engines;
    docker.stop()?;
    podman.stop()?;
    Ok(vec![table, crowd(bench, ours)?])
}

/// A thousand running, then ten thousand stopped; ours alone, because the peers would need the better part of an hour.
fn crowd(bench: &Bench<'_>, mut engine: Engine) -> Result<Table> {
    let (running, stopped) = if bench.quick { (100, 1000) } else { (RUNNING, STOPPED) };
    eprintln!("    {running} running");
    let mut table = Table::new("A crowd", &["berth"]);
    let names = numbered(0..running);
    let began = sample(&engine.group, || start(&engine, &names, CLIENTS))?;
    table.rows.push(Row::times(
        &format!("start of one of {running}, eight clients"),
        &[vec![per_container(began, running)]],
    ));
    let memory = engine.group.memory()? as f64 / 1024.0;
    let row = Row::numbers(
        &format!("memory of daemon and shims with {running} running (PSS)"),
        "MB",
        &[Some(memory)],
    );
    table.rows.push(row.target(Target::Below(300.0)));
    let listed = median(|| engine.outside(&["ps", "-q"]))?;
    let row = Row::numbers(&format!("ps with {running} running"), "ms", &[Some(listed)]);
    table.rows.push(row.target(Target::Below(50.0)));
    for some in names.chunks(250) {
        let words: Vec<&str> = std::iter::once("kill").chain(some.iter().map(String::as_str)).collect();
        engine.outside(&words)?;
    }
    eprintln!("    {stopped} stopped");
    let socket = engine.socket().context("a daemon")?;
    create(&socket, running, stopped - running)?;
    let took = engine.crash_and_start()?.as_secs_f64() * 1000.0;
    let found = engine.answer(&["ps", "-a", "-q"])?.lines().count();
    ensure!(found == stopped, "{found} containers are there, not {stopped}");
    let row = Row::numbers(&format!("start of the daemon with {stopped} stopped"), "ms", &[Some(took)]);
    table.rows.push(row.target(Target::Below(1000.0)));
    let listed = median(|| engine.outside(&["ps", "-a", "-q"]))?;
    table.rows.push(Row::numbers(&format!("ps -a with {stopped} stopped"), "ms", &[Some(listed)]));
    let memory = engine.group.memory()? as f64 / 1024.0;
    table.rows.push(Row::numbers(
        &format!("memory of the daemon with {stopped} stopped (PSS)"),
        "MB",
        &[Some(memory)],
    ));
    engine.stop()?;
    Ok(table)
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("many{number}")).collect()
}

fn per_container(sample: Sample, count: usize) -> Sample {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    Sample { wall: sample.wall / count, cpu: sample.cpu / count }
}

/// Milliseconds, the median of five.
fn median(mut act: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        act()?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(quantile(&sorted(times.into_iter()), 0.5))
}

/// Starts containers with so many clients at once.
fn start(engine: &Engine, names: &[String], clients: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let words = ["run", "-d", "--name", name, "FLAGS", "IMAGE", "sleep", "100000"];
                        let output = engine.command(&words).stdout(Stdio::null()).output()?;
                        if !output.status.success() {
                            bail!(
                                "{}: {name}: {}",
                                engine.name,
                                String::from_utf8_lossy(&output.stderr).trim()
                            );
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| match client.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Makes containers that are never started, over the API, where a program for each would take minutes.
fn create(socket: &Path, first: usize, count: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let body = serde_json::json!({ "Image": conformance::BUSYBOX, "Cmd": ["true"] }).to_string();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok(());
                        }
                        create_one(socket, &format!("many{}", first + number), &body)?;
                    }
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| match client.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn create_one(socket: &Path, name: &str, body: &str) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let head = "Host: x\r\nConnection: close\r\nContent-Type: application/json";
    write!(
        stream,
        "POST /containers/create?name={name} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Ok(())
}
