//! Mounts of a start: Docker's default ones, the engine's own files, then what was asked for.

use oci::runtime::Mount;

use super::super::spec::{ContainerSpec, MountSource, MountSpec, Share};
use super::StartFacts;
use crate::{Error, Result};

fn mount(kind: &str, destination: &str, options: &[&str]) -> Mount {
    let source = match kind {
        "mqueue" | "proc" | "sysfs" | "cgroup" | "tmpfs" | "devpts" => kind,
        other => other,
    };
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
        spec.mounts.iter().map(|mount| plan_mount(mount, facts)).collect::<Result<_>>()?;
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
    let ro = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", ro]),
        mount("cgroup", "/sys/fs/cgroup", &[ro, "nosuid", "noexec", "nodev"]),
    ];
    // It shows the queues of the IPC namespace in which it is mounted, whoever's that is.
    mounts.push(mount("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]));
    const SHM: &[&str] = &["rbind", "nosuid", "noexec", "nodev"];
    match &spec.namespaces.ipc {
        Share::Host => mounts.push(bind("/dev/shm", "/dev/shm", SHM)),
        Share::Private if spec.namespaces.ipc_none => {}
        Share::Private => {
            let size = format!("size={}", spec.shm_size);
            mounts.push(mount("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
        }
        Share::Container(_) => mounts.push(bind(held(facts, "/dev/shm")?, "/dev/shm", SHM)),
    }
    Ok(mounts)
}

/// The source of a mount that is no plain path.
fn held<'a>(facts: &'a StartFacts, destination: &str) -> Result<&'a str> {
    let source = facts.held.get(destination).map(String::as_str);
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
            bind(&dir.join(name).display().to_string(), &format!("/etc/{name}"), &["rbind", "rprivate"])
        })
        .into()
}

fn plan_mount(mount: &MountSpec, facts: &StartFacts) -> Result<Mount> {
    let propagation = if mount.propagation.is_empty() { "rprivate" } else { &mount.propagation };
    let mut options = vec![if mount.recursive { "rbind" } else { "bind" }, propagation];
    match (mount.writable, mount.recursive_readonly) {
        (true, _) => {}
        (false, true) => options.push("rro"),
        (false, false) => options.push("ro"),
    }
    match &mount.source {
        MountSource::Bind { path, .. } => Ok(bind(path, &mount.destination, &options)),
        MountSource::Volume { name, subpath, .. } => {
            let root = facts
                .volume_paths
                .get(name)
                .ok_or_else(|| Error::system(format!("volume {name} has no place on this machine")))?;
            let source = if subpath.is_empty() { root } else { held(facts, &mount.destination)? };
            Ok(bind(source, &mount.destination, &options))
        }
        MountSource::Image { .. } => {
            Ok(bind(held(facts, &mount.destination)?, &mount.destination, &["bind", propagation, "ro"]))
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
