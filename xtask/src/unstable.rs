//! What failed once and then held when it was tried again by itself: counted, named at the end, and too many are a failure.
//!
//! See `docs/decisions/0014-a-second-look.md`.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

/// How many tests, checks and steps of one stage are looked at again; more than that is no accident.
pub(crate) const LOOKS: usize = 2;

/// How many may be unstable in a whole run.
const ALLOWED: usize = 3;

/// Stages run as processes of their own: they meet in this file.
fn file() -> PathBuf {
    workspace::root().join("target").join("unstable.txt")
}

/// Forgets what an earlier run saw.
pub(crate) fn forget() -> Result<()> {
    match fs::remove_file(file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| file().display().to_string())
        }
        _ => Ok(()),
    }
}

/// Notes what failed once and held alone.
pub(crate) fn note(what: &str) -> Result<()> {
    println!("UNSTABLE {what}: failed once, and held when it was tried again by itself");
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(file())
        .with_context(|| format!("cannot note what is unstable in {}", file().display()))?;
    writeln!(file, "{what}").context("cannot note what is unstable")
}

/// Names all that were noted; an error when there are more than are allowed.
pub(crate) fn judge() -> Result<()> {
    let text = match fs::read_to_string(file()) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| file().display().to_string()),
    };
    let names: Vec<&str> = text.lines().collect();
    println!("unstable, to be mended ({} of at most {ALLOWED}):\n  {}", names.len(), names.join("\n  "));
    if names.len() > ALLOWED {
        bail!("{} are unstable: more than {ALLOWED} are no accident", names.len());
    }
    Ok(())
}
