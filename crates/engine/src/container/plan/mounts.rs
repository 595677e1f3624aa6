//! Mounts of a start: Docker's default ones, the engine's own files, then what was asked for.

use std::collections::{BTreeMap, BTreeSet};

use oci::runtime::{IdMapping, Mount};

use super::super::spec::{ContainerSpec, IdMap, IdRange, MountSource, MountSpec, Share};
use super::StartFacts;
use crate::userns::{Range, Remap, Users};
use crate::{Error, Result};

fn mount(kind: &str, destination: &str, options: &[&str]) -> Mount {
    // What df(1) and mount(8) show of it.
    let source = if destination == "/dev/shm" { "shm" } else { kind };
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Mount {
    Mount { source: source.to_owned(), ..mount("bind", destination, options) }
}

/// All mounts in order. A mount that was asked for replaces the default one of its destination.
pub(super) fn plan_mounts(spec: &ContainerSpec, facts: &StartFacts) -> Result<Vec<Mount>> {
    let asked: Vec<Mount> =
        spec.mounts.iter().map(|mount| plan_mount(mount, &Sources::of(facts))).collect::<Result<_>>()?;
    let mut mounts = default_mounts(spec, facts)?;
    mounts.extend(own_files(spec, facts));
    mounts.retain(|default| !asked.iter().any(|mount| mount.destination == default.destination));
    mounts.extend(asked);
    if spec.root.readonly {
        make_defaults_readonly(&mut mounts, spec);
    }
    // A mount below another one's destination comes after it.
    mounts.sort_by_key(|mount| mount.destination.matches('/').count());
    Ok(mounts)
}

fn default_mounts(spec: &ContainerSpec, facts: &StartFacts) -> Result<Vec<Mount>> {
    let access = |writable: bool| if writable { "rw" } else { "ro" };
    let cgroups = access(spec.writable_cgroups.unwrap_or(spec.privileged));
    let mut mounts = vec![
        mount("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", access(spec.privileged)]),
        mount("cgroup", "/sys/fs/cgroup", &[cgroups, "nosuid", "noexec", "nodev"]),
    ];
    // It shows the queues of the IPC namespace in which it is mounted, whoever's that is; those of the host are not shown to
    // who is nobody there.
    if facts.users == Users::Host || spec.namespaces.ipc != Share::Host {
        mounts.push(mount("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]));
    }
    const SHM: &[&str] = &["rbind", "nosuid", "noexec", "nodev"];
    match &spec.namespaces.ipc {
        Share::Host => mounts.push(bind("/dev/shm", "/dev/shm", SHM)),
        Share::Private if spec.namespaces.ipc_none => {}
        Share::Private => {
            let size = format!("size={}", spec.shm_size);
            mounts.push(mount("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
        }
        Share::Container(_) => mounts.push(bind(held(&facts.held, "/dev/shm")?, "/dev/shm", SHM)),
    }
    Ok(mounts)
}

/// The source of a mount that is no plain path.
fn held<'a>(held: &'a BTreeMap<String, String>, destination: &str) -> Result<&'a str> {
    let source = held.get(destination).map(String::as_str);
    source.ok_or_else(|| Error::system(format!("the source of the mount at {destination} was not opened")))
}

/// `hosts`, `hostname` and `resolv.conf`, which the engine writes. A container that shares another's network uses
/// that one's files.
fn own_files(spec: &ContainerSpec, facts: &StartFacts) -> Vec<Mount> {
    let dir = match &spec.namespaces.network {
        Share::Container(id) => facts.data_dir.with_file_name(id),
        _ => facts.data_dir.clone(),
    };
    ["resolv.conf", "hostname", "hosts"]
        .map(|name| {
            let source = dir.join(name).display().to_string();
            let mut file = bind(&source, &format!("/etc/{name}"), &["rbind", "rprivate"]);
            show_as_written(&mut file, facts.users.remap());
            file
        })
        .into()
}

/// Where what is mounted is on this machine.
pub(crate) struct Sources<'a> {
    /// Volumes, by name.
    pub(crate) volume_paths: &'a BTreeMap<String, String>,
    /// What no plain path names, by destination.
    pub(crate) held: &'a BTreeMap<String, String>,
    /// Owners of sources whose ids are mapped, by destination.
    pub(crate) owners: &'a BTreeMap<String, (u32, u32)>,
    /// The container's user and group.
    pub(crate) user: (u32, u32),
    /// Who the container's users are on the host, where they are others.
    pub(crate) remap: Option<&'a Remap>,
    /// Volumes whose files have the ids of containers.
    pub(crate) mapped_volumes: &'a BTreeSet<String>,
}

impl<'a> Sources<'a> {
    fn of(facts: &'a StartFacts) -> Self {
        let user = (facts.user.uid, facts.user.gid);
        Self {
            volume_paths: &facts.volume_paths,
            held: &facts.held,
            owners: &facts.owners,
            user,
            remap: facts.users.remap(),
            mapped_volumes: &facts.mapped_volumes,
        }
    }
}

/// One mount as the runtime takes it.
pub(crate) fn plan_mount(mount: &MountSpec, facts: &Sources<'_>) -> Result<Mount> {
    let mut planned = plan_source(mount, facts)?;
    if let Some(map) = &mount.id_map {
        (planned.uid_mappings, planned.gid_mappings) = id_mappings(map, mount, facts)?;
        if let Some(remap) = facts.remap {
            planned.uid_mappings = through(&planned.uid_mappings, &remap.users);
            planned.gid_mappings = through(&planned.gid_mappings, &remap.groups);
        }
        planned.options.push(if mount.recursive { "ridmap" } else { "idmap" }.to_owned());
    } else if mount.volume().is_some_and(|name| facts.mapped_volumes.contains(name)) {
        show_as_written(&mut planned, facts.remap);
    }
    Ok(planned)
}

/// Has a mount of files that have the container's ids show them to the container as these.
fn show_as_written(mount: &mut Mount, remap: Option<&Remap>) {
    let Some(remap) = remap else { return };
    (mount.uid_mappings, mount.gid_mappings) = remap.mappings();
    mount.options.push("idmap".to_owned());
}

/// A map to ids of the container, carried on to what these are on the host.
fn through(map: &[IdMapping], users: &[Range]) -> Vec<IdMapping> {
    let mut lines = Vec::new();
    for line in map {
        for range in users {
            let first = line.host_id.max(range.container);
            let end = line.host_id.saturating_add(line.size).min(range.container.saturating_add(range.count));
            if first < end {
                lines.push(IdMapping {
                    container_id: line.container_id + (first - line.host_id),
                    host_id: range.host + (first - range.container),
                    size: end - first,
                });
            }
        }
    }
    lines
}

/// The lines of both maps: what is on the disk, what is seen.
fn id_mappings(
    map: &IdMap,
    mount: &MountSpec,
    facts: &Sources<'_>,
) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    let line =
        |range: &IdRange| IdMapping { container_id: range.host, host_id: range.container, size: range.count };
    match map {
        IdMap::Ranges { users, groups } => {
            Ok((users.iter().map(line).collect(), groups.iter().map(line).collect()))
        }
        IdMap::Owner => {
            let owner = facts.owners.get(&mount.destination).ok_or_else(|| {
                Error::system(format!("the owner of the source of {} is not known", mount.destination))
            })?;
            let both = |one, other| exchange(one, other).iter().map(line).collect();
            Ok((both(owner.0, facts.user.0), both(owner.1, facts.user.1)))
        }
    }
}

