//! What depends on the machine: AppArmor where it is on, and who makes control groups.

use crate::check::{Check, contains, same};
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::Value;

const AREA: &str = "confinement";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "AppArmor's default profile is in force, for exec too", default_profile),
        Check::new(AREA, "--security-opt apparmor=unconfined and --privileged lift it", unconfined),
        Check::new(AREA, "the profile forbids to mount, whatever the capabilities", mount),
        Check::new(AREA, "the group lies where the cgroup driver puts it", group),
        Check::new(AREA, "--cgroup-parent is a path or a slice", parent),
    ]
}

fn info(scope: &Scope<'_>) -> Result<Value> {
    scope.api("GET", "/info")?.json()
}

/// The profile of a container that does not say; empty where AppArmor is off.
fn default_name(scope: &Scope<'_>) -> Result<&'static str> {
    let options = info(scope)?["SecurityOptions"].to_string();
    Ok(if options.contains("name=apparmor") { "docker-default" } else { "" })
}

/// The name of the profile that a process of a container is under, without its mode.
const OWN_PROFILE: &str = "sed 's/ .*//' /proc/self/attr/current 2>/dev/null | tr -d '\\0'";

fn default_profile(scope: &Scope<'_>) -> Result<()> {
    let profile = default_name(scope)?;
    let name = scope.start("confined", &[], &["sleep", "1000"])?;
    same("inspect", &scope.inspect(&name)?["AppArmorProfile"], profile)?;
    if !profile.is_empty() {
        same("exec", scope.ok(&["exec", &name, "sh", "-c", OWN_PROFILE])?.trim(), profile)?;
        same("run", scope.script(&[], "cat /proc/self/attr/current")?, format!("{profile} (enforce)"))?;
    }
    Ok(())
}

fn unconfined(scope: &Scope<'_>) -> Result<()> {
    let is_on = !default_name(scope)?.is_empty();
    for (word, flags) in
        [("lifted", &["--security-opt", "apparmor=unconfined"][..]), ("mighty", &["--privileged"][..])]
    {
        let name = scope.start(word, flags, &["sleep", "1000"])?;
        if is_on {
            same("inspect", &scope.inspect(&name)?["AppArmorProfile"], "unconfined")?;
            same("exec", scope.ok(&["exec", &name, "sh", "-c", OWN_PROFILE])?.trim(), "unconfined")?;
        }
    }
    Ok(())
}

fn mount(scope: &Scope<'_>) -> Result<()> {
    let script = "mount -t tmpfs none /mnt 2>/dev/null && echo mounted || echo denied";
    let script = format!("mkdir -p /mnt; {script}");
    let expected = if default_name(scope)?.is_empty() { "mounted" } else { "denied" };
    same("with the profile", scope.script(&["--cap-add", "SYS_ADMIN"], &script)?, expected)?;
    let lifted = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
    same("without", scope.script(&lifted, &script)?, "mounted")
}

/// The groups of a running container, as the host sees them: the lines of /proc/PID/cgroup.
fn groups(scope: &Scope<'_>, name: &str) -> Result<(String, String)> {
    let state = scope.inspect(name)?;
    let pid = &state["State"]["Pid"];
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).context("the groups of the container")?;
    Ok((text, state["Id"].as_str().unwrap_or_default().to_owned()))
}

fn group(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("grouped", &[], &["sleep", "1000"])?;
    let (text, id) = groups(scope, &name)?;
    match info(scope)?["CgroupDriver"].as_str() {
        Some("systemd") => {
            contains("group", &text, "system.slice/")?;
            contains("group", &text, &format!("-{id}.scope"))
        }
        _ => contains("group", &text, &format!("/{id}")),
    }
}

fn parent(scope: &Scope<'_>) -> Result<()> {
    let is_systemd = info(scope)?["CgroupDriver"] == "systemd";
    let (parent, expected) = if is_systemd {
        ("berth-test.slice", "berth.slice/berth-test.slice/")
    } else {
        ("/berth-test-parent", "/berth-test-parent/")
    };
    let name = scope.start("child", &["--cgroup-parent", parent], &["sleep", "1000"])?;
    let (text, _) = groups(scope, &name)?;
    contains("group", &text, expected)?;
    scope.ok(&["rm", "-f", &name])?;
    if is_systemd {
        let refused = scope.run(&["--cgroup-parent", "/somewhere"], &["true"])?;
        same("refused", refused.code != 0, true)?;
        return contains("stderr", &refused.stderr, "should be a valid slice named as");
    }
    // The parent was made for this check.
    for tree in std::fs::read_dir("/sys/fs/cgroup")? {
        let left = tree?.path().join("berth-test-parent");
        if left.is_dir() {
            std::fs::remove_dir(&left).with_context(|| left.display().to_string())?;
        }
    }
    let unified = std::path::Path::new("/sys/fs/cgroup/berth-test-parent");
    if unified.is_dir() {
        std::fs::remove_dir(unified)?;
    }
    Ok(())
}
