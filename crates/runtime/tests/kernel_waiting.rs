//! Containers that wait to be started, and the end of those that share their pids.

#[expect(unreachable_pub, dead_code, reason = "shared by several test binaries, each of which uses a part")]
mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{Bundle, unable};

fn pid(bundle: &Bundle) -> u32 {
    let state: Value = serde_json::from_str(&bundle.runc(&["state", &bundle.id]).out).expect("state");
    state["pid"].to_string().parse().expect("pid")
}

/// Waits until a condition holds, by asking again; the tests' programs have no other way to tell.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_waiting_container_holds_nothing_of_its_makers() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("true");
    bundle.save();
    // Its caller leaves descriptors open, as careless callers do.
    let script = "exec 5</ 6</etc/passwd; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(support::runc()).arg("--root").arg(bundle.directory.join("state"));
    let created = command.args(["create", &bundle.id]).current_dir(&bundle.directory);
    let created = created.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(created.expect("runc").success());
    let mut held = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", pid(&bundle))).expect("fd").flatten() {
        held.push(fs::read_link(entry.path()).expect("link").display().to_string());
    }
    held.retain(|target| target != "/dev/null" && target != "/" && !target.starts_with("socket:"));
    // What tells it to end before it is started.
    held.retain(|target| target != "anon_inode:[signalfd]");
    assert_eq!(held, Vec::<String>::new());
    assert_eq!(bundle.runc(&["start", &bundle.id]).code, 0);
    until("stopped", || bundle.runc(&["state", &bundle.id]).out.contains("stopped"));
}

#[test]
fn a_waiting_container_can_be_told_to_end() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("true");
    bundle.save();
    let created = bundle
        .command(&["create", &bundle.id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(created.expect("runc").success());
    assert_eq!(bundle.runc(&["kill", &bundle.id, "TERM"]).code, 0);
    until("stopped", || bundle.runc(&["state", &bundle.id]).out.contains("stopped"));
    assert_eq!(bundle.runc(&["delete", &bundle.id]).code, 0);
}

#[test]
fn killing_a_container_without_pids_of_its_own_ends_all_of_it() {
    if unable() {
        return;
    }
    let bundle = Bundle::new().script("sleep 1000 & sleep 1000 & wait").with(|config| {
        config["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "pid");
    });
    bundle.start();
    let pids = || -> Vec<u32> {
        serde_json::from_str(&bundle.runc(&["ps", "-f", "json", &bundle.id]).out).unwrap_or_default()
    };
    until("three processes", || pids().len() == 3);
    assert_eq!(bundle.runc(&["kill", &bundle.id, "KILL"]).code, 0);
    until("no process", || pids().is_empty());
}
