//! What an engine could leave on a machine: mounts in any namespace, links, rules, cgroups, processes.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Everything of one moment that an engine could have made, one line each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct World {
    lines: BTreeSet<String>,
}

impl World {
    /// Looks at the machine. Mounts and processes count when they name one of `marks` (directories, ids); links and rules
    /// are those of the caller's network namespace; cgroups count when one of `marks` is part of their path.
    pub fn observe(marks: &[String]) -> Result<Self> {
        let mut lines = BTreeSet::new();
        add_processes(&mut lines, marks)?;
        add_cgroups(&mut lines, Path::new("/sys/fs/cgroup"), marks)?;
        for (program, arguments) in
            [("ip", &["-o", "link"][..]), ("nft", &["list", "ruleset"]), ("ip", &["route"])]
        {
            let output =
                Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                // `3: eth0@if2: <...>`: numbers of links and counters of rules change by themselves.
                let stable: Vec<&str> = match arguments[0] {
                    "-o" => line.split_whitespace().skip(1).take(1).collect(),
                    // A bridge's route says by and by that nothing is plugged in.
                    _ => line.split_whitespace().filter(|word| *word != "linkdown").collect(),
                };
                lines.insert(format!("{program}: {}", stable.join(" ")));
            }
        }
        Ok(Self { lines })
    }

    /// What is here and was not there before.
    #[must_use]
    pub fn added_since(&self, before: &Self) -> Vec<String> {
        self.lines.difference(&before.lines).cloned().collect()
    }
}

fn add_processes(lines: &mut BTreeSet<String>, marks: &[String]) -> Result<()> {
    let own = std::process::id();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<u32>() else { continue };
        // A process may end while it is being looked at: then it is no leftover.
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        for mount in mounts.lines().filter(|line| is_marked(line, marks)) {
            lines.insert(format!("mount: {}", mount.splitn(4, ' ').nth(3).unwrap_or(mount)));
        }
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if pid != own && is_marked(&command, marks) && !command.contains("conformance") {
            lines.insert(format!("process: {command}"));
        }
    }
    Ok(())
}

fn add_cgroups(lines: &mut BTreeSet<String>, directory: &Path, marks: &[String]) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let path = entry.path();
        if is_marked(&path.to_string_lossy(), marks) {
            lines.insert(format!("cgroup: {}", path.display()));
        }
        add_cgroups(lines, &path, marks)?;
    }
    Ok(())
}

fn is_marked(text: &str, marks: &[String]) -> bool {
    marks.iter().any(|mark| text.contains(mark.as_str()))
}
