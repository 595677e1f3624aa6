//! For tests: feeds a parser with seeds and mutations of them; it must neither panic, hang nor swell.
//!
//! ```text
//! #[cfg(test)]
//! mod fuzz {                                       a module (or a file below tests/) of this name holds a crate's targets
//!     #[test]
//!     fn reference() {
//!         fuzz::text("reference", &["debian:12", "localhost:5000/a@sha256:…"], Reference::parse);
//!     }
//! }
//! ```
//! Under `cargo test` a target gets its seeds and the same thousand mutations every time, or as many as fit into a second.
//! `cargo xtask fuzz [--seconds N] [TARGET…]` gives it longer and other ones. An input that fails is made smaller and
//! printed; it belongs into the seeds of its target, and stays there.
//!
//! Nothing here sees which branches an input takes. What a target returns is looked at instead: an input with an outcome
//! that no other had is kept and mutated further, so a target should return its parser's result.

mod mutate;
mod outcome;
mod shrink;
mod watch;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use outcome::Outcome;

use mutate::Mutator;
use watch::Watch;

/// Seconds for each target, in place of a thousand mutations.
pub const SECONDS: &str = "BERTH_FUZZ_SECONDS";
/// A number that the mutations follow from, to see a failure again.
pub const SEED: &str = "BERTH_FUZZ_SEED";

/// How many mutations a target gets under `cargo test`.
const ROUNDS: u64 = 1000;
/// How long it gets there at most.
const SHORT: Duration = Duration::from_secs(1);
/// How many inputs are kept for further mutation.
const MOST_KEPT: usize = 1000;

/// Feeds `target` with text.
///
/// # Panics
/// When the target does, with the input that made it.
pub fn text<O: Outcome>(name: &str, seeds: &[impl AsRef<str>], target: impl Fn(&str) -> O) {
    let seeds: Vec<&[u8]> = seeds.iter().map(|seed| seed.as_ref().as_bytes()).collect();
    bytes(name, &seeds, |input| target(&String::from_utf8_lossy(input)));
}

/// Feeds `target` with bytes.
///
/// # Panics
/// When the target does, with the input that made it.
pub fn bytes<O: Outcome>(name: &str, seeds: &[impl AsRef<[u8]>], target: impl Fn(&[u8]) -> O) {
    let plan = Plan::from_environment();
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_ref().to_vec()).collect();
    let mut run = Run { name, watch: Watch::start(name, plan.is_long), target, seen: HashSet::new() };
    let mut mutator = Mutator::new(plan.seed, &seeds);
    let mut corpus = seeds;
    for seed in &corpus {
        run.once(seed);
    }
    let (began, mut rounds) = (Instant::now(), 0_u64);
    while rounds < plan.rounds && began.elapsed() < plan.time {
        rounds += 1;
        let input = mutator.mutate(&corpus);
        if run.once(&input) {
            if corpus.len() < MOST_KEPT {
                corpus.push(input);
            } else {
                let place = mutator.below(corpus.len());
                corpus[place] = input;
            }
        }
    }
    let (kept, seed) = (run.seen.len(), plan.seed);
    println!("fuzz {name}: {rounds} mutations with {SEED}={seed}, {kept} different outcomes");
}

/// How long and with what.
struct Plan {
    seed: u64,
    rounds: u64,
    time: Duration,
    is_long: bool,
}

impl Plan {
    fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seconds = number(SECONDS);
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
        Self {
            seed: number(SEED).unwrap_or_else(|| if seconds.is_some() { clock() } else { 1 }),
            rounds: if seconds.is_some() { u64::MAX } else { ROUNDS },
            time: seconds.map_or(SHORT, Duration::from_secs),
            is_long: seconds.is_some(),
        }
    }
}

/// One target being run.
struct Run<'a, F> {
    name: &'a str,
    watch: Watch,
    target: F,
    seen: HashSet<String>,
}

impl<O: Outcome, F: Fn(&[u8]) -> O> Run<'_, F> {
    /// Whether the outcome is one that was not there before.
    fn once(&mut self, input: &[u8]) -> bool {
        self.watch.begin(input);
        let done = catch_unwind(AssertUnwindSafe(|| (self.target)(input).shape()));
        self.watch.end();
        match done {
            Ok(shape) => self.seen.insert(shape),
            Err(_) => self.fail(input),
        }
    }

    fn fail(&self, input: &[u8]) -> ! {
        let fails = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| drop((self.target)(input)))).is_err();
        let small = shrink::shrink(input, fails);
        panic!("fuzz {}: this input makes it panic:\n{}", self.name, shown(&small));
    }
}

/// An input as it is written in a source file.
fn shown(input: &[u8]) -> String {
    /// More would fill the screen.
    const MOST: usize = 8192;
    let cut =
        if input.len() > MOST { format!(" and {} bytes more", input.len() - MOST) } else { String::new() };
    format!("b\"{}\"{cut}", input[..input.len().min(MOST)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_and_its_input_made_small() {
        let target = |text: &str| -> Result<usize, String> {
            let (name, value) = text.split_once('=').ok_or("no value")?;
            assert!(!value.starts_with('='), "two signs");
            value.parse().map_err(|_| format!("{name}: not a number"))
        };
        let failed = catch_unwind(|| text("example", &["some-long-name=1", "b=2"], target));
        let words = failed.expect_err("a mutation has two signs");
        let words = words.downcast_ref::<String>().expect("words");
        assert!(words.ends_with("b\"==\""), "{words}");
    }

    #[test]
    fn what_does_not_fail_is_left_alone() {
        text("lengths", &["", "a"], str::len);
        bytes("nothing", &[b"seed"], |_| ());
    }
}
