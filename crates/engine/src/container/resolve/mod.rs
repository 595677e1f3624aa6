//! From what a request says to what a container is: pure, with Docker's words for what cannot be.

#[cfg(test)]
mod fuzz;
mod id_map;
mod limits;
mod mounts;
mod namespaces;
mod ports;
mod process;
pub(super) mod security;

use std::collections::BTreeMap;

use api::config::Config;
use api::host_config::{DeviceRequest, HostConfig};

pub(crate) use limits::Machine;

use super::logging;
use super::spec::{ContainerSpec, LogSpec, MountSpec, RootSource, RootSpec};
use super::state::{Policy, Restart};
use crate::{Error, Result};

pub(crate) use mounts::{anonymous_volumes, clean, lend, parse_lender};
pub(crate) use namespaces::refuse_conflicts;
pub(crate) use process::{merge_image, stop_signal_of};

/// What a decision about a request depends on beside the request.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    /// The daemon's defaults.
    pub(crate) config: &'a crate::Config,
    /// The new container's identifier.
    pub(crate) id: &'a str,
    /// This machine's name.
    pub(crate) host_name: &'a str,
    /// What limits depend on.
    pub(crate) machine: Machine,
    /// Who makes control groups.
    pub(crate) cgroup_driver: crate::CgroupDriver,
    /// Capabilities this kernel knows, in kernel order.
    pub(crate) capabilities: &'a [&'static str],
    /// Identifiers of containers that namespaces are shared with, by the name the request uses.
    pub(crate) containers: BTreeMap<String, Donor>,
    /// Root layers, topmost first, or a host directory.
    pub(crate) root: RootSource,
    /// Host paths of bind sources that exist.
    pub(crate) existing_paths: Vec<String>,
    /// Digests of the images that are to be mounted, by the name the request uses.
    pub(crate) mounted_images: BTreeMap<String, String>,
    /// Mounts that other containers lend (`--volumes-from`).
    pub(crate) lent_mounts: Vec<MountSpec>,
    /// The file system of the containers' layers holds projects to their limits; only looked at where there is a limit.
    pub(crate) has_quotas: bool,
    /// Names for anonymous volumes, as many as [`anonymous_volumes`] says.
    pub(crate) volume_names: Vec<String>,
}

/// A container whose namespaces may be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Donor {
    /// Its identifier.
    pub(crate) id: String,
    /// Its IPC namespace may be joined.
    pub(crate) ipc_shareable: bool,
    /// Who lives in its network goes by its name.
    pub(crate) hostname: String,
    /// The domain of that.
    pub(crate) domainname: String,
}

/// Resolves a request whose `config` already holds what the image adds. The second value is warnings.
pub(crate) fn resolve(
    config: &Config,
    host: &HostConfig,
    mac_address: &str,
    facts: &Facts<'_>,
) -> Result<(ContainerSpec, Vec<String>)> {
    let mut warnings = Vec::new();
    refuse_unsupported(host, facts)?;
    let namespaces = namespaces::resolve(config, host, facts)?;
    let process = process::resolve(config, host, facts)?;
    let privileged = host.privileged;
    let (masked_paths, readonly_paths) = security::hidden_paths(host);
    let spec = ContainerSpec {
        hostname: namespaces::hostname(config, host, facts)?,
        domainname: namespaces::domainname(config, host, facts)?,
        root: root(host, facts)?,
        mounts: mounts::resolve(config, host, facts)?,
        shm_size: shm_size(host, facts)?,
        privileged,
        init: host.init.unwrap_or(facts.config.init) && namespaces.pid == super::spec::Share::Private,
        masked_paths,
        readonly_paths,
        writable_cgroups: security::writable_cgroups(host),
        sysctls: namespaces::sysctls(host, &namespaces)?,
        annotations: annotations(host)?,
        devices: limits::devices(host)?,
        device_rules: limits::device_rules(host)?,
        limits: limits::resolve(&host.resources, &facts.machine, &mut warnings)?,
        cgroup_parent: cgroup_parent(host, facts)?,
        stop_signal: stop_signal_of(&config.stop_signal)?,
        stop_timeout: config.stop_timeout.unwrap_or(facts.config.default_stop_timeout),
        log: log(host, facts)?,
        network: ports::network(config, host, mac_address, facts)?,
        namespaces,
        process,
    };
    Ok((spec, warnings))
}

