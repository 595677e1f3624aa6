//! Which namespaces are shared, and what must agree with that.

use std::collections::BTreeMap;

use api::config::Config;
use api::host_config::{HostConfig, IPC_SYSCTLS};

use super::super::spec::{Namespaces, Share};
use super::{Donor, Facts};
use crate::{Error, Result};

/// sethostname(2) takes no more.
const MAX_HOSTNAME: usize = 64;

pub(super) fn resolve(config: &Config, host: &HostConfig, facts: &Facts<'_>) -> Result<Namespaces> {
    let pid = share(&host.pid_mode, facts)?
        .filter(|_| host.pid_mode != "private")
        .ok_or_else(|| Error::invalid(format!("invalid PID mode: {}", host.pid_mode)))?;
    let (ipc, ipc_shareable, ipc_none) = ipc(host, facts)?;
    let uts = match host.uts_mode.as_str() {
        "" => Share::Private,
        "host" => Share::Host,
        other => return Err(Error::invalid(format!("invalid UTS mode: {other}"))),
    };
    let cgroup = match host.cgroupns_mode.as_str() {
        "" if facts.machine.cgroup_v2 => Share::Private,
        "" | "host" => Share::Host,
        "private" => Share::Private,
        other => return Err(Error::invalid(format!("invalid cgroup namespace mode: {other}"))),
    };
    let network = match host.network_mode.as_str() {
        "host" if !config.network_disabled => Share::Host,
        mode if mode.starts_with("container:") => share(mode, facts)?.ok_or_else(|| {
            Error::invalid("invalid network mode: invalid container format container:<name|id>")
        })?,
        _ => Share::Private,
    };
    if uts == Share::Host && !config.hostname.is_empty() {
        return Err(Error::invalid("conflicting options: hostname and the UTS mode"));
    }
    // A privileged container sees all control groups, as Docker's does.
    Ok(Namespaces { pid, ipc, ipc_shareable, ipc_none, uts, cgroup, network })
}

/// Empty, `private`, `host` or `container:<name>`; `None` for anything else.
fn share(mode: &str, facts: &Facts<'_>) -> Result<Option<Share>> {
    Ok(match mode {
        "" | "private" => Some(Share::Private),
        "host" => Some(Share::Host),
        mode => match mode.strip_prefix("container:") {
            None | Some("") => None,
            Some(name) => {
                let donor = facts
                    .containers
                    .get(name)
                    .ok_or_else(|| Error::not_found(format!("No such container: {name}")))?;
                Some(Share::Container(donor.id.clone()))
            }
        },
    })
}

fn ipc(host: &HostConfig, facts: &Facts<'_>) -> Result<(Share, bool, bool)> {
    Ok(match host.ipc_mode.as_str() {
        "" | "private" => (Share::Private, false, false),
        "none" => (Share::Private, false, true),
        "shareable" => (Share::Private, true, false),
        "host" => (Share::Host, false, false),
        mode => {
            let shared =
                share(mode, facts)?.ok_or_else(|| Error::invalid(format!("invalid IPC mode: {mode}")))?;
            let donor = facts.containers.values().find(|donor| shared == Share::Container(donor.id.clone()));
            if donor.is_some_and(|donor| !donor.ipc_shareable) {
                return Err(Error::invalid(
                    "non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                ));
            }
            (shared, false, false)
        }
    })
}

pub(super) fn hostname(config: &Config, host: &HostConfig, facts: &Facts<'_>) -> Result<String> {
    let name = &config.hostname;
    if name.len() > MAX_HOSTNAME {
        return Err(Error::invalid(format!(
            "hostname \"{name}\" is too long (maximum {MAX_HOSTNAME} bytes)"
        )));
    }
    if name.bytes().any(|byte| byte.is_ascii_control() || byte == b' ' || byte == b'/') {
        return Err(Error::invalid(format!("invalid hostname format: {name:?}")));
    }
    if !name.is_empty() {
        return Ok(name.clone());
    }
    if let Some(donor) = network_donor(host, facts) {
        return Ok(donor.hostname.clone());
    }
    // Who lives in the host's network goes by the host's name.
    Ok(if host.network_mode == "host" { facts.host_name } else { crate::id::short(facts.id) }.to_owned())
}

pub(super) fn domainname(config: &Config, host: &HostConfig, facts: &Facts<'_>) -> Result<String> {
    let name = &config.domainname;
    // What could neither be set nor be written to the hosts file.
    if name.len() > MAX_HOSTNAME || name.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err(Error::invalid(format!("invalid domain name format: {name:?}")));
    }
    let donor = network_donor(host, facts).filter(|_| name.is_empty());
    Ok(donor.map_or(name, |donor| &donor.domainname).clone())
}

/// The container whose network is used.
fn network_donor<'a>(host: &HostConfig, facts: &'a Facts<'_>) -> Option<&'a Donor> {
    facts.containers.get(host.network_mode.strip_prefix("container:")?)
}

/// What cannot be meant together, whatever the containers are that a request names.
pub(crate) fn refuse_conflicts(config: &Config, host: &HostConfig) -> Result<()> {
    if !config.hostname.is_empty() && host.network_mode.starts_with("container:") {
        return Err(Error::invalid(
            "conflicting options: hostname and the network mode: container network mode",
        ));
    }
    Ok(())
}

/// Only parameters of the container's own namespaces may be set.
pub(super) fn sysctls(host: &HostConfig, namespaces: &Namespaces) -> Result<BTreeMap<String, String>> {
    let mut sysctls = BTreeMap::new();
    for (key, value) in &host.sysctls {
        let name = key.replace('/', ".");
        let namespace = if name.starts_with("net.") {
            Some(&namespaces.network)
        } else if IPC_SYSCTLS.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
            Some(&namespaces.ipc)
        } else if matches!(name.as_str(), "kernel.domainname" | "kernel.hostname") {
            Some(&namespaces.uts)
        } else {
            None
        };
        match namespace {
            Some(Share::Private) if !value.contains(['\n', '\0']) && !name.contains("..") => {
                sysctls.insert(name, value.clone());
            }
            Some(Share::Private) => {
                return Err(Error::invalid(format!("invalid sysctl {key}={value:?}")));
            }
            Some(_) => {
                return Err(Error::invalid(format!(
                    "sysctl \"{key}\" not allowed in host or shared namespace"
                )));
            }
            None => {
                return Err(Error::invalid(format!(
                    "sysctl \"{key}\" is not in a separate kernel namespace"
                )));
            }
        }
    }
    Ok(sysctls)
}
