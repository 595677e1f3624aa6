//! The log driver journald and the machine's own journal: what journalctl finds of a container, and by what.

use crate::check::{Check, same, skip};
use crate::fixture::BUSYBOX;
use crate::scope::Scope;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Run only when it is named: hardly a machine that tests has a journal, and nobody's own is to be written to.
pub(crate) const AREA: &str = "journal";
const SOCKET: &str = "/run/systemd/journal/socket";

pub(crate) fn checks() -> Vec<Check> {
    vec![Check::new(AREA, "journalctl finds the lines of a container by its fields", fields)]
}

/// What journalctl knows of a container, each entry a document.
fn entries(name: &str) -> Result<Vec<Value>> {
    let matching = format!("CONTAINER_NAME={name}");
    let found = Command::new("journalctl").args(["--quiet", "--output=json", &matching]).output()?;
    ensure!(found.status.success(), "journalctl: {}", String::from_utf8_lossy(&found.stderr));
    let text = String::from_utf8(found.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).context("a line of journalctl")).collect()
}

fn fields(scope: &Scope<'_>) -> Result<()> {
    if !Path::new(SOCKET).exists() || Command::new("journalctl").arg("--version").output().is_err() {
        return Err(skip("this machine has no journal"));
    }
    let flags = ["--log-driver", "journald", "--log-opt", "tag={{.ImageName}}/{{.Name}}"];
    let more = ["--log-opt", "labels=a.b", "--log-opt", "env=COLOUR", "--label", "a.b=1", "-e", "COLOUR=red"];
    let script = "echo out; echo err >&2; printf end";
    let name = scope.start("journal", &[&flags[..], &more].concat(), &["sh", "-c", script])?;
    scope.ended(&name)?;
    let id = scope.inspect(&name)?["Id"].as_str().context("Id")?.to_owned();
    let found =
        scope.eventually("three entries", || Ok(Some(entries(&name)?).filter(|found| found.len() == 3)))?;
    let tag = format!("{BUSYBOX}/{name}");
    for (message, priority) in [("out", "6"), ("err", "3"), ("end", "6")] {
        let entry = found.iter().find(|entry| entry["MESSAGE"] == message).context(message)?;
        for (field, value) in [
            ("PRIORITY", priority),
            ("CONTAINER_ID", &id[..12]),
            ("CONTAINER_ID_FULL", &id),
            ("CONTAINER_NAME", &name),
            ("CONTAINER_TAG", &tag),
            ("SYSLOG_IDENTIFIER", &tag),
            ("IMAGE_NAME", BUSYBOX),
            ("A_B", "1"),
            ("COLOUR", "red"),
            ("_TRANSPORT", "journal"),
        ] {
            same(field, entry[field].as_str(), Some(value))?;
        }
        let partial = (message == "end").then_some("true");
        same("CONTAINER_PARTIAL_MESSAGE", entry["CONTAINER_PARTIAL_MESSAGE"].as_str(), partial)?;
    }
    let log = scope.docker(&["logs", &name])?.expect_code(0)?;
    same("logs", (log.stdout.as_str(), log.stderr.as_str()), ("out\nend", "err\n"))
}
