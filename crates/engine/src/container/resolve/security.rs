//! Rights: capabilities, system call filter, labels, hidden paths.

use api::host_config::HostConfig;

use super::super::spec::Seccomp;
use crate::config::SeccompProfile;
use crate::{Error, Result};

/// What a container has when nobody says otherwise, in Docker's order.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Hidden from a container that is not privileged.
const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Read-only for a container that is not privileged.
const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|item| (*item).to_owned()).collect()
}

/// `chown`, `CAP_CHOWN` → `CAP_CHOWN`; `ALL` stays; unknown names are refused.
fn normalise(names: &[String], field: &str, known: &[&'static str]) -> Result<Vec<String>> {
    let mut normal = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" {
            normal.push(upper);
            continue;
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if !known.contains(&full.as_str()) {
            return Err(Error::invalid(format!("invalid {field}: unknown capability: \"{full}\"")));
        }
        normal.push(full);
    }
    Ok(normal)
}

/// The capabilities of the program: default, plus added, minus dropped; `ALL` on either side is understood.
pub(crate) fn capabilities(host: &HostConfig, known: &[&'static str]) -> Result<Vec<String>> {
    let add = normalise(host.cap_add.as_deref().unwrap_or_default(), "CapAdd", known)?;
    let drop = normalise(host.cap_drop.as_deref().unwrap_or_default(), "CapDrop", known)?;
    if host.privileged {
        return Ok(owned(known));
    }
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let base: Vec<String> = match (all(&add), all(&drop)) {
        (true, true) => owned(known),
        (true, false) => owned(known).into_iter().filter(|name| !drop.contains(name)).collect(),
        (false, true) => Vec::new(),
        (false, false) => {
            owned(DEFAULT_CAPABILITIES).into_iter().filter(|name| !drop.contains(name)).collect()
        }
    };
    let mut wanted = base;
    if !all(&add) {
        for name in add {
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
    }
    Ok(wanted)
}

/// Splits `key=value` and the old `key:value`.
fn options(host: &HostConfig) -> impl Iterator<Item = (&str, Option<&str>)> {
    host.security_opt.iter().flatten().map(|option| {
        match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((key, value)) => (key, Some(value)),
            None => (option.as_str(), None),
        }
    })
}

/// The last word on gaining privileges; unknown options are refused here, for all of them are seen here.
pub(super) fn no_new_privileges(host: &HostConfig, default: bool) -> Result<bool> {
    let mut decided = default;
    for (key, value) in options(host) {
        match (key, value) {
            ("no-new-privileges", None | Some("true" | "1" | "t")) => decided = true,
            ("no-new-privileges", Some("false" | "0" | "f")) => decided = false,
            ("seccomp" | "apparmor", Some(_)) => {}
            ("writable-cgroups", Some(word)) if api::query::strict_bool(word).is_some() => {}
            ("writable-cgroups", None) => {}
            // Without SELinux nothing has a label, whatever is asked for.
            ("label", Some(_)) | ("disable", None) => {}
            (_, None) => return Err(Error::invalid(format!("invalid --security-opt 1: \"{key}\""))),
            (key, Some(value)) => {
                return Err(Error::invalid(format!("invalid --security-opt 2: \"{key}={value}\"")));
            }
        }
    }
    Ok(decided)
}

/// Whether control groups may be changed from inside, if the request says.
pub(super) fn writable_cgroups(host: &HostConfig) -> Option<bool> {
    let (_, word) = options(host).filter(|(key, _)| *key == "writable-cgroups").last()?;
    Some(word.is_none_or(|word| api::query::strict_bool(word) == Some(true)))
}

pub(super) fn seccomp(host: &HostConfig, default: &SeccompProfile) -> Result<Seccomp> {
    let asked = options(host).filter(|(key, _)| *key == "seccomp").last().and_then(|(_, value)| value);
    Ok(match asked {
        _ if host.privileged && asked.is_none() => Seccomp::Unconfined,
        None => match default {
            SeccompProfile::Builtin => Seccomp::Default,
            SeccompProfile::Unconfined => Seccomp::Unconfined,
            SeccompProfile::Custom { text, .. } => Seccomp::Custom(text.clone()),
        },
        Some("builtin") => Seccomp::Default,
        Some("unconfined") => Seccomp::Unconfined,
        Some(profile) => {
            serde_json::from_str::<serde_json::Value>(profile)
                .map_err(|error| Error::invalid(format!("Decoding seccomp profile failed: {error}")))?;
            Seccomp::Custom(profile.to_owned())
        }
    })
}

pub(super) fn apparmor(host: &HostConfig) -> Result<Option<String>> {
    let asked = options(host).filter(|(key, _)| *key == "apparmor").last().and_then(|(_, value)| value);
    Ok(asked.filter(|profile| !profile.is_empty()).map(ToOwned::to_owned))
}

/// Names the default paths where a request names none, as Docker does: inspect shows them.
pub(in crate::container) fn name_hidden_paths(host: &mut HostConfig) {
    if !host.privileged {
        host.masked_paths.get_or_insert_with(|| owned(MASKED_PATHS));
        host.readonly_paths.get_or_insert_with(|| owned(READONLY_PATHS));
    }
}

/// Names that a container which shares the host's processes or memory, or may do everything, has no label, as Docker does.
pub(in crate::container) fn name_label(host: &mut HostConfig) {
    let shares = host.privileged || host.ipc_mode == "host" || host.pid_mode == "host";
    let mut asked = host.security_opt.iter().flatten();
    if shares && !asked.any(|option| option.split('=').next() == Some("label")) {
        host.security_opt.get_or_insert_default().push("label=disable".to_owned());
    }
}

/// Masked and read-only paths: what the request says, or the default; none when privileged.
pub(super) fn hidden_paths(host: &HostConfig) -> (Vec<String>, Vec<String>) {
    if host.privileged {
        return (Vec::new(), Vec::new());
    }
    let masked = host.masked_paths.clone().unwrap_or_else(|| owned(MASKED_PATHS));
    let readonly = host.readonly_paths.clone().unwrap_or_else(|| owned(READONLY_PATHS));
    (masked, readonly)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_NET_RAW"];

    fn check(add: &[&str], drop: &[&str], privileged: bool, expected: &str) {
        let host = HostConfig {
            cap_add: Some(owned(add)),
            cap_drop: Some(owned(drop)),
            privileged,
            ..HostConfig::default()
        };
        let printed = match capabilities(&host, KNOWN) {
            Ok(list) => list.iter().map(|name| &name[4..]).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(printed, expected, "add {add:?} drop {drop:?}");
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_docker_does() {
        let default = DEFAULT_CAPABILITIES.iter().map(|name| &name[4..]).collect::<Vec<_>>().join(" ");
        check(&[], &[], false, &default);
        check(&["sys_admin"], &["ALL"], false, "SYS_ADMIN");
        check(&["ALL"], &["net_raw"], false, "CHOWN KILL SYS_ADMIN");
        check(&["ALL"], &["ALL"], false, "CHOWN KILL SYS_ADMIN NET_RAW");
        check(&[], &[], true, "CHOWN KILL SYS_ADMIN NET_RAW");
        check(&["CAP_FLY"], &[], false, "invalid CapAdd: unknown capability: \"CAP_FLY\"");
        check(&[], &["fly"], false, "invalid CapDrop: unknown capability: \"CAP_FLY\"");
    }
}
