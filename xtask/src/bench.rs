//! `cargo xtask bench`: ours and the peers' figures in one run, alternating, into `docs/benchmarks.md`.

mod accounting;
mod bundles;
mod candidates;
mod report;

use crate::sandbox::{self, Sandbox};
use crate::{fixtures, packages, process, workspace};
use anyhow::{Context, Result};
use report::{Row, Table};
use std::time::{Duration, Instant};

/// Measured rounds of every workload, after two that are not counted.
const ROUNDS: usize = 15;
const WARM_UP: usize = 2;

/// How many idle containers the memory is measured with.
const IDLE: usize = 20;

/// Builds the optimised engine, installs the peers, and goes on in namespaces of its own.
pub(crate) fn run(words: &[String]) -> Result<()> {
    packages::install(&["docker.io", "podman", "crun", "runc", "containernetworking-plugins", "iptables"])?;
    process::run("cargo", &["build", "--release", "--package", "berth"])?;
    fixtures::archives()?;
    let mut inside = vec!["bench"];
    inside.extend(words.iter().map(String::as_str));
    sandbox::enter(&inside)
}

/// The part that runs inside: engines, then bundles, then the page.
pub(crate) fn run_inside(words: &[String]) -> Result<()> {
    let rounds = words.first().map_or(Ok(ROUNDS), |word| word.parse().context("the number of rounds"))?;
    // crun refuses machines that have both versions of cgroups mounted; the peers do not need the second one.
    if std::path::Path::new("/sys/fs/cgroup/unified").exists() {
        process::output("umount", &["--lazy", "/sys/fs/cgroup/unified"])?;
    }
    let sandbox = Sandbox::prepare()?;
    let measured = measure(&sandbox, rounds);
    sandbox.end_processes()?;
    accounting::remove_all()?;
    sandbox.close()?;
    let page = report::page(&measured?, rounds)?;
    let path = workspace::root().join("docs/benchmarks.md");
    std::fs::write(&path, &page).with_context(|| path.display().to_string())?;
    println!("{page}");
    Ok(())
}

fn measure(sandbox: &Sandbox, rounds: usize) -> Result<Vec<Table>> {
    let mut tables = vec![engines(sandbox, rounds)?];
    tables.push(bundles::measure(sandbox.directory(), rounds)?);
    Ok(tables)
}

/// Every workload on every engine, one after the other within a round, so that noise hits all alike.
fn engines(sandbox: &Sandbox, rounds: usize) -> Result<Table> {
    let mut candidates = candidates::start(sandbox.directory())?;
    let mut table = Table::new(
        "Engines, over their command lines",
        candidates.iter().map(|one| one.name.clone()).collect(),
    );
    for candidate in &mut candidates {
        candidate.prepare()?;
    }
    for workload in candidates::WORKLOADS {
        eprintln!("==> {}", workload.name);
        let mut samples = vec![Vec::new(); candidates.len()];
        for round in 0..rounds + WARM_UP {
            for (candidate, samples) in candidates.iter().zip(&mut samples) {
                let sample = candidate.sample(workload)?;
                if round >= WARM_UP {
                    samples.push(sample);
                }
            }
        }
        table.rows.push(Row::times(workload.name, &samples));
    }
    let memory: Vec<_> = candidates.iter().map(|one| one.memory(IDLE)).collect::<Result<_>>()?;
    table.rows.push(Row::kilobytes("memory of the idle engine (PSS)", memory.iter().map(|(idle, _)| *idle)));
    table.rows.push(Row::kilobytes(
        &format!("memory per container, {IDLE} idle ones (PSS)"),
        memory.iter().map(|(_, each)| *each),
    ));
    for candidate in candidates {
        candidate.stop()?;
    }
    Ok(table)
}

/// One run: how long it took, and the processor time of everything that took part.
#[derive(Debug, Clone, Copy)]
struct Sample {
    wall: Duration,
    cpu: Duration,
}

/// Measures `act` by the clock and by the processor time of a group of processes.
fn sample(group: &accounting::Group, act: impl FnOnce() -> Result<()>) -> Result<Sample> {
    group.enter()?;
    let cpu = group.cpu()?;
    let began = Instant::now();
    act()?;
    let wall = began.elapsed();
    let cpu = group.cpu()?.saturating_sub(cpu);
    group.leave()?;
    Ok(Sample { wall, cpu })
}
