//! The second disk of the guest: what was built here, in the layout of the workspace.

use super::step::Step;
use crate::{fixtures, process, workspace};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the guest mounts it.
pub(crate) const INSIDE: &str = "/payload";
/// The plan, at the top of the payload.
pub(crate) const STEPS: &str = "steps.json";

/// Free room for what a step may put beside the programs.
const ROOM_MB: u64 = 64;

/// The crates whose programs the guest has.
const PROGRAMS: &[&str] = &["berth", "runtime", "xtask"];

/// A test to be built: its crate and its name.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) package: String,
    pub(crate) name: String,
}

/// What cargo built for the guest.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) tests: Vec<Test>,
    programs: Vec<PathBuf>,
}

/// An integration test as a program.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) package: String,
    /// The file's name without its ending, for example `kernel_group`.
    pub(crate) name: String,
    program: PathBuf,
}

impl Test {
    /// The path in the guest.
    pub(crate) fn inside(&self) -> String {
        inside(&self.program)
    }
}

/// A path of the workspace as the guest sees it.
fn inside(path: &Path) -> String {
    let below = path.strip_prefix(workspace::root()).unwrap_or(path);
    format!("{INSIDE}/{}", below.display())
}

/// This program in the guest.
pub(crate) fn xtask() -> String {
    format!("{INSIDE}/target/x86_64-unknown-linux-gnu/debug/xtask")
}

/// One line of `cargo --message-format=json` that tells of a program.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds the programs, and the tests that were chosen.
pub(crate) fn build(tests: &[Chosen]) -> Result<Built> {
    let mut arguments = vec!["build", "--quiet", "--message-format=json-render-diagnostics"];
    arguments.extend(["--bins", "--examples"]);
    for package in PROGRAMS.iter().copied().chain(tests.iter().map(|test| test.package.as_str())) {
        arguments.extend(["--package", package]);
    }
    for test in tests {
        arguments.extend(["--test", &test.name]);
    }
    let mut built = Built { tests: Vec::new(), programs: Vec::new() };
    for line in process::output("cargo", &arguments)?.lines() {
        // Other messages have other fields.
        let Ok(Artifact { manifest_path, target, executable: Some(program) }) = serde_json::from_str(line)
        else {
            continue;
        };
        let directory = manifest_path.parent().and_then(Path::file_name).unwrap_or_default();
        let package = directory.to_string_lossy().into_owned();
        let is = |kind: &str| target.kind.iter().any(|one| one == kind);
        if is("test") {
            built.tests.push(Test { package, name: target.name, program });
        } else if is("example") || (is("bin") && !is_unit_test(&program)) {
            built.programs.push(program);
        }
    }
    built.tests.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    Ok(built)
}

/// Unit tests of a program are reported as programs too; they lie in `deps`.
fn is_unit_test(program: &Path) -> bool {
    program.parent().is_some_and(|directory| directory.ends_with("deps"))
}

/// Packs the programs, the base images and the plan into a file system.
pub(crate) fn pack(built: &Built, steps: &[Step]) -> Result<PathBuf> {
    let directory = fixtures::directory().join("vm");
    let staging = directory.join("payload");
    if staging.exists() {
        fs::remove_dir_all(&staging)?;
    }
    let wanted = |test: &&Test| steps.iter().any(|step| step.command.contains(&test.inside()));
    let tests = built.tests.iter().filter(wanted).map(|test| test.program.clone());
    let mut files: Vec<PathBuf> = tests.chain(built.programs.iter().cloned()).collect();
    files.push(fixtures::busybox()?.busybox);
    let mut bytes = 0;
    for file in &files {
        let below = file.strip_prefix(workspace::root()).context("a program outside of the workspace")?;
        let target = staging.join(below);
        fs::create_dir_all(target.parent().unwrap_or(&staging))?;
        bytes += fs::metadata(file)?.len();
        // A link costs nothing; where it is not possible the file is copied.
        if fs::hard_link(file, &target).is_err() {
            fs::copy(file, &target).with_context(|| file.display().to_string())?;
        }
    }
    fs::create_dir_all(staging.join("xtask"))?;
    fs::write(staging.join(STEPS), serde_json::to_vec_pretty(steps)?)?;
    let image = directory.join("payload.img");
    make_ext4(&staging, &image, bytes / 1_000_000 * 11 / 10 + ROOM_MB)?;
    fs::remove_dir_all(&staging)?;
    Ok(image)
}

/// Makes a file with an ext4 file system that holds a copy of a directory.
pub(crate) fn make_ext4(directory: &Path, image: &Path, megabytes: u64) -> Result<()> {
    if image.exists() {
        fs::remove_file(image)?;
    }
    let (from, to) = (directory.display().to_string(), image.display().to_string());
    let size = format!("{megabytes}M");
    // Without a journal, and with no inode tables left to be written by the guest.
    let options = ["-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=0", "-m", "0", "-d"];
    let mut arguments = options.to_vec();
    arguments.extend([from.as_str(), &to, &size]);
    process::output("mke2fs", &arguments)?;
    Ok(())
}
