//! `cargo xtask faults`: crashes, losses of power, shortages, interference and load, against daemons of its own.

use crate::sandbox::{self, Around, Sandbox};
use crate::{fixtures, packages, process, workspace};
use anyhow::{Context, Result, bail};
use conformance::{Faults, Flavour, Setup};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn parse(words: &[String]) -> Result<Faults> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?;
    let mut faults = Faults {
        seed: now.as_secs(),
        steps: None,
        chaos: Duration::from_secs(60),
        lives: 2000,
        containers: 1000,
        execs: 100_000,
        words: Vec::new(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
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
            flag if flag.starts_with("--") => {
                bail!("unknown flag {flag}: --seed, --steps, --seconds, --lives, --containers or --execs")
            }
            part => faults.words.push(part.to_owned()),
        }
    }
    Ok(faults)
}

/// Builds, and runs itself again in namespaces of its own.
pub(crate) fn run(words: &[String]) -> Result<()> {
    parse(words)?;
    packages::install(&["busybox-static"])?;
    process::run("cargo", &["build", "--package", "berth"])?;
    fixtures::archives()?;
    let mut inside = vec!["faults"];
    inside.extend(words.iter().map(String::as_str));
    sandbox::enter(&inside)
}

/// The part that runs inside.
pub(crate) fn run_inside(words: &[String]) -> Result<()> {
    let faults = parse(words)?;
    let sandbox = Sandbox::prepare(Around::Namespaces)?;
    let setup = Setup {
        flavour: Flavour::Berth,
        program: workspace::berth_program(),
        directory: sandbox.directory().join("engine"),
    };
    let failed = conformance::run_faults(setup, &fixtures::archives()?, &faults);
    sandbox.end_processes()?;
    match failed? {
        0 => sandbox.close(),
        failed => {
            eprintln!("the daemon's roots and log are kept in {}", sandbox.directory().display());
            bail!("faults: {failed} failures");
        }
    }
}
