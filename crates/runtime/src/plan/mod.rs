//! Everything that making a container takes, decided before anything is done. No I/O, no clock, no randomness.

mod mounts;
mod op;
mod options;
mod process;
mod sysctl;

use std::fmt;
use std::path::{Path, PathBuf};

use linux::process::namespace;
use oci::runtime::{IdMapping, Linux, NamespaceKind, Spec};

pub use op::{Attributes, BindSource, Mount, NewFileSystem, Node, Op, Propagate, RootMount, Source, What};
pub use options::{Options, known as known_options};
pub use process::{Manner, plan_process};

use crate::facts::Facts;
use crate::request::Rootfs;
use crate::{Error, Result};

/// An existing namespace that is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Its kind, one bit of [`namespace`].
    pub kind: u64,
    /// Its file.
    pub path: PathBuf,
}

/// The lines of uid_map and gid_map (user_namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub users: String,
    /// Groups.
    pub groups: String,
}

/// The id map of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountMap {
    /// These maps.
    Own(IdMaps),
    /// Those of the user namespace that the container joins.
    Joined,
}

/// How a container is made: what the host's side prepares, and what the new process does, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Namespaces that are joined.
    pub joins: Vec<Join>,
    /// Namespaces that are made together with the process, bits of [`namespace`].
    pub new: u64,
    /// Lines of timens_offsets, for a time namespace made before.
    pub time_offsets: Vec<String>,
    /// The id maps of the new user namespace.
    pub user_maps: Option<IdMaps>,
    /// The out-of-memory killer's adjustment.
    pub oom_score_adj: Option<i32>,
    /// Hard limits that the process needs and may not raise itself, being no root of the host's: (name, number, limit).
    pub raised: Vec<(String, u32, u64)>,
    /// The user of the host, behind that of the program, whose the pipes of its streams are.
    pub stream_owner: Option<u32>,
    /// Network interfaces of the host that are moved into the container: (name, name inside).
    pub net_devices: Vec<(String, String)>,
    /// Id maps of mounts.
    pub id_maps: Vec<MountMap>,
    /// Opened on the host.
    pub sources: Vec<Source>,
    /// Done by the new process.
    pub ops: Vec<Op>,
}

/// Everything a plan depends on besides facts.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its configuration.
    pub spec: &'a Spec,
    /// Where relative paths start.
    pub bundle: &'a Path,
    /// Its root file system.
    pub rootfs: &'a Rootfs,
    /// Whether our own init is pid 1.
    pub init: bool,
    /// How many descriptors from 3 on stay open.
    pub preserve_fds: u32,
    /// Whether the root is moved instead of pivoted.
    pub no_pivot: bool,
    /// Whether the session keyring is kept.
    pub no_new_keyring: bool,
    /// Whether the container has a control group of its own.
    pub has_cgroup: bool,
}

/// The bit of a kind of namespace.
#[must_use]
pub fn bit(kind: NamespaceKind) -> u64 {
    match kind {
        NamespaceKind::Pid => namespace::PID,
        NamespaceKind::Network => namespace::NETWORK,
        NamespaceKind::Mount => namespace::MOUNT,
        NamespaceKind::Ipc => namespace::IPC,
        NamespaceKind::Uts => namespace::UTS,
        NamespaceKind::User => namespace::USER,
        NamespaceKind::Cgroup => namespace::CGROUP,
        NamespaceKind::Time => namespace::TIME,
    }
}

