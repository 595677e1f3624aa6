//! Running other programs in the workspace's directory, with the command line in every error.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs a program with our own streams; a status other than 0 is an error.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    run_with(program, arguments, &[])
}

/// [`run`] with variables added to the environment.
pub(crate) fn run_with(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let line = command_line(program, arguments);
    eprintln!("==> {line}");
    let began = Instant::now();
    let mut command = Command::new(program);
    forget_cargo(&mut command);
    let status = command
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {line}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    eprintln!("    {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// What a program printed on standard output; a status other than 0 is an error that carries its stderr.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let line = command_line(program, arguments);
    let mut command = Command::new(program);
    forget_cargo(&mut command);
    let output = command
        .args(arguments)
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {line}"))?;
    if !output.status.success() {
        bail!("{line}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{line} printed bytes that are not UTF-8"))
}

/// Takes away what cargo tells the program that it runs: build scripts that look at it would run again, and again without
/// us, and half of the dependencies would be built anew each time.
fn forget_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

fn command_line(program: &str, arguments: &[&str]) -> String {
    let mut line = program.to_owned();
    for argument in arguments {
        line.push(' ');
        line.push_str(argument);
    }
    line
}
