//! `cargo xtask check`: everything that can be said about a change without root and without an engine.

use crate::{attacks, layers, process, sources, workspace};
use anyhow::{Result, bail};

/// Format, clippy, layers, source lints, then unit and golden tests.
pub(crate) fn run() -> Result<()> {
    process::run("cargo", &["fmt", "--all", "--", "--check"])?;
    report("layers", &layers::violations()?)?;
    report("sources", &sources::violations()?)?;
    report("attacks", &attacks::violations()?)?;
    process::run("cargo", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    unit_tests()
}

/// Tests of libraries, binaries and golden files; `kernel_*` tests need root and belong to `cargo xtask test`, `guest_*`
/// tests need the virtual machine.
fn unit_tests() -> Result<()> {
    let mut arguments = vec!["test", "--quiet", "--no-fail-fast", "--workspace", "--lib", "--bins"];
    let packages = workspace::packages()?;
    let tests =
        packages.iter().flat_map(|package| &package.targets).filter(|target| is_rootless_test(target));
    for target in tests {
        arguments.extend(["--test", target.name.as_str()]);
    }
    process::run("cargo", &arguments)
}

fn is_rootless_test(target: &workspace::Target) -> bool {
    let is_elsewhere = |prefix| target.name.starts_with(prefix);
    target.kind.iter().any(|kind| kind == "test") && !is_elsewhere("kernel_") && !is_elsewhere("guest_")
}

fn report(name: &str, violations: &[String]) -> Result<()> {
    if violations.is_empty() {
        eprintln!("==> {name}: as agreed");
        return Ok(());
    }
    bail!("{name}:\n  {}", violations.join("\n  "));
}
