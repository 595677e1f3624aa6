//! The plan of a start: from what a container is and what this machine is to the document the runtime takes.
//! Pure: no I/O, no clock, no randomness.

mod limits;
mod mounts;

pub(crate) use limits::plan_limits as limits;
pub(crate) use mounts::{Sources, plan_mount};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use oci::runtime::{
    Capabilities, ConsoleSize, Device, Linux, Namespace, NamespaceKind, Process, Rlimit, Root, Spec, User,
    VERSION,
};

use runtime::profile;
use runtime::seccomp::Architecture;

use super::spec::{ContainerSpec, ProcessSpec, Seccomp, Share};
use crate::cdi::Edits;
use crate::userns::{self, Remap, Users};
use crate::{Error, Result};

/// What a start depends on beside the container itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StartFacts {
    /// Path of the container's control group.
    pub(crate) cgroup_path: String,
    /// The AppArmor profile that confines the program.
    pub(crate) apparmor: Option<String>,
    /// Directory of the container's own files: `hosts`, `hostname`, `resolv.conf`.
    pub(crate) data_dir: PathBuf,
    /// Where volumes are, by name.
    pub(crate) volume_paths: BTreeMap<String, String>,
    /// Sources of mounts that are no plain path, by destination.
    pub(crate) held: BTreeMap<String, String>,
    /// Owners of the sources of mounts whose ids are mapped, by destination.
    pub(crate) owners: BTreeMap<String, (u32, u32)>,
    /// Volumes whose files have the ids of containers.
    pub(crate) mapped_volumes: BTreeSet<String>,
    /// In whose user namespace it is.
    pub(crate) users: Users,
    /// User and group numbers of the program.
    pub(crate) user: User,
    /// Its home directory.
    pub(crate) home: String,
    /// What links add to its environment.
    pub(crate) linked: Vec<String>,
    /// What devices need that were asked for by name.
    pub(crate) edits: Edits,
    /// Devices to make: all of the host for a privileged container, else those asked for, with their numbers.
    pub(crate) devices: Vec<FoundDevice>,
    /// Numbers of block devices named in limits, by path.
    pub(crate) block_devices: BTreeMap<String, (i64, i64)>,
    /// Process ids of containers whose namespaces are joined, by identifier.
    pub(crate) donors: BTreeMap<String, i32>,
    /// Of this machine's system calls.
    pub(crate) architecture: Architecture,
    /// Major and minor version of the kernel.
    pub(crate) kernel: (u32, u32),
    /// The kernel filters system calls.
    pub(crate) has_seccomp: bool,
    /// The kernel has time namespaces.
    pub(crate) has_time_namespaces: bool,
    /// Processors, for the files of each that are hidden.
    pub(crate) cpus: u32,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundDevice {
    pub(crate) node: Device,
    pub(crate) permissions: String,
}

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The runtime's document for this start.
pub(crate) fn plan_spec(spec: &ContainerSpec, facts: &StartFacts) -> Result<Spec> {
    let namespaces = namespaces(spec, facts)?;
    let own_network = spec.namespaces.network == Share::Private;
    let remap = facts.users.remap();
    let (uid_mappings, gid_mappings) = remap.map(Remap::mappings).unwrap_or_default();
    remap.map_or(Ok(()), |remap| check_user(remap, &facts.user))?;
    let mut document = Spec {
        oci_version: VERSION.to_owned(),
        process: Some(process(&spec.process, Some(&spec.hostname), facts)?),
        root: Some(Root { path: "/".to_owned(), readonly: spec.root.readonly }),
        hostname: if spec.namespaces.uts == Share::Private { spec.hostname.clone() } else { String::new() },
        domainname: if spec.namespaces.uts == Share::Private {
            spec.domainname.clone()
        } else {
            String::new()
        },
        mounts: mounts::plan_mounts(spec, facts)?,
        hooks: None,
        linux: Some(Linux {
            uid_mappings,
            gid_mappings,
            sysctl: sysctls(spec, own_network, remap),
            resources: Some(limits::plan_resources(spec, facts)),
            cgroups_path: facts.cgroup_path.clone(),
            rootfs_propagation: mounts::root_propagation(spec).to_owned(),
            namespaces,
            devices: facts.devices.iter().map(|device| device.node.clone()).collect(),
            seccomp: seccomp(&spec.process, facts)?,
            masked_paths: masked_paths(spec, facts),
            readonly_paths: spec.readonly_paths.clone(),
            ..Linux::default()
        }),
        annotations: spec.annotations.clone(),
    };
    crate::cdi::apply(&mut document, &facts.edits);
    Ok(document)
}

/// A program of the container: its own, or one that is run beside it (`hostname` is then in the environment already).
pub(crate) fn process(given: &ProcessSpec, hostname: Option<&str>, facts: &StartFacts) -> Result<Process> {
    let console = given.console_size;
    let all = || given.capabilities.clone();
    Ok(Process {
        terminal: given.tty,
        console_size: (given.tty && console != [0, 0])
            .then_some(ConsoleSize { height: console[0], width: console[1] }),
        user: User { umask: given.umask, ..facts.user.clone() },
        args: given.args.clone(),
        env: environment(given, hostname, facts),
        cwd: given.cwd.clone(),
        capabilities: Some(Capabilities {
            bounding: all(),
            // Whoever is not root has only what files give; inheritable and ambient sets stay empty.
            effective: if facts.user.uid == 0 { all() } else { Vec::new() },
            permitted: if facts.user.uid == 0 { all() } else { Vec::new() },
            ..Capabilities::default()
        }),
        rlimits: given
            .rlimits
            .iter()
            .map(|limit| Rlimit { kind: limit.name.clone(), hard: limit.hard, soft: limit.soft })
            .collect(),
        no_new_privileges: given.no_new_privileges,
        apparmor_profile: facts.apparmor.clone().unwrap_or_default(),
        oom_score_adj: Some(given.oom_score_adj),
        ..Process::default()
    })
}

