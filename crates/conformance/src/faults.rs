//! Faults on purpose: the daemon is killed before every step of every operation, and at random under load; afterwards
//! the world must be the one before or the one after, nothing acknowledged may be lost, and nothing may be left.
//!
//! Every run prints its seed; the same seed makes the same choices.

mod api;
mod chaos;
mod ground;
mod images;
mod operations;
mod random;
mod shims;
mod steps;
mod volumes;

use crate::daemon::{Daemon, Setup};
use crate::fixture::Archives;
use anyhow::Result;
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
    /// How long the random part lasts.
    pub chaos: Duration,
    /// Only operations whose names contain one of these words; `shim` is the part about shims, `chaos` the random one. All when empty.
    pub words: Vec<String>,
}

/// Runs both parts against daemons started from `setup`; how many things went wrong, each printed.
pub fn run(setup: Setup, archives: &Archives, faults: &Faults) -> Result<usize> {
    println!("faults: seed {}", faults.seed);
    let daemon = Daemon::start(setup)?;
    let mut ground = Ground::prepare(daemon, archives)?;
    let mut random = Random::new(faults.seed);
    let is_wanted =
        |name: &str| faults.words.is_empty() || faults.words.iter().any(|word| name.contains(word));
    let mut failed = 0;
    for operation in operations::all().into_iter().chain(volumes::all()).chain(images::all()) {
        if is_wanted(operation.name) {
            failed += steps::crash_at_each(&mut ground, &operation, faults.steps, &mut random)?;
        }
    }
    if is_wanted("shim") {
        failed += shims::run(&mut ground, faults.steps, &mut random)?;
    }
    if is_wanted("chaos") && !faults.chaos.is_zero() {
        failed += chaos::run(&mut ground, faults.chaos, &mut random)?;
    }
    failed += ground.close()?;
    println!("faults: {failed} failures, seed {}", faults.seed);
    Ok(failed)
}
