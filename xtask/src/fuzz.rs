//! `cargo xtask fuzz`: every crate's fuzz targets for longer than under `cargo test`, one after the other.
//!
//! A target is a test in a module, or a test file, called `fuzz` of a crate that has the crate `fuzz` among its
//! dev-dependencies. A new one needs no entry here.

use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What was asked for.
struct Wish {
    seconds: u64,
    seed: Option<u64>,
    words: Vec<String>,
}

fn parse(words: &[String]) -> Result<Wish> {
    let mut wish = Wish { seconds: 60, seed: None, words: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().with_context(|| format!("{word} needs a number"))?;
            text.parse::<u64>().with_context(|| format!("{word} {text}"))
        };
        match word.as_str() {
            "--seconds" => wish.seconds = number()?,
            "--seed" => wish.seed = Some(number()?),
            flag if flag.starts_with("--") => bail!("unknown flag {flag}: --seconds or --seed"),
            part => wish.words.push(part.to_owned()),
        }
    }
    Ok(wish)
}

/// One test binary with its targets.
struct Binary {
    package: String,
    path: PathBuf,
    targets: Vec<String>,
}

pub(crate) fn run(words: &[String]) -> Result<()> {
    let wish = parse(words)?;
    let mut failed = Vec::new();
    let mut count = 0;
    for binary in binaries()? {
        for target in &binary.targets {
            let name = format!("{}::{target}", binary.package);
            if !wish.words.is_empty() && !wish.words.iter().any(|word| name.contains(word)) {
                continue;
            }
            count += 1;
            let mut command = Command::new(&binary.path);
            command.args(["--exact", target, "--nocapture", "--quiet"]).stdin(Stdio::null());
            command.env("BERTH_FUZZ_SECONDS", wish.seconds.to_string());
            if let Some(seed) = wish.seed {
                command.env("BERTH_FUZZ_SEED", seed.to_string());
            }
            command.current_dir(workspace::root());
            println!("==> {name}, {} s", wish.seconds);
            if !command.status().with_context(|| binary.path.display().to_string())?.success() {
                failed.push(name);
            }
        }
    }
    match (count, failed.is_empty()) {
        (0, _) => bail!("no fuzz target has {} in its name", wish.words.join(" or ")),
        (_, true) => {
            println!("fuzz: {count} targets, none failed");
            Ok(())
        }
        _ => bail!("failed: {}", failed.join(", ")),
    }
}

/// Builds the test binaries of all crates that have targets, and asks them for their names.
fn binaries() -> Result<Vec<Binary>> {
    /// A line of cargo's.
    #[derive(Deserialize)]
    struct Message {
        target: Option<Named>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
        kind: Vec<String>,
    }
    impl Named {
        /// Only these are asked: an example or a test with a `main` of its own does its work whatever it is asked.
        fn may_have_targets(&self) -> bool {
            let is = |kind: &str| self.kind.iter().any(|one| one == kind);
            is("lib") || (is("test") && self.name == "fuzz")
        }
    }
    let packages = workspace::packages()?;
    let uses = |package: &&workspace::Package| package.dependencies.iter().any(|one| one.name == "fuzz");
    let mut arguments = vec!["test", "--no-run", "--message-format=json-render-diagnostics"];
    for package in packages.iter().filter(uses) {
        arguments.extend(["--package", &package.name]);
    }
    let mut found = Vec::new();
    for line in process::output("cargo", &arguments)?.lines() {
        let Ok(Message { target: Some(target), executable: Some(path) }) = serde_json::from_str(line) else {
            continue;
        };
        if !target.may_have_targets() {
            continue;
        }
        let list = process::output(&path.display().to_string(), &["--list", "--format", "terse"])?;
        let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
        let is_target = |name: &&str| target.name == "fuzz" || name.split("::").any(|part| part == "fuzz");
        let targets: Vec<String> = names.filter(is_target).map(str::to_owned).collect();
        if !targets.is_empty() {
            found.push(Binary { package: target.name, path, targets });
        }
    }
    Ok(found)
}
