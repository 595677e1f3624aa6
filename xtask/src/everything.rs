//! `cargo xtask test`: everything CI runs, in order, as root on Debian.

use crate::{check, faults, packages, process, suite, unstable, vm, workspace};
use anyhow::{Result, bail};
use conformance::World;

/// What the build and the tests call; the other commands ask for their own.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "debootstrap",
    "docker-registry",
    "docker.io",
    "firewalld",
    "gcc",
    "git",
    "iproute2",
    "libc6-dev",
    "libglib2.0-bin",
    "nftables",
    "openssl",
    "podman",
    "runc",
    "slirp4netns",
    "ufw",
    "uidmap",
    "util-linux",
];

/// What no test may leave on the machine, whatever engine or directory it was of.
const MARKS: &[&str] = &["berth-test-", "berth-xtask-"];

pub(crate) fn run() -> Result<()> {
    packages::install(PACKAGES)?;
    let marks: Vec<String> = MARKS.iter().map(|mark| (*mark).to_owned()).collect();
    let before = World::observe(&marks)?;
    unstable::forget()?;
    check::run()?;
    kernel_tests()?;
    vm::run_twice()?;
    let berth = workspace::berth_program().display().to_string();
    for client in ["docker", &berth] {
        suite::run(&["--again", &unstable::LOOKS.to_string(), "--client", client].map(str::to_owned))?;
    }
    // A bounded part: some steps of everything. The random parts, and load, find more the longer they run, and are run
    // by hand.
    faults_twice(&["--steps", "3", "--seconds", "0", "--lives", "60"])?;
    faults_twice(&["load", "--containers", "20", "--seconds", "5", "--execs", "300"])?;
    let left = World::observe(&marks)?.added_since(&before);
    if !left.is_empty() {
        bail!("left on the machine:\n  {}", left.join("\n  "));
    }
    unstable::judge()?;
    println!("test: everything passed, and nothing is left on the machine");
    Ok(())
}

/// The tests that need root and a kernel: they may not skip their core here.
fn kernel_tests() -> Result<()> {
    let packages = workspace::packages()?;
    let names: Vec<&str> = packages
        .iter()
        .flat_map(|package| &package.targets)
        .filter(|target| target.kind.iter().any(|kind| kind == "test") && target.name.starts_with("kernel_"))
        .map(|target| target.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    // Tests that are chosen by name do not bring along the programs that they run.
    process::run("cargo", &["build", "--quiet", "--workspace", "--examples"])?;
    let mut arguments = vec!["test", "--quiet", "--no-fail-fast", "--workspace"];
    for name in &names {
        arguments.extend(["--test", name]);
    }
    let failed = process::run_tests(&arguments, &[("CI", "true")])?;
    if failed.len() > unstable::LOOKS {
        bail!("{} test programs failed: {}", failed.len(), failed.join(", "));
    }
    for program in &failed {
        let mut arguments = vec!["test", "--quiet"];
        arguments.extend(program.split(' '));
        arguments.extend(["--", "--test-threads", "1"]);
        process::run_with("cargo", &arguments, &[("CI", "true")])?;
        unstable::note(program)?;
    }
    Ok(())
}

/// The faults with a seed of the clock, and with the same one when something went wrong.
fn faults_twice(words: &[&str]) -> Result<()> {
    let seed = faults::new_seed()?.to_string();
    let words: Vec<String> = ["--seed", &seed].iter().chain(words).map(|&word| word.to_owned()).collect();
    let Err(error) = faults::run(&words) else { return Ok(()) };
    eprintln!("==> again: {error:#}");
    faults::run(&words)?;
    unstable::note(&format!("faults {}", words.join(" ")))
}
