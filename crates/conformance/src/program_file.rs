//! Programs that a check writes and has somebody run.
//!
//! They are written by a process of their own. Checks run beside each other: a process that another one starts has, for a
//! moment, every file that is open here, and the kernel runs no program that somebody has open for writing (execve(2),
//! ETXTBSY).

use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a script that everybody may run.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut child = command.spawn().context("sh")?;
    child.stdin.take().context("its input")?.write_all(text.as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "writing {}: {status}", path.display());
    Ok(())
}

/// Copies a program with its mode.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("--").arg(from).arg(to).status().context("cp")?;
    ensure!(status.success(), "copying {} to {}: {status}", from.display(), to.display());
    Ok(())
}
