//! Running other programs in the workspace's directory, with the command line in every error.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
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

/// Runs `cargo test` with these words; the test programs that failed, as cargo names them for another run (`-p a --test b`).
/// An error when it failed and named none, as it does when something does not compile.
pub(crate) fn run_tests(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Vec<String>> {
    let line = command_line("cargo", arguments);
    eprintln!("==> {line}");
    let began = Instant::now();
    let mut command = Command::new("cargo");
    forget_cargo(&mut command);
    let mut cargo = command
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {line}"))?;
    let words = cargo.stderr.take().context("cargo's standard error")?;
    let mut failed = BTreeSet::new();
    // What tests print need not be text.
    for words in BufReader::new(words).split(b'\n') {
        let words = words.with_context(|| format!("cannot read what {line} prints"))?;
        let words = String::from_utf8_lossy(&words);
        eprintln!("{words}");
        failed.extend(test_program(&words));
    }
    let status = cargo.wait().with_context(|| format!("cannot wait for {line}"))?;
    if !status.success() && failed.is_empty() {
        bail!("{line}: {status}");
    }
    eprintln!("    {:.1} s", began.elapsed().as_secs_f64());
    Ok(failed.into_iter().collect())
}

/// The test program that a line of cargo says failed: ``error: test failed, to rerun pass `-p a --test b` ``.
fn test_program(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("error: test failed, to rerun pass `")?;
    Some(rest.split_once('`')?.0.to_owned())
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

#[cfg(test)]
mod tests {
    use super::test_program;

    #[test]
    fn cargo_names_the_test_program_that_failed() {
        let line = "error: test failed, to rerun pass `-p cgroup --test kernel_group`";
        assert_eq!(test_program(line).as_deref(), Some("-p cgroup --test kernel_group"));
        assert_eq!(test_program("error: could not compile `cgroup`"), None);
    }
}
