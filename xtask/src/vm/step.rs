//! What is run in the guest: a plan, made outside and carried out inside.

use super::payload::Built;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the guest is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Boot {
    /// Process 1 is a script of ours: nobody else makes groups.
    Plain,
    /// Process 1 is systemd, and AppArmor is on.
    Systemd,
}

impl Boot {
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Systemd];
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Systemd => "systemd",
        })
    }
}

/// One program that is run in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) boot: Boot,
    /// `boot:crate:program`; words of the command line choose by it.
    pub(crate) name: String,
    /// The program as the guest sees it, and its arguments.
    pub(crate) command: Vec<String>,
}

impl Step {
    pub(crate) fn is_wanted(&self, words: &[String]) -> bool {
        words.is_empty() || words.iter().any(|word| self.name.contains(word.as_str()))
    }

    fn new(boot: Boot, name: &str, command: &[&str]) -> Self {
        let name = format!("{boot}:{name}");
        Self { boot, name, command: command.iter().map(|word| (*word).to_owned()).collect() }
    }
}

/// Crates whose kernel tests are about groups and namespaces; those of others say nothing new in the guest.
const CRATES: &[&str] = &["linux", "cgroup", "runtime", "shim"];

/// The tests of crate network that depend on what kinds of links the kernel knows.
const NETWORK: &[&str] = &["kernel_attach", "kernel_networks"];

/// Every step, in the order in which it is run.
pub(crate) fn all(built: &Built) -> Vec<Step> {
    let mut steps = Vec::new();
    for test in &built.tests {
        let of_links = test.package == "network" && NETWORK.contains(&test.name.as_str());
        if !of_links && !CRATES.contains(&test.package.as_str()) {
            continue;
        }
        let boot = match test.name.split_once('_') {
            Some(("kernel", _)) => Boot::Plain,
            Some(("guest", _)) => Boot::Systemd,
            _ => continue,
        };
        steps.push(Step::new(boot, &format!("{}:{}", test.package, test.name), &[&test.inside()]));
    }
    steps
}
