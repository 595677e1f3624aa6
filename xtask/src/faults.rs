//! `cargo xtask faults`: crashes, losses of power, shortages, interference and load, against daemons of its own.

use crate::sandbox::{self, Around, Sandbox};
use crate::{fixtures, packages, process, workspace};
use anyhow::{Context, Result, bail};
use conformance::{Faults, Flavour, Setup};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the words ask for.
struct Request {
    faults: Faults,
    /// The daemon to try; it is built when none is named.
    program: Option<PathBuf>,
    /// Whether it is built as it is shipped, for figures.
    release: bool,
}

impl Request {
    fn program(&self) -> PathBuf {
        let built = || if self.release { workspace::release_program() } else { workspace::berth_program() };
        self.program.clone().unwrap_or_else(built)
    }
}

/// A seed that no earlier run had.
pub(crate) fn new_seed() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?.as_secs())
}

fn parse(words: &[String]) -> Result<Request> {
    let mut faults = Faults {
        seed: new_seed()?,
        steps: None,
        chaos: Duration::from_secs(60),
        lives: 2000,
        containers: 1000,
        execs: 100_000,
        words: Vec::new(),
    };
    let (mut program, mut release) = (None, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--program" {
            program = Some(words.next().context("--program needs a file")?.into());
            continue;
        }
        let mut value = || {
            let text = words.next().with_context(|| format!("{word} needs a number"))?;
            text.parse::<u64>().with_context(|| format!("{word} {text}"))
        };
        match word.as_str() {
            "--seed" => faults.seed = value()?,
            "--steps" => faults.steps = Some(usize::try_from(value()?)?),
            "--seconds" => faults.chaos = Duration::from_secs(value()?),
            "--lives" => faults.lives = usize::try_from(value()?)?,
            "--containers" => faults.containers = usize::try_from(value()?)?,
            "--execs" => faults.execs = usize::try_from(value()?)?,
            "--release" => release = true,
            flag if flag.starts_with("--") => {
                bail!(
                    "unknown flag {flag}: --seed, --steps, --seconds, --lives, --containers, --execs, --release or --program"
                )
            }
            part => faults.words.push(part.to_owned()),
        }
    }
    Ok(Request { faults, program, release })
}

/// Builds, and runs itself again in namespaces of its own.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let request = parse(words)?;
    packages::install(&["busybox-static"])?;
    match request {
        Request { program: Some(_), .. } => {}
        Request { release: true, .. } => {
            process::run("cargo", &["build", "--release", "--package", "berth"])?;
        }
        Request { .. } => process::run("cargo", &["build", "--package", "berth"])?,
    }
    fixtures::archives()?;
    let mut inside = vec!["faults"];
    inside.extend(words.iter().map(String::as_str));
    sandbox::enter(&inside)
}

/// The part that runs inside.
pub(crate) fn run_inside(words: &[String]) -> Result<()> {
    let archives = fixtures::archives()?;
    run_around(words, Around::Namespaces, &archives)
}

/// The same in a machine that is made for it.
pub(crate) fn run_in_machine(words: &[String]) -> Result<()> {
    run_around(words, Around::Machine, &fixtures::busybox()?)
}

fn run_around(words: &[String], around: Around, archives: &conformance::Archives) -> Result<()> {
    let request = parse(words)?;
    let sandbox = Sandbox::prepare(around)?;
    let setup = Setup {
        flavour: Flavour::Berth,
        program: request.program(),
        directory: sandbox.directory().join("engine"),
        // Nobody else's: what other engines of this machine do to theirs is not what is tried here.
        cgroup_parent: Some(format!("/berth-test-faults-{}", conformance::run_number())),
    };
    let failed = conformance::run_faults(setup, archives, &request.faults);
    if let Err(error) = &failed {
        // What is left of it may be in the way of what follows.
        eprintln!("faults: {error:#}");
    }
    sandbox.end_processes()?;
    match failed? {
        0 => sandbox.close(),
        failed => {
            eprintln!("the daemon's roots and log are kept in {}", sandbox.directory().display());
            bail!("faults: {failed} failures");
        }
    }
}
