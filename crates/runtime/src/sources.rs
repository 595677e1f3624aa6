//! What of the host's is opened for a container, and the id maps of user namespaces.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

use linux::credentials;
use linux::mount::{self, Change};
use linux::process::{self as kernel, namespace};
use linux::procfs::Procfs;

use crate::channel::Channel;
use crate::create::{copy_of, end};
use crate::error::While;
use crate::plan::{BindSource, IdMaps, MountMap, Op, Plan, Source, What};
use crate::{Error, Kind, Result};

/// User namespaces that hold the id maps of mounts.
pub(crate) fn open_id_maps(plan: &Plan, joins: &[OwnedFd], procfs: &Procfs) -> Result<Vec<OwnedFd>> {
    let open = |map: &MountMap| match map {
        MountMap::Own(maps) => user_namespace(maps, procfs).during(|| "id map of a mount"),
        MountMap::Joined => {
            let joined = plan.joins.iter().zip(joins).find(|(join, _)| join.kind == namespace::USER);
            let (_, file) = joined.ok_or_else(|| Error::invalid("no user namespace is joined"))?;
            copy_of(file)
        }
    };
    plan.id_maps.iter().map(open).collect()
}

/// Opens what of the host's is opened before the container exists.
pub(crate) fn open_sources(
    plan: &Plan,
    cgroup: Option<&cgroup::Cgroup>,
    id_maps: &[OwnedFd],
) -> Result<Vec<Option<OwnedFd>>> {
    let mut sources = Vec::with_capacity(plan.sources.len());
    for source in &plan.sources {
        sources.push(Some(open_source(source, cgroup, Here::Host)?));
    }
    let mounts = plan.ops.iter().filter_map(|op| if let Op::Mount(mount) = op { Some(mount) } else { None });
    for mount in mounts {
        let What::Bind { source: BindSource::Opened(source), id_map: Some((map, below)) } = mount.what else {
            continue;
        };
        let (Some(users), Some(Some(detached))) = (id_maps.get(map), sources.get(source)) else { continue };
        let change = Change { id_map: Some(users.as_fd()), ..Change::default() };
        mount::change(detached, below, &change)
            .during(|| format!("mapping ids of {}", mount.target.display()))?;
    }
    Ok(sources)
}

/// Where a source is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Here {
    /// In the mount namespace of the runtime.
    Host,
    /// In the container's new one, by who may not mount in that of the runtime.
    Container,
}

/// Opens one source.
pub(crate) fn open_source(source: &Source, cgroup: Option<&cgroup::Cgroup>, here: Here) -> Result<OwnedFd> {
    match source {
        Source::Path { path, recursive } => mount::clone_or_take(path, *recursive).during(|| "bind source"),
        Source::Device { path, block, major, minor } => {
            let device = mount::clone_path(path, false)?;
            let stat = linux::file::stat(&device)?;
            let kind = if *block { linux::file::Kind::BlockDevice } else { linux::file::Kind::CharDevice };
            if stat.kind != kind || stat.device_number != (*major, *minor) {
                return Err(Error::new(
                    Kind::System,
                    format!("{} of the host is not {source}", path.display()),
                ));
            }
            Ok(device)
        }
        Source::CgroupTree(number) => {
            let directory = cgroup.and_then(|cgroup| cgroup.directories().nth(*number));
            let (_, directory) = directory.ok_or_else(|| {
                Error::new(Kind::System, format!("the container has no group in cgroup tree {number}"))
            })?;
            match here {
                Here::Host => Ok(mount::clone_fd(directory, false)?),
                // The descriptor is of another mount namespace, the copy of which this one began as.
                Here::Container => Ok(mount::clone_path(directory.path(), false)?),
            }
        }
    }
}

/// A user namespace with these maps, for an id-mapped mount: it lives as long as its descriptor.
fn user_namespace(maps: &IdMaps, procfs: &Procfs) -> Result<OwnedFd> {
    let (here, there) = Channel::pair()?;
    let here = Cell::new(Some(here));
    let child = kernel::clone_into(namespace::USER, None, || {
        // Its own copy of the other end closed, it waits until that of the host's side is: also when that is killed.
        drop(here.take());
        let _ = there.receive();
        0
    })?;
    let made = write_maps(procfs, child.pid, maps).and_then(|()| Ok(procfs.namespace(child.pid, "user")?));
    drop(here);
    end(child)?;
    made
}

/// Writes the id maps of a process's new user namespace. Who is not root may map itself alone, and gives up setting groups
/// for it; for more there are the programs of shadow-utils, which look into /etc/subuid and /etc/subgid
/// (user_namespaces(7), newuidmap(1)).
pub(crate) fn write_maps(procfs: &Procfs, pid: u32, maps: &IdMaps) -> Result<()> {
    match procfs.write(&format!("{pid}/uid_map"), maps.users.as_bytes()) {
        Err(error) if needs_another(&error) => map_by("newuidmap", pid, &maps.users, &error)?,
        other => other?,
    }
    let path = format!("{pid}/gid_map");
    match procfs.write(&path, maps.groups.as_bytes()) {
        Err(error) if needs_another(&error) && is_single(&maps.groups) => {
            procfs.write(&format!("{pid}/setgroups"), b"deny")?;
            Ok(procfs.write(&path, maps.groups.as_bytes())?)
        }
        Err(error) if needs_another(&error) => map_by("newgidmap", pid, &maps.groups, &error),
        other => Ok(other?),
    }
}

/// Whether a map was refused to somebody who may map more with a program that has the right.
fn needs_another(error: &linux::Error) -> bool {
    const EPERM: i32 = 1;
    error.errno() == EPERM && credentials::effective_uid() != 0
}

/// One id alone.
fn is_single(map: &str) -> bool {
    map.lines().count() == 1 && map.trim_end().ends_with(" 1")
}

fn map_by(program: &str, pid: u32, map: &str, refused: &linux::Error) -> Result<()> {
    let mut command = std::process::Command::new(program);
    command.arg(pid.to_string()).args(map.split_ascii_whitespace());
    let failed = |words: String| Error::new(Kind::System, format!("{refused}; {program}: {words}"));
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}
