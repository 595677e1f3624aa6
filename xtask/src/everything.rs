//! `cargo xtask test`: everything CI runs, in order, as root on Debian.

use crate::{check, faults, packages, process, suite, vm, workspace};
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
    check::run()?;
    kernel_tests()?;
    vm::run(&[])?;
    suite::run(&[])?;
    let berth = workspace::berth_program().display().to_string();
    suite::run(&["--client".to_owned(), berth])?;
    // A bounded part: some steps of everything. The random parts, and load, find more the longer they run, and are run
    // by hand.
    faults::run(&["--steps", "3", "--seconds", "0", "--lives", "60"].map(str::to_owned))?;
    faults::run(&["load", "--containers", "20", "--seconds", "5", "--execs", "300"].map(str::to_owned))?;
    let left = World::observe(&marks)?.added_since(&before);
    if !left.is_empty() {
        bail!("left on the machine:\n  {}", left.join("\n  "));
    }
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
    process::run_with("cargo", &arguments, &[("CI", "true")])
}