/// All numbers as they are, but for two that take each other's place: nobody becomes nobody.
fn exchange(host: u32, container: u32) -> Vec<IdRange> {
    let same = |first: u32, end: u32| IdRange { host: first, container: first, count: end - first };
    if host == container {
        return vec![same(0, u32::MAX)];
    }
    let (low, high) = (host.min(container), host.max(container));
    let one = |host, container| IdRange { host, container, count: 1 };
    let mut ranges = vec![
        same(0, low),
        one(low, high),
        same(low + 1, high),
        one(high, low),
        same(high.saturating_add(1), u32::MAX),
    ];
    ranges.retain(|range| range.count > 0);
    ranges
}

/// What the whole root needs for its mounts to be heard of outside, or to hear of what is mounted there: a runtime lets
/// nothing through by itself.
pub(super) fn root_propagation(spec: &ContainerSpec) -> &'static str {
    let any = |words: &[&str]| spec.mounts.iter().any(|mount| words.contains(&mount.propagation.as_str()));
    if any(&["shared", "rshared"]) {
        "shared"
    } else if any(&["slave", "rslave"]) {
        "rslave"
    } else {
        ""
    }
}

fn plan_source(mount: &MountSpec, facts: &Sources<'_>) -> Result<Mount> {
    let propagation = if mount.propagation.is_empty() { "rprivate" } else { &mount.propagation };
    let mut options = vec![if mount.recursive { "rbind" } else { "bind" }, propagation];
    match (mount.writable, mount.recursive_readonly) {
        (true, _) => {}
        (false, true) => options.push("rro"),
        (false, false) => options.push("ro"),
    }
    match &mount.source {
        MountSource::Bind { path, .. } => {
            let source = facts.held.get(&mount.destination).unwrap_or(path);
            Ok(bind(source, &mount.destination, &options))
        }
        MountSource::Volume { name, subpath, .. } => {
            let root = facts
                .volume_paths
                .get(name)
                .ok_or_else(|| Error::system(format!("volume {name} has no place on this machine")))?;
            let is_whole = subpath.is_empty() && mount.id_map.is_none();
            let source = if is_whole { root } else { held(facts.held, &mount.destination)? };
            Ok(bind(source, &mount.destination, &options))
        }
        MountSource::Image { .. } => {
            Ok(bind(held(facts.held, &mount.destination)?, &mount.destination, &["bind", propagation, "ro"]))
        }
        MountSource::Tmpfs { options: given } => {
            let mut options: Vec<String> = given.clone();
            if !mount.writable && !options.iter().any(|option| option == "ro") {
                options.push("ro".to_owned());
            }
            Ok(Mount {
                destination: mount.destination.clone(),
                kind: "tmpfs".to_owned(),
                source: "tmpfs".to_owned(),
                options,
                ..Mount::default()
            })
        }
    }
}

/// With a read-only root, the default mounts that are not the container's own memory are read-only too.
fn make_defaults_readonly(mounts: &mut [Mount], spec: &ContainerSpec) {
    for mount in mounts.iter_mut() {
        let keep = mount.destination == "/proc"
            || mount.destination == "/dev"
            || mount.destination.starts_with("/dev/")
            || spec.mounts.iter().any(|asked| asked.destination == mount.destination);
        if !keep && !mount.options.iter().any(|option| option == "ro") {
            mount.options.push("ro".to_owned());
        }
    }
}