/// Plans the start of a container up to its program.
pub fn plan_start(input: Input<'_>, facts: &Facts) -> Result<Plan> {
    let none = Linux::default();
    let linux = input.spec.linux.as_ref().unwrap_or(&none);
    let process =
        input.spec.process.as_ref().ok_or_else(|| Error::invalid("the configuration has no process"))?;
    refuse_unsupported(linux, facts)?;
    let mut plan = Plan { oom_score_adj: process.oom_score_adj, ..Plan::default() };
    plan_namespaces(&mut plan, linux, facts)?;
    plan_net_devices(&mut plan, linux)?;
    plan.ops.push(Op::AnyCpu);
    if !input.no_new_keyring {
        plan.ops.push(Op::NewKeyring(format!("_ses.{}", input.id)));
    }
    plan_names(&mut plan, input.spec)?;
    mounts::plan_root(&mut plan, input, linux, facts)?;
    for (name, value) in &linux.sysctl {
        let path =
            sysctl::path(name, |kind| linux.namespaces.iter().any(|namespace| namespace.kind == kind))?;
        plan.ops.push(Op::Sysctl(path, value.clone()));
    }
    mounts::plan_protected_paths(&mut plan, linux)?;
    if let Some(personality) = &linux.personality {
        plan.ops.push(Op::Personality(domain(&personality.domain)?));
    }
    if let Some(policy) = &linux.memory_policy {
        plan.ops.push(memory_policy(policy)?);
    }
    let manner = Manner {
        init: input.init,
        preserve_fds: input.preserve_fds,
        filter: linux.seccomp.is_some(),
        waits: true,
        start_hooks: input.spec.hooks.as_ref().is_some_and(|hooks| !hooks.start_container.is_empty()),
    };
    let ops = plan_process(process, manner, facts)?;
    if in_user_namespace(&plan) && facts.mounts {
        plan.raised = hard_limits(&ops);
        plan.stream_owner = stream_owner(process, linux);
    }
    plan.ops.extend(ops);
    Ok(plan)
}

/// The hard limits among steps.
pub(crate) fn hard_limits(ops: &[Op]) -> Vec<(String, u32, u64)> {
    let hard = |op: &Op| match op {
        Op::Limit(name, number, _, hard) => Some((name.clone(), *number, *hard)),
        _ => None,
    };
    ops.iter().filter_map(hard).collect()
}

/// Whose the pipes of a program's streams are on the host; a terminal is the container's own.
pub(crate) fn stream_owner(process: &oci::runtime::Process, linux: &Linux) -> Option<u32> {
    host_id(&linux.uid_mappings, process.user.uid).filter(|_| !process.terminal)
}

/// What an id of a user namespace is on the host; `None` when it is nothing.
fn host_id(maps: &[IdMapping], id: u32) -> Option<u32> {
    maps.iter().find_map(|map| {
        let offset = id.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
        map.host_id.checked_add(offset)
    })
}

fn refuse_unsupported(linux: &Linux, facts: &Facts) -> Result<()> {
    if linux.intel_rdt.is_some() {
        return Err(Error::invalid("linux.intelRdt is not supported"));
    }
    if !linux.mount_label.is_empty() && !facts.selinux {
        return Err(Error::invalid("linux.mountLabel requested, but SELinux is not enabled"));
    }
    Ok(())
}

