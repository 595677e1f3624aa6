//! What is run in the guest: a plan, made outside and carried out inside.

use super::payload::{self, Built, Chosen};
use crate::workspace::Package;
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

/// Crates whose kernel tests are about groups and namespaces; those of others say nothing new in the guest.
const CRATES: &[&str] = &["linux", "cgroup", "runtime", "shim"];

/// The tests of crate network that depend on what kinds of links, queues and protocols the kernel knows.
const NETWORK: &[&str] = &["kernel_attach", "kernel_networks", "kernel_sctp", "kernel_shape"];

/// The tests of crate image that need a kernel with quotas.
const IMAGE: &[&str] = &["kernel_quota"];

/// The tests that are run in the guest and whose step has one of the words in its name.
pub(crate) fn tests(packages: &[Package], words: &[String]) -> Vec<Chosen> {
    let mut tests = Vec::new();
    for package in packages {
        for target in package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "test")) {
            let of_links = package.name == "network" && NETWORK.contains(&target.name.as_str());
            let Some(boot) = boot_of(&target.name) else { continue };
            let of_disks = package.name == "image" && IMAGE.contains(&target.name.as_str());
            let is_ours = of_links || of_disks || CRATES.contains(&package.name.as_str());
            if is_ours && is_wanted(&name(boot, &package.name, &target.name), words) {
                tests.push(Chosen { package: package.name.clone(), name: target.name.clone() });
            }
        }
    }
    tests
}

/// Every step that has one of the words in its name, in the order in which they are run.
pub(crate) fn plan(built: &Built, words: &[String]) -> Vec<Step> {
    let mut steps = Vec::new();
    for test in &built.tests {
        let Some(boot) = boot_of(&test.name) else { continue };
        steps.push(Step { boot, name: name(boot, &test.package, &test.name), command: vec![test.inside()] });
    }
    for (boot, part, areas) in SUITE {
        let suite = [&payload::xtask(), "inside", "vm", "conformance"].map(str::to_owned);
        let command = suite.into_iter().chain(areas.iter().map(|area| (*area).to_owned())).collect();
        steps.push(Step { boot: *boot, name: name(*boot, "conformance", part), command });
    }
    // A clock that is nobody else's.
    let jumps = [&payload::xtask(), "inside", "vm", "faults", "clocks"].map(str::to_owned).to_vec();
    steps.push(Step { boot: Boot::Plain, name: name(Boot::Plain, "faults", "clocks"), command: jumps });
    steps.retain(|step| is_wanted(&step.name, words));
    steps
}

/// The areas of the black-box suite that depend on how groups are made, on the version of cgroups and on security modules:
/// all of them where groups are made by systemd; where we make them, the limits tell. Links and queues of the host depend on
/// the kernel alone, and so do quotas, and what can be mounted of a mount that is attached nowhere.
const SUITE: &[(Boot, &str, &[&str])] = &[
    (Boot::Plain, "limits", &["limits"]),
    (Boot::Plain, "uplinks", &["uplinks"]),
    (Boot::Plain, "quotas", &["quotas"]),
    (Boot::Plain, "mounts", &["mount type=image"]),
    (Boot::Systemd, "journal", &["journal:"]),
    (Boot::Systemd, "confined", &["confinement", "isolation", "limits"]),
];

/// Tests that every machine can run are run where nobody else makes groups, the others beside systemd.
fn boot_of(test: &str) -> Option<Boot> {
    match test.split_once('_')? {
        ("kernel", _) => Some(Boot::Plain),
        ("guest", _) => Some(Boot::Systemd),
        _ => None,
    }
}

fn name(boot: Boot, what: &str, program: &str) -> String {
    format!("{boot}:{what}:{program}")
}

fn is_wanted(name: &str, words: &[String]) -> bool {
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}
