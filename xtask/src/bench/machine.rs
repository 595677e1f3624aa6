//! The machine that was measured on, and the versions of everything.

use crate::peers::Peers;
use crate::process;
use anyhow::Result;
use std::fs;

pub(super) fn facts(peers: Option<&Peers>) -> Result<Vec<(&'static str, String)>> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // Only the number: the rest of the release names the machine's maker.
    let kernel = kernel.split('-').next().unwrap_or_default().trim().to_owned();
    let cgroups = if fs::exists("/sys/fs/cgroup/cgroup.controllers")? { "version 2" } else { "version 1" };
    let memory = memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim();
    let processors = cpu.matches("processor\t").count();
    let mut facts = vec![
        ("processors", format!("{processors} x {}", model.trim_start_matches([' ', '\t', ':']))),
        ("memory", memory.to_owned()),
        ("Linux", kernel),
        ("control groups", cgroups.to_owned()),
    ];
    if let Some(peers) = peers {
        facts.push((
            "packages of the peers",
            format!("Debian {}: {}", peers.suite, peers.versions.join(", ")),
        ));
    }
    for (name, words) in [
        ("docker.io, engine", &["dockerd", "--version"][..]),
        ("docker.io, client", &["docker", "--version"]),
        ("containerd", &["containerd", "--version"]),
        ("docker-compose", &["docker-compose", "version"]),
        ("podman", &["podman", "--version"]),
        ("crun", &["crun", "--version"]),
        ("runc", &["runc", "--version"]),
        ("youki", &["youki", "--version"]),
        ("docker-registry", &["dpkg-query", "-W", "-f", "${Version}\n", "docker-registry"]),
        ("iperf3", &["iperf3", "--version"]),
        ("rustc", &["rustc", "--version"]),
    ] {
        let said =
            process::output(words[0], &words[1..]).unwrap_or_else(|error| format!("not there: {error}"));
        facts.push((name, said.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(facts)
}