/// What every program finds, then what was asked for; the later one of a name wins and keeps its place.
fn environment(given: &ProcessSpec, hostname: Option<&str>, facts: &StartFacts) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    env.extend(hostname.map(|name| format!("HOSTNAME={name}")));
    if given.tty {
        env.push("TERM=xterm".to_owned());
    }
    env.extend(facts.linked.iter().cloned());
    // A request may have ten thousand of them.
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, entry) in env.iter().enumerate() {
        if let Some((name, _)) = entry.split_once('=') {
            places.entry(name.to_owned()).or_insert(place);
        }
    }
    for entry in &given.env {
        let (name, has_value) =
            entry.split_once('=').map_or((entry.as_str(), false), |(name, _)| (name, true));
        match places.get(name) {
            Some(place) => env[*place].clone_from(entry),
            None => {
                if has_value {
                    places.insert(name.to_owned(), env.len());
                }
                env.push(entry.clone());
            }
        }
    }
    if !places.contains_key("HOME") {
        env.push(format!("HOME={}", facts.home));
    }
    env
}

fn namespaces(spec: &ContainerSpec, facts: &StartFacts) -> Result<Vec<Namespace>> {
    let mut list = vec![Namespace { kind: NamespaceKind::Mount, path: None }];
    match &facts.users {
        Users::Host => {}
        Users::Own(_) => list.push(Namespace { kind: NamespaceKind::User, path: None }),
        Users::Of { pid, .. } => {
            list.push(Namespace { kind: NamespaceKind::User, path: Some(format!("/proc/{pid}/ns/user")) });
        }
    }
    let mut add = |kind: NamespaceKind, share: &Share, file: &str| -> Result<()> {
        match share {
            Share::Host => {}
            Share::Private => list.push(Namespace { kind, path: None }),
            Share::Container(id) => {
                let pid = facts.donors.get(id).ok_or_else(|| {
                    Error::conflict(format!(
                        "cannot join network of a non running container: {id}: start it first"
                    ))
                })?;
                list.push(Namespace { kind, path: Some(format!("/proc/{pid}/ns/{file}")) });
            }
        }
        Ok(())
    };
    let shared = &spec.namespaces;
    add(NamespaceKind::Network, &shared.network, "net")?;
    add(NamespaceKind::Uts, &shared.uts, "uts")?;
    add(NamespaceKind::Pid, &shared.pid, "pid")?;
    add(NamespaceKind::Ipc, &shared.ipc, "ipc")?;
    add(NamespaceKind::Cgroup, &shared.cgroup, "cgroup")?;
    if facts.has_time_namespaces && shared.pid == Share::Private {
        list.push(Namespace { kind: NamespaceKind::Time, path: None });
    }
    Ok(list)
}

/// Everybody as whom the program runs must be somebody on the host.
fn check_user(remap: &Remap, user: &User) -> Result<()> {
    let nobody = |what: &str, id: u32, ranges: &[userns::Range]| match userns::to_host(ranges, id) {
        Some(_) => Ok(()),
        None => Err(Error::invalid(format!(
            "{what} {id} of the container is nobody on the host: --userns-remap gives it {} ids",
            ranges.iter().map(|range| u64::from(range.count)).sum::<u64>()
        ))),
    };
    nobody("user", user.uid, &remap.users)?;
    std::iter::once(&user.gid)
        .chain(&user.additional_gids)
        .try_for_each(|id| nobody("group", *id, &remap.groups))
}

fn sysctls(spec: &ContainerSpec, own_network: bool, remap: Option<&Remap>) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    if own_network {
        // Ping without CAP_NET_RAW, and low ports for everyone: the network is the container's own.
        let last = remap.and_then(|remap| remap.groups.first()).map_or(i32::MAX.unsigned_abs(), |first| {
            // Only groups that there are may be named.
            first.count.saturating_sub(1).min(i32::MAX.unsigned_abs())
        });
        sysctls.insert("net.ipv4.ping_group_range".to_owned(), format!("0 {last}"));
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    }
    sysctls.extend(spec.sysctls.clone());
    sysctls
}

fn masked_paths(spec: &ContainerSpec, facts: &StartFacts) -> Vec<String> {
    let mut masked = spec.masked_paths.clone();
    // Docker's default list hides the thermal throttle counters of each processor as well.
    if masked.iter().any(|path| path == "/sys/firmware") {
        masked
            .extend((0..facts.cpus).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle")));
    }
    masked
}

fn seccomp(process: &ProcessSpec, facts: &StartFacts) -> Result<Option<oci::runtime::Seccomp>> {
    if !facts.has_seccomp {
        return Ok(None);
    }
    let architecture = facts.architecture;
    match &process.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default => Ok(Some(profile::default_seccomp(&process.capabilities, architecture))),
        Seccomp::Custom(text) => {
            let host = profile::Host { architecture, kernel: facts.kernel };
            profile::parse(text.as_bytes(), &process.capabilities, host)
                .map_err(|error| Error::invalid(format!("Decoding seccomp profile failed: {error}")))
        }
    }
}

#[cfg(test)]
mod golden;
