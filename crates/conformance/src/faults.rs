//! Faults on purpose: the daemon is killed before every step of every operation, and at random under load; afterwards
//! the world must be the one before or the one after, nothing acknowledged may be lost, and nothing may be left.
//!
//! Every run prints its seed; the same seed makes the same choices.

mod api;
mod boots;
mod chaos;
mod clocks;
mod disks;
mod exhaustion;
mod ground;
mod halted;
mod hangs;
mod images;
mod insides;
mod interference;
mod leaks;
mod load;
mod networks;
mod operations;
mod parts;
mod policies;
mod power;
mod prunes;
mod random;
mod registries;
mod remodels;
mod shims;
mod steps;
mod volumes;

use crate::daemon::{Daemon, Setup};
use crate::fixture::Archives;
use anyhow::{Result, ensure};
use ground::Ground;
use random::Random;
use std::time::Duration;

/// How much to try.
#[derive(Debug, Clone)]
pub struct Faults {
    /// What all choices follow from.
    pub seed: u64,
    /// At most this many steps of each operation are crashed at, chosen by the seed; all of them when `None`.
    pub steps: Option<usize>,
    /// How long the random part lasts, and that of many clients.
    pub chaos: Duration,
    /// How many lives of containers nothing may be left of.
    pub lives: usize,
    /// How many containers run at a time under load.
    pub containers: usize,
    /// How many execs are made under load.
    pub execs: usize,
    /// Only operations whose names contain one of these words. With the name of a part (`power`, `boots`, `shim`,
    /// `chaos`, `leaks`, `interference`, `exhaustion`, `hangs`) only that, with the operations that other words name. All
    /// when empty, except `load` and `clocks`, which are asked for by name.
    pub words: Vec<String>,
}

/// Everything that is crashed at each of its steps.
fn all_operations() -> Vec<operations::Operation> {
    [
        operations::all(),
        insides::all(),
        policies::all(),
        remodels::all(),
        volumes::all(),
        networks::all(),
        images::all(),
        registries::all(),
        prunes::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The parts beside crashes at each step of an operation.
const PARTS: &[&str] =
    &["power", "boots", "shim", "chaos", "leaks", "interference", "exhaustion", "hangs", "load", "clocks"];

/// The operations that are meant when a part is asked for, perhaps with some of them.
fn chosen_operations(faults: &Faults) -> Vec<operations::Operation> {
    let words: Vec<&String> = faults.words.iter().filter(|word| !PARTS.contains(&word.as_str())).collect();
    let is_meant = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    all_operations().into_iter().filter(|operation| is_meant(operation.name)).collect()
}

/// A step of the parts whose tries take longer counts for more.
fn fewer(steps: Option<usize>) -> Option<usize> {
    steps.map(|steps| steps.div_ceil(2))
}

/// Runs all parts against daemons started from `setup`; how many things went wrong, each printed.
pub fn run(setup: Setup, archives: &Archives, faults: &Faults) -> Result<usize> {
    println!("faults: seed {}", faults.seed);
    let others = setup.clone();
    let daemon = Daemon::start(setup)?;
    let mut ground = Ground::prepare(daemon, archives)?;
    let mut random = Random::new(faults.seed);
    let is_wanted =
        |name: &str| faults.words.is_empty() || faults.words.iter().any(|word| name.contains(word));
    let mut failed = 0;
    for operation in all_operations() {
        let is_part = faults.words.iter().any(|word| PARTS.contains(&word.as_str()));
        if !is_part && is_wanted(operation.name) {
            failed += steps::crash_at_each(&mut ground, &operation, faults.steps, &mut random)?;
        }
    }
    if is_wanted("power") {
        let operations = chosen_operations(faults);
        failed += power::run(&mut ground, &operations, fewer(faults.steps), &mut random)?;
    }
    if is_wanted("boots") {
        failed += boots::run(&mut ground, fewer(faults.steps), &mut random)?;
    }
    if is_wanted("shim") {
        failed += shims::run(&mut ground, faults.steps, &mut random)?;
    }
    if is_wanted("chaos") && !faults.chaos.is_zero() {
        failed += chaos::run(&mut ground, faults.chaos, &mut random)?;
    }
    if is_wanted("leaks") {
        failed += leaks::run(&mut ground, faults.lives, &mut random)?;
    }
    // Only when asked for: it takes the machine for a long while.
    if faults.words.iter().any(|word| word == "load") {
        let amount = load::Amount {
            containers: faults.containers,
            execs: faults.execs,
            clients: 64,
            length: faults.chaos,
        };
        failed += load::run(&mut ground, amount, &mut random)?;
    }
    if is_wanted("interference") {
        failed += interference::run(&mut ground, faults.steps, &mut random)?;
    }
    if faults.words.iter().any(|word| word == "clocks") {
        ensure!(
            clocks::may_jump(),
            "the clock of this machine is not only ours: see `cargo xtask vm faults`"
        );
        failed += clocks::run(&mut ground)?;
    }
    failed += ground.close()?;
    if is_wanted("hangs") {
        failed += hangs::run(&others, archives)?;
    }
    if is_wanted("exhaustion") {
        let operations = chosen_operations(faults);
        failed += exhaustion::run(&others, archives, &operations, faults.steps, &mut random)?;
    }
    println!("faults: {failed} failures, seed {}", faults.seed);
    Ok(failed)
}
