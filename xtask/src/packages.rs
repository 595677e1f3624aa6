//! Debian's packages: installed when missing, without questions, and without starting any service.

use crate::process;
use anyhow::{Context, Result};
use std::process::{Command, Stdio};

/// A service started by a package would run beside the engine under test; 101 forbids it (see invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is not there yet.
pub(crate) fn install(names: &[&str]) -> Result<()> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let _policy = Policy::forbid()?;
    let environment = [("DEBIAN_FRONTEND", "noninteractive")];
    let mut arguments = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    arguments.extend(&missing);
    if process::run_with("apt-get", &arguments, &environment).is_ok() {
        return Ok(());
    }
    // The lists of packages may be older than the mirror, or not be there at all.
    process::run_with("apt-get", &["update", "--quiet"], &environment)?;
    process::run_with("apt-get", &arguments, &environment)
}

fn is_installed(name: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", name])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

/// A policy file of ours that forbids services, removed when dropped; one that is there already stays.
struct Policy {
    is_ours: bool,
}

impl Policy {
    fn forbid() -> Result<Self> {
        if std::path::Path::new(POLICY).exists() {
            return Ok(Self { is_ours: false });
        }
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("write {POLICY}: are you root?"))?;
        process::run("chmod", &["755", POLICY])?;
        Ok(Self { is_ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}: {error}");
        }
    }
}
