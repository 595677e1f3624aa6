//! Running the checks: several at a time, those that need the engine for themselves at the end.

use crate::areas;
use crate::check::{Check, Verdict};
use crate::engine::Engine;
use crate::fixture::{Archives, BUSYBOX, DEBIAN, SERVERS};
use crate::scope::Scope;
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What to run and how strictly.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only checks whose area and name contain one of these words; all when empty.
    pub words: Vec<String>,
    /// How many checks run at a time.
    pub jobs: usize,
    /// Whether a check that cannot run counts as failed, as on CI.
    pub strict: bool,
    /// When no more checks than this fail, each is run once more with nothing beside it.
    pub looks: usize,
}

impl Options {
    /// Whether checks are wanted that need the image with servers.
    #[must_use]
    pub fn want_servers(&self) -> bool {
        self.want(areas::SERVERS_AREA)
    }

    /// Whether checks are wanted that need Docker Compose.
    #[must_use]
    pub fn want_compose(&self) -> bool {
        self.want(areas::COMPOSE_AREA)
    }

    fn want(&self, area: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| word.contains(area) || area.contains(&**word))
    }
}

/// How many checks ended in which way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Checks that hold.
    pub passed: usize,
    /// Checks that do not hold, and skipped ones when strict.
    pub failed: usize,
    /// Checks in which an old engine differs from today's on purpose.
    pub differ: usize,
    /// Checks whose needs are not met here.
    pub skipped: usize,
    /// Names of checks that failed and then held when they were run again by themselves; they count as passed.
    pub unstable: Vec<String>,
}

/// Loads the images, runs the checks, removes the images; prints one line per check and one at the end.
pub fn run(mut engine: Engine, archives: &Archives, options: &Options) -> Result<(Summary, Engine)> {
    let began = Instant::now();
    load(&mut engine, archives)?;
    engine.busybox_program = Some(archives.busybox_program.clone());
    engine.servers.archive.clone_from(&archives.servers);
    let (alone, together): (Vec<Check>, Vec<Check>) = areas::all(&engine)
        .into_iter()
        .filter(|check| is_wanted(check, &options.words) && is_possible(check, &engine))
        .partition(|check| check.alone);
    let mut outcome = run_queue(&engine, together, options.jobs);
    outcome = outcome.plus(run_queue(&engine, alone, 1));
    let mut summary = look_again(&engine, outcome, options.looks);
    if let Err(error) = unload(&engine) {
        println!("FAILED  removing the images: {error:#}");
        summary.failed += 1;
    }
    summary = summary.plus(judge_answers(&engine));
    if options.strict {
        summary = Summary { failed: summary.failed + summary.skipped, skipped: 0, ..summary };
    }
    println!(
        "conformance: {} passed, {} failed, {} differ on purpose, {} skipped in {:.1} s",
        summary.passed,
        summary.failed,
        summary.differ,
        summary.skipped,
        began.elapsed().as_secs_f64()
    );
    Ok((summary, engine))
}

/// Compose is of Debian's next release: where no mirror has that one, its checks are left out, on CI as well.
fn is_possible(check: &Check, engine: &Engine) -> bool {
    let possible = check.area != areas::COMPOSE_AREA || engine.compose.is_some();
    if !possible {
        println!("SKIP: {check:?}: no docker-compose could be fetched");
    }
    possible
}

/// What did not fit the definition of the API among all answers that were seen. An old engine's answers differ on purpose.
fn judge_answers(engine: &Engine) -> Summary {
    let mut summary = Summary::default();
    let Some(tap) = &engine.tap else { return summary };
    let record = tap.take();
    let word = if engine.is_old() { "differs" } else { "FAILED " };
    for (difference, (first, times)) in &record.differences {
        println!("{word} answer: {difference}\n        {times} times, first of {first}");
    }
    println!("answers: {} compared, {} differences", record.answers, record.differences.len());
    let count = if engine.is_old() { &mut summary.differ } else { &mut summary.failed };
    *count = record.differences.len();
    summary
}

impl Summary {
    fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            differ: self.differ + other.differ,
            skipped: self.skipped + other.skipped,
            unstable: [self.unstable, other.unstable].concat(),
        }
    }

    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::Differs(_) => self.differ += 1,
            Verdict::Skipped(_) => self.skipped += 1,
        }
    }
}

fn is_wanted(check: &Check, words: &[String]) -> bool {
    let text = format!("{check:?}");
    match words {
        [] => !areas::NAMED_AREAS.contains(&check.area),
        words => words.iter().any(|word| text.contains(word.as_str())),
    }
}

/// What some checks came to, and those of them that failed.
#[derive(Default)]
struct Outcome {
    summary: Summary,
    failed: Vec<Check>,
}

impl Outcome {
    fn plus(mut self, other: Self) -> Self {
        self.failed.extend(other.failed);
        Self { summary: self.summary.plus(other.summary), failed: self.failed }
    }
}

/// Runs the few that failed once more, one after the other.
fn look_again(engine: &Engine, outcome: Outcome, looks: usize) -> Summary {
    let Outcome { mut summary, failed } = outcome;
    if failed.len() > looks {
        return summary;
    }
    for check in failed {
        println!("again   {check:?}");
        if matches!(run_one(engine, &check), Verdict::Passed) {
            summary.failed -= 1;
            summary.passed += 1;
            summary.unstable.push(format!("{check:?}"));
        }
    }
    summary
}

fn run_queue(engine: &Engine, checks: Vec<Check>, jobs: usize) -> Outcome {
    let queue = Mutex::new(VecDeque::from(checks));
    let outcome = Mutex::new(Outcome::default());
    std::thread::scope(|threads| {
        for _ in 0..jobs.max(1) {
            threads.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(check) = next else { return };
                    let verdict = run_one(engine, &check);
                    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                    outcome.summary.count(&verdict);
                    if matches!(verdict, Verdict::Failed(_)) {
                        outcome.failed.push(check);
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run_one(engine: &Engine, check: &Check) -> Verdict {
    let began = Instant::now();
    let scope = Scope::new(engine);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (check.body)(&scope)))
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the check panicked")));
    let closed = scope.close().context("removing what the check made");
    let verdict = Verdict::from(result.and(closed));
    let seconds = began.elapsed().as_secs_f64();
    match &verdict {
        Verdict::Passed => println!("ok      {check:?} ({seconds:.1} s)"),
        Verdict::Failed(error) => {
            println!("FAILED  {check:?} ({seconds:.1} s)\n        {}", indent(&format!("{error:#}")))
        }
        Verdict::Differs(reason) => println!("differs {check:?}: old engine: {reason}"),
        Verdict::Skipped(reason) => println!("SKIP: {check:?}: {reason}"),
    }
    verdict
}

fn indent(text: &str) -> String {
    text.replace('\n', "\n        ")
}

fn load(engine: &mut Engine, archives: &Archives) -> Result<()> {
    engine.client.expect(&["load", "-q", "-i", &archives.busybox.display().to_string()])?;
    if let Some(debian) = &archives.debian {
        engine.client.import(debian, DEBIAN)?;
        engine.has_debian = true;
    }
    Ok(())
}

fn unload(engine: &Engine) -> Result<()> {
    let mut names = vec![BUSYBOX];
    names.extend(engine.has_debian.then_some(DEBIAN));
    names.extend(engine.servers.is_imported().then_some(SERVERS));
    // One at a time: each has as long as a command may take.
    names.iter().try_for_each(|name| engine.client.expect(&["rmi", name]).map(drop))
}