fn plan_namespaces(plan: &mut Plan, linux: &Linux, facts: &Facts) -> Result<()> {
    let mut seen = 0;
    for namespace in &linux.namespaces {
        let kind = bit(namespace.kind);
        if seen & kind != 0 {
            return Err(Error::invalid(format!("linux.namespaces: {:?} is given twice", namespace.kind)));
        }
        seen |= kind;
        match namespace.path.as_deref().filter(|path| !path.is_empty()) {
            None => plan.new |= kind,
            Some(path) if Path::new(path).is_absolute() => plan.joins.push(Join { kind, path: path.into() }),
            Some(path) => {
                return Err(Error::invalid(format!("linux.namespaces: path {path:?} is not absolute")));
            }
        }
    }
    plan_user_maps(plan, linux)?;
    for (clock, offset) in &linux.time_offsets {
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            return Err(Error::invalid(format!("linux.timeOffsets: clock {clock:?} is not known")));
        }
        if plan.new & namespace::TIME == 0 {
            return Err(Error::invalid("linux.timeOffsets needs a new time namespace"));
        }
        plan.time_offsets.push(format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    if !facts.mounts && !in_user_namespace(plan) {
        return Err(Error::invalid("rootless container requires user namespaces"));
    }
    if in_user_namespace(plan) {
        plan.ops.push(Op::AwaitHost);
        plan_unprivileged(plan, facts);
        plan.ops.push(Op::BecomeRoot);
        enter_cgroup_namespace(plan, facts);
        plan.ops.extend((!facts.mounts).then_some(Op::OpenSources));
    }
    Ok(())
}

/// What only the container's own process may do where its maker may not mount: its user namespace is its own.
fn plan_unprivileged(plan: &mut Plan, facts: &Facts) {
    if facts.mounts {
        return;
    }
    if !plan.time_offsets.is_empty() {
        plan.new &= !namespace::TIME;
        plan.ops.push(Op::NewTimeNamespace(std::mem::take(&mut plan.time_offsets)));
    }
    // In a container of its own nobody is there yet to look into it; and its user must be able to join it.
    plan.ops.extend((!plan.joins.is_empty()).then_some(Op::NotDumpable));
}

/// Interfaces to move, each under its own name or another (config-linux, "Network Devices").
fn plan_net_devices(plan: &mut Plan, linux: &Linux) -> Result<()> {
    let kinds = plan.joins.iter().fold(plan.new, |all, join| all | join.kind);
    if !linux.net_devices.is_empty() && kinds & namespace::NETWORK == 0 {
        return Err(Error::invalid("linux.netDevices needs a network namespace of the container's own"));
    }
    for (name, device) in &linux.net_devices {
        let inside = if device.name.is_empty() { name } else { &device.name };
        for name in [name, inside] {
            let plain = |c: char| !c.is_whitespace() && c != '/' && c != ':' && c != '\0';
            if name.is_empty() || name.len() > 15 || name == "." || name == ".." || !name.chars().all(plain) {
                return Err(Error::invalid(format!("linux.netDevices: {name:?} is no name of an interface")));
            }
        }
        if inside.contains('%') && !inside.ends_with("%d") {
            return Err(Error::invalid(format!(
                "linux.netDevices: {inside:?}: only %d at the end can be used"
            )));
        }
        if !inside.contains('%') && plan.net_devices.iter().any(|(_, taken)| taken == inside) {
            return Err(Error::invalid(format!("linux.netDevices: name {inside:?} is given twice")));
        }
        plan.net_devices.push((name.clone(), inside.clone()));
    }
    Ok(())
}

/// Whether the container has the host's mounts: no mount namespace, neither a new one nor an existing one.
fn shares_mounts(plan: &Plan) -> bool {
    plan.new & namespace::MOUNT == 0 && !joins(plan, namespace::MOUNT)
}

fn joins(plan: &Plan, kind: u64) -> bool {
    plan.joins.iter().any(|join| join.kind == kind)
}

fn in_user_namespace(plan: &Plan) -> bool {
    plan.new & namespace::USER != 0 || joins(plan, namespace::USER)
}

/// Without id maps to wait for, mounts are made while the host's side does its part; before anything of the
/// container's own is run, that is over.
fn await_groups(plan: &mut Plan, facts: &Facts) {
    if !in_user_namespace(plan) {
        plan.ops.push(Op::AwaitHost);
        enter_cgroup_namespace(plan, facts);
    }
}

/// On v1 the groups are entered by writing: only after that is the own group the root of the new namespace.
fn enter_cgroup_namespace(plan: &mut Plan, facts: &Facts) {
    if !facts.cgroup_v2 && plan.new & namespace::CGROUP != 0 {
        plan.new &= !namespace::CGROUP;
        plan.ops.push(Op::NewCgroupNamespace);
    }
}

fn plan_user_maps(plan: &mut Plan, linux: &Linux) -> Result<()> {
    let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if plan.new & namespace::USER == 0 {
        if mapped && !in_user_namespace(plan) {
            return Err(Error::invalid("linux.uidMappings and gidMappings need a user namespace"));
        }
        return Ok(());
    }
    plan.user_maps = Some(id_maps(&linux.uid_mappings, &linux.gid_mappings, "linux")?);
    Ok(())
}

/// The text of a pair of maps; each must map something.
pub(crate) fn id_maps(users: &[IdMapping], groups: &[IdMapping], owner: &str) -> Result<IdMaps> {
    let text = |maps: &[IdMapping], name: &str| {
        if maps.is_empty() {
            return Err(Error::invalid(format!("{owner}.{name}Mappings is empty: no id would be mapped")));
        }
        let line = |map: &IdMapping| format!("{} {} {}\n", map.container_id, map.host_id, map.size);
        Ok(maps.iter().map(line).collect())
    };
    Ok(IdMaps { users: text(users, "uid")?, groups: text(groups, "gid")? })
}

fn plan_names(plan: &mut Plan, spec: &Spec) -> Result<()> {
    let own = plan.new & namespace::UTS != 0 || plan.joins.iter().any(|join| join.kind == namespace::UTS);
    if !own && (!spec.hostname.is_empty() || !spec.domainname.is_empty()) {
        return Err(Error::invalid("hostname and domainname need a uts namespace: they would be the host's"));
    }
    if !spec.hostname.is_empty() {
        plan.ops.push(Op::HostName(spec.hostname.clone()));
    }
    if !spec.domainname.is_empty() {
        plan.ops.push(Op::DomainName(spec.domainname.clone()));
    }
    Ok(())
}

/// The number of an execution domain.
pub(crate) fn domain(name: &str) -> Result<u64> {
    match name {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => Err(Error::invalid(format!("linux.personality: domain {other:?} is not known"))),
    }
}

fn memory_policy(policy: &oci::runtime::MemoryPolicy) -> Result<Op> {
    let mut mode = match policy.mode.as_str() {
        "MPOL_DEFAULT" => 0,
        "MPOL_PREFERRED" => 1,
        "MPOL_BIND" => 2,
        "MPOL_INTERLEAVE" => 3,
        "MPOL_LOCAL" => 4,
        "MPOL_PREFERRED_MANY" => 5,
        "MPOL_WEIGHTED_INTERLEAVE" => 6,
        other => return Err(Error::invalid(format!("linux.memoryPolicy: mode {other:?} is not known"))),
    };
    for flag in &policy.flags {
        mode |= match flag.as_str() {
            "MPOL_F_NUMA_BALANCING" => 1 << 13,
            "MPOL_F_RELATIVE_NODES" => 1 << 14,
            "MPOL_F_STATIC_NODES" => 1 << 15,
            other => return Err(Error::invalid(format!("linux.memoryPolicy: flag {other:?} is not known"))),
        };
    }
    let mut nodes = Vec::new();
    for node in list(&policy.nodes)
        .ok_or_else(|| Error::invalid(format!("linux.memoryPolicy: nodes {:?}", policy.nodes)))?
    {
        if nodes.len() <= node / 64 {
            nodes.resize(node / 64 + 1, 0);
        }
        nodes[node / 64] |= 1_u64 << (node % 64);
    }
    Ok(Op::MemoryPolicy(mode, nodes))
}

/// The numbers of a list such as `0-3,7`, each below 4096.
#[must_use]
pub fn list(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= 4096 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host:")?;
        for (number, join) in self.joins.iter().enumerate() {
            writeln!(f, "  namespace {number}: {} {}", kinds(join.kind), join.path.display())?;
        }
        for (number, source) in self.sources.iter().enumerate() {
            writeln!(f, "  source {number}: {source}")?;
        }
        for (number, maps) in self.id_maps.iter().enumerate() {
            match maps {
                MountMap::Own(maps) => {
                    writeln!(f, "  map {number}: users {:?} groups {:?}", maps.users, maps.groups)?
                }
                MountMap::Joined => writeln!(f, "  map {number}: that of the joined user namespace")?,
            }
        }
        for offset in &self.time_offsets {
            write!(f, "  time offset {offset}")?;
        }
        writeln!(f, "  clone into new {}", kinds(self.new))?;
        if let Some(maps) = &self.user_maps {
            writeln!(f, "  map users {:?} groups {:?}", maps.users, maps.groups)?;
        }
        if let Some(adjustment) = self.oom_score_adj {
            writeln!(f, "  oom_score_adj {adjustment}")?;
        }
        for (name, _, hard) in &self.raised {
            writeln!(f, "  raise hard limit {name} to {hard}")?;
        }
        if let Some(uid) = self.stream_owner {
            writeln!(f, "  pipes of the streams are user {uid}'s")?;
        }
        for (name, inside) in &self.net_devices {
            writeln!(f, "  move interface {name} in as {inside}")?;
        }
        writeln!(f, "container:")?;
        for op in &self.ops {
            writeln!(f, "  {op}")?;
        }
        Ok(())
    }
}

fn kinds(bits: u64) -> String {
    let names = [
        (namespace::USER, "user"),
        (namespace::PID, "pid"),
        (namespace::NETWORK, "network"),
        (namespace::MOUNT, "mount"),
        (namespace::IPC, "ipc"),
        (namespace::UTS, "uts"),
        (namespace::CGROUP, "cgroup"),
        (namespace::TIME, "time"),
    ];
    let named: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    named.join(" ")
}

#[cfg(test)]
mod tests;