/// Options whose meaning this engine does not have yet are refused, never ignored.
fn refuse_unsupported(host: &HostConfig, facts: &Facts<'_>) -> Result<()> {
    if !host.isolation.is_empty() && !host.isolation.eq_ignore_ascii_case("default") {
        return Err(Error::invalid(format!(
            "invalid isolation ({}): linux only supports 'default'",
            host.isolation
        )));
    }
    if !host.runtime.is_empty() {
        facts.config.runtime(&host.runtime)?;
    }
    // Whether there is such a device is found out at each start.
    let both = |request: &DeviceRequest| {
        request.count != 0 && request.device_ids.as_ref().is_some_and(|ids| !ids.is_empty())
    };
    if host.resources.device_requests.iter().flatten().any(both) {
        return Err(Error::invalid("cannot set both Count and DeviceIDs on device request"));
    }
    if let Some(unknown) = host.storage_opt.keys().find(|key| !key.eq_ignore_ascii_case("size")) {
        return Err(Error::invalid(format!("Unknown option {unknown}")));
    }
    if !host.userns_mode.is_empty() && host.userns_mode != "host" {
        return Err(Error::invalid(format!("invalid user namespace mode: {}", host.userns_mode)));
    }
    if facts.config.remap.is_some() && host.userns_mode.is_empty() {
        crate::userns::refuse_conflicts(host)?;
    }
    Ok(())
}

/// What is below the root, and how much of the disk may come on top of it.
fn root(host: &HostConfig, facts: &Facts<'_>) -> Result<RootSpec> {
    let asked = host.storage_opt.values().next().map(|word| super::logging::parse_size(word)).transpose()?;
    let size_limit = match &facts.root {
        // What is written goes to the host's directory itself.
        RootSource::Directory(_) => 0,
        _ => asked.unwrap_or(facts.config.default_size_limit),
    };
    if (size_limit > 0 || asked.is_some()) && !facts.has_quotas {
        return Err(Error::invalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ));
    }
    Ok(RootSpec { source: facts.root.clone(), readonly: host.readonly_rootfs, size_limit })
}

fn shm_size(host: &HostConfig, facts: &Facts<'_>) -> Result<i64> {
    match host.shm_size {
        size if size < 0 => Err(Error::invalid("SHM size can not be less than 0")),
        0 => Ok(facts.config.default_shm_size),
        size => Ok(size),
    }
}

fn annotations(host: &HostConfig) -> Result<BTreeMap<String, String>> {
    if host.annotations.contains_key("") {
        return Err(Error::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    Ok(host.annotations.clone())
}

fn cgroup_parent(host: &HostConfig, facts: &Facts<'_>) -> Result<String> {
    let parent = match host.resources.cgroup_parent.as_str() {
        "" => facts.config.parent(facts.cgroup_driver),
        given => given,
    };
    super::group::check_parent(parent, facts.cgroup_driver)
}

fn log(host: &HostConfig, facts: &Facts<'_>) -> Result<LogSpec> {
    let given = host.log_config.config.clone().unwrap_or_default();
    let driver = match host.log_config.kind.as_str() {
        "" => facts.config.log_driver.as_str(),
        kind => kind,
    };
    let mut options = BTreeMap::new();
    if driver == facts.config.log_driver {
        options.extend(facts.config.log_opts.iter().cloned());
    }
    options.extend(given);
    if driver == "none" {
        options.clear();
    }
    let log = LogSpec { driver: driver.to_owned(), options };
    logging::validate(&log)?;
    Ok(log)
}

/// Mounts and ports alone, that are added to a container which exists.
pub(crate) fn added(
    host: &HostConfig,
    facts: &Facts<'_>,
) -> Result<(Vec<MountSpec>, Vec<super::spec::PortSpec>)> {
    let config = Config::default();
    Ok((mounts::resolve(&config, host, facts)?, ports::published(&config, host, facts)?))
}

/// Limits alone, for an update.
pub(crate) fn limits_of(
    resources: &api::host_config::Resources,
    machine: &Machine,
    warnings: &mut Vec<String>,
) -> Result<super::spec::Limits> {
    limits::resolve(resources, machine, warnings)
}

/// The part of a host configuration that decides a container's life.
pub(crate) fn policy(host: &HostConfig) -> Result<Policy> {
    let policy = &host.restart_policy;
    let retries = policy.maximum_retry_count;
    if retries < 0 && policy.name == "on-failure" {
        return Err(Error::invalid("invalid restart policy: maximum retry count cannot be negative"));
    }
    if retries < 0 {
        return Err(Error::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
        ));
    }
    if retries != 0 && policy.name != "on-failure" && !policy.name.is_empty() {
        return Err(Error::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ));
    }
    let restart = match policy.name.as_str() {
        "" | "no" => Restart::No,
        "always" => Restart::Always,
        "unless-stopped" => Restart::UnlessStopped,
        "on-failure" => Restart::OnFailure(u32::try_from(retries).unwrap_or(u32::MAX)),
        other => {
            return Err(Error::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    if host.auto_remove && restart != Restart::No {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(Policy { restart, auto_remove: host.auto_remove })
}
