//! Ports and mounts of a container that exists: added and taken away while it runs, and kept in its configuration.
//!
//! ```text
//! future     what the record would say: checked as at a creation, nothing done yet
//! ready      volumes made and reached, sources opened, mounts detached              undone: volumes given back
//! mounts     in the container's mount namespace: those that go, those that come    undone: the other way round
//! ports      leases and rules, in one step                                          undone: all of the above
//! record     saved by the owner
//! ```
//! The places are recorded first: a boot makes what is mounted there what the record says of them.
//! A container that does not run has only its record changed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use api::host_config::HostConfig;
use api::mount::Mount;
use api::port::{PortBinding, PortMap};
use runtime::id_map;
use runtime::live::{self, Detached};
use serde::{Deserialize, Serialize};

use super::held::Held;
use super::plan::{Sources, plan_mount};
use super::record::{Published, Record};
use super::registry::Handle;
use super::spec::{MountSpec, PortSpec, Share};
use super::state::{Process, State};
use super::view::Live;
use super::{create, facts, resolve};
use crate::engine::Engine;
use crate::userns::{self, Remap, Users};
use crate::{Error, Result, volume};

/// What is to be changed: body member `Berth` of an update.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Changes {
    /// Ports to publish.
    pub publish_add: PortMap,
    /// Ports not to publish any more: all of a container's port, or only those of the host that are named.
    pub publish_remove: PortMap,
    /// Mounts to add.
    pub mount_add: Vec<Mount>,
    /// The same in the words of `--volume`.
    pub bind_add: Vec<String>,
    /// Places in the container where what is mounted goes.
    pub mount_remove: Vec<String>,
}

/// What a record gains and loses.
struct Difference {
    mounts: Vec<MountSpec>,
    gone: Vec<MountSpec>,
    ports: Vec<PortSpec>,
    closed: PortMap,
}

/// Changes a container, running or not: all of it, or nothing.
pub(crate) async fn remodel(engine: &Engine, handle: &Handle, changes: Changes) -> Result<()> {
    if changes == Changes::default() {
        return Ok(());
    }
    handle.until(|view| !matches!(view.state(), State::Starting { .. })).await?;
    let owned = engine.clone();
    handle.work(move |record, live| change(&owned, record, live, &changes)).await?;
    volume::claim(engine, handle.view().record.volume_paths.keys());
    Ok(())
}

fn change(engine: &Engine, record: &mut Record, live: Option<&Live>, changes: &Changes) -> Result<()> {
    if matches!(record.state, State::Starting { .. } | State::Dead { .. }) {
        return Err(Error::conflict(format!("container {} cannot be changed now", record.name)));
    }
    let mut future = record.clone();
    let difference = plan(engine, &mut future, changes)?;
    let places: Vec<String> =
        difference.gone.iter().chain(&difference.mounts).map(|mount| mount.destination.clone()).collect();
    if live.is_some() && !places.is_empty() {
        engine.records.save(&Record { unsettled: places, ..record.clone() }, true)?;
    }
    let mut made = Vec::new();
    let done = apply(engine, record, &mut future, live, &difference, &mut made);
    volume::end_reservations(engine, &record.id, future.volume_paths.keys());
    if let Err(error) = done {
        create::undo_volumes(engine, &Record { volume_paths: BTreeMap::new(), ..record.clone() }, &made);
        return Err(error);
    }
    *record = future;
    Ok(())
}

/// What the record would say, and how that differs from what it says. Does nothing.
fn plan(engine: &Engine, future: &mut Record, changes: &Changes) -> Result<Difference> {
    let shares = future.spec.namespaces.network != Share::Private || future.spec.network.mode == "none";
    if shares && !(changes.publish_add.is_empty() && changes.publish_remove.is_empty()) {
        return Err(Error::invalid(format!(
            "container {} publishes no ports: its network mode is {}",
            future.name, future.spec.network.mode
        )));
    }
    let gone = take_mounts(future, &changes.mount_remove)?;
    let added = HostConfig {
        mounts: changes.mount_add.clone(),
        binds: Some(changes.bind_add.clone()),
        port_bindings: Some(changes.publish_add.clone()),
        volume_driver: future.host_config.volume_driver.clone(),
        ..HostConfig::default()
    };
    let current = engine.current();
    let count = resolve::anonymous_volumes(&api::config::Config::default(), &added);
    let root = future.spec.root.source.clone();
    let facts = create::facts(engine, &current, &future.id, &added, root, count)?;
    let (mounts, ports) = resolve::added(&added, &facts)?;
    for mount in &mounts {
        refuse_place(future, mount)?;
    }
    take_ports(future, &changes.publish_remove)?;
    let host = &mut future.host_config;
    host.mounts.extend(changes.mount_add.iter().cloned());
    if !changes.bind_add.is_empty() {
        host.binds.get_or_insert_default().extend(changes.bind_add.iter().cloned());
    }
    for (port, bindings) in &changes.publish_add {
        let known = host.port_bindings.get_or_insert_default().entry(*port).or_default();
        known.get_or_insert_default().extend(bindings.clone().unwrap_or_default());
    }
    future.spec.mounts.extend(mounts.iter().cloned());
    future.spec.mounts.sort_by_key(|mount| mount.destination.matches('/').count());
    future.spec.network.ports.extend(ports.iter().cloned());
    Ok(Difference { mounts, gone, ports, closed: changes.publish_remove.clone() })
}

/// Takes mounts out of a record, by destination.
fn take_mounts(future: &mut Record, places: &[String]) -> Result<Vec<MountSpec>> {
    let mut gone = Vec::new();
    for place in places.iter().map(|place| resolve::clean(place)) {
        let found = future.spec.mounts.iter().position(|mount| mount.destination == place);
        let Some(found) = found else {
            return Err(Error::not_found(format!("container {} has no mount at {place}", future.name)));
        };
        gone.push(future.spec.mounts.remove(found));
        let below = format!("{place}/");
        if let Some(other) = future.spec.mounts.iter().find(|mount| mount.destination.starts_with(&below)) {
            return Err(Error::conflict(format!(
                "the mount at {} is below {place}: remove it first",
                other.destination
            )));
        }
        let host = &mut future.host_config;
        host.mounts.retain(|mount| resolve::clean(&mount.target) != place);
        host.tmpfs.retain(|target, _| resolve::clean(target) != place);
        if let Some(binds) = &mut host.binds {
            binds.retain(|bind| {
                let target = bind.split(':').nth(1).unwrap_or(bind);
                resolve::clean(target) != place
            });
        }
    }
    let used: Vec<&str> = future.spec.mounts.iter().filter_map(MountSpec::volume).collect();
    future.volume_paths.retain(|name, _| used.contains(&name.as_str()));
    Ok(gone)
}

fn refuse_place(future: &Record, mount: &MountSpec) -> Result<()> {
    let place = &mount.destination;
    if future.spec.mounts.iter().any(|other| other.destination == *place) {
        return Err(Error::invalid(format!("Duplicate mount point: {place}")));
    }
    // What the kernel shows of itself is not covered while programs rely on it.
    let kernels = ["/proc", "/sys", "/dev"];
    if kernels.iter().any(|dir| place == dir || place.starts_with(&format!("{dir}/"))) {
        return Err(Error::invalid(format!("{place} cannot be mounted on while the container exists")));
    }
    Ok(())
}

/// Whether a binding is one of those that are named; no name means every one.
fn is_named(named: Option<&Vec<PortBinding>>, host_ip: &str, host_port: &str) -> bool {
    named.is_none_or(|named| {
        named.is_empty()
            || named.iter().any(|name| {
                (name.host_ip.is_empty() || name.host_ip == host_ip)
                    && (name.host_port.is_empty() || name.host_port == host_port)
            })
    })
}

/// Takes ports out of a record.
fn take_ports(future: &mut Record, closed: &PortMap) -> Result<()> {
    for (port, named) in closed {
        let named = named.as_ref();
        let held: Vec<String> = future
            .attachments
            .iter()
            .flat_map(|held| &held.published)
            .filter(|held| is_closed(closed, held))
            .map(|held| held.host_port.to_string())
            .collect();
        // A port that was published on any free number is named by the number that it has now.
        let goes = |host_ip: &str, host_port: &str| match host_port {
            "" | "0" if named.is_some_and(|named| named.iter().any(|name| !name.host_port.is_empty())) => {
                !held.is_empty()
            }
            host_port => is_named(named, host_ip, host_port),
        };
        let before = future.spec.network.ports.len();
        future.spec.network.ports.retain(|spec| {
            let same = spec.container_port == port.number && spec.protocol == port.protocol.as_str();
            let number = match spec.host_ports {
                (0, 0) => String::new(),
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            !(same && goes(&spec.host_ip, &number))
        });
        if before == future.spec.network.ports.len() {
            return Err(Error::not_found(format!("container {} does not publish {port} so", future.name)));
        }
        if let Some(bindings) = future.host_config.port_bindings.get_or_insert_default().get_mut(port) {
            bindings.get_or_insert_default().retain(|binding| !goes(&binding.host_ip, &binding.host_port));
        }
        let left =
            |bindings: &Option<Vec<PortBinding>>| bindings.as_ref().is_some_and(|list| !list.is_empty());
        future
            .host_config
            .port_bindings
            .get_or_insert_default()
            .retain(|key, list| key != port || left(list));
    }
    Ok(())
}

/// Whether a published port is one that is to be closed.
pub(crate) fn is_closed(closed: &PortMap, held: &Published) -> bool {
    closed.iter().any(|(port, named)| {
        port.number == held.container_port
            && port.protocol.as_str() == held.protocol
            && is_named(named.as_ref(), &held.host_address.to_string(), &held.host_port.to_string())
    })
}

/// Makes the world what the future record says.
fn apply(
    engine: &Engine,
    record: &Record,
    future: &mut Record,
    live: Option<&Live>,
    difference: &Difference,
    made: &mut Vec<String>,
) -> Result<()> {
    let mut coming = future.clone();
    coming.spec.mounts.clone_from(&difference.mounts);
    coming.volume_paths.clear();
    let volumes = create::volumes(engine, &mut coming, made);
    future.volume_paths.extend(coming.volume_paths.clone());
    volumes?;
    let Some(live) = live else { return Ok(()) };
    facts::ensure_bind_sources(engine, &coming)?;
    let known = record.volume_paths.clone();
    let moved = remount(engine, future, live, difference);
    let gone: Vec<&str> = match moved {
        Ok(()) => {
            known.keys().filter(|name| !future.volume_paths.contains_key(*name)).map(String::as_str).collect()
        }
        Err(_) => {
            future.volume_paths.keys().filter(|name| !known.contains_key(*name)).map(String::as_str).collect()
        }
    };
    let released = volume::release_all(engine, &record.id, &gone);
    moved?;
    if let Err(error) = released {
        tracing::error!(container = crate::id::short(&record.id), %error, "a volume stays mounted");
    }
    Ok(())
}

/// Mounts and ports of a container that runs.
fn remount(engine: &Engine, future: &mut Record, live: &Live, difference: &Difference) -> Result<()> {
    let failed = |error: runtime::Error| Error::system(error.to_string());
    let (ready, _held) = ready(engine, future, &difference.mounts)?;
    let running = future.state.running().map(|running| running.process.clone());
    let gone = || Error::conflict(format!("container {} has just ended", future.name));
    let namespace = mount_namespace(future, &running.ok_or_else(gone)?, live)?;
    let places: Vec<PathBuf> =
        difference.gone.iter().rev().map(|mount| PathBuf::from(&mount.destination)).collect();
    let gone =
        if places.is_empty() { Vec::new() } else { live::detach(&namespace, &places).map_err(failed)? };
    let back = |error: Error| put_back(&namespace, &gone, error);
    live::attach(&namespace, &ready).map_err(failed).map_err(&back)?;
    let ported = engine.networks.republish(future, &difference.ports, &difference.closed);
    match ported {
        Ok(attachments) => future.attachments = attachments,
        Err(error) => {
            let places: Vec<PathBuf> =
                difference.mounts.iter().rev().map(|mount| PathBuf::from(&mount.destination)).collect();
            let undone = live::detach(&namespace, &places).map(drop).map_err(failed);
            return Err(back(undone.err().map_or(error.clone(), |undo| error.context(undo))));
        }
    }
    Ok(())
}

/// What was taken away comes back, the lower ones first.
fn put_back(namespace: &OwnedFd, gone: &[Detached], error: Error) -> Error {
    match live::attach(namespace, gone) {
        Ok(()) => error,
        Err(undo) => error.context(undo),
    }
}

/// The mounts that come, attached nowhere; with the descriptors that name their sources.
pub(super) fn ready(engine: &Engine, future: &Record, mounts: &[MountSpec]) -> Result<(Vec<Detached>, Held)> {
    let volume_paths = volume::acquire_all(engine, &future.id, mounts)?;
    let users = living_users(future)?;
    let remap = users.remap();
    let mapped_volumes = facts::mapped_volumes(engine, mounts);
    let mut held = Held::default();
    let opened = held.open(engine, mounts, &volume_paths, &users)?;
    let user = if mounts.iter().any(|mount| mount.id_map.is_some()) { user(engine, future)? } else { (0, 0) };
    let sources = Sources {
        volume_paths: &volume_paths,
        held: &opened.paths,
        owners: &opened.owners,
        user,
        remap,
        mapped_volumes: &mapped_volumes,
    };
    let failed = |error: runtime::Error| match error.kind() {
        runtime::Kind::Invalid => Error::invalid(error.to_string()),
        _ => Error::system(error.to_string()),
    };
    let ready = mounts.iter().map(|mount| {
        let mut planned = plan_mount(mount, &sources)?;
        if planned.kind == "tmpfs"
            && let Some((user, group)) = remap.and_then(Remap::root)
        {
            // It is made outside of the container's user namespace; what the request says comes later, and counts.
            planned.options.splice(0..0, [format!("uid={user}"), format!("gid={group}")]);
        }
        let maps = (&planned.uid_mappings, &planned.gid_mappings);
        let is_mapped = !maps.0.is_empty();
        let users = is_mapped.then(|| id_map::open(&engine.program.path, maps.0, maps.1));
        let users = users.transpose().map_err(failed)?;
        live::ready(&planned, users.as_ref().map(AsFd::as_fd)).map_err(failed)
    });
    Ok((ready.collect::<Result<_>>()?, held))
}

/// In whose user namespace a container that runs is.
fn living_users(record: &Record) -> Result<Users> {
    let gone = || Error::conflict(format!("container {} has just ended", record.name));
    let pid = record.state.running().ok_or_else(gone)?.process.pid;
    let (_, remap) = userns::of_process(pid)?;
    Ok(remap.map_or(Users::Host, |remap| Users::Of { pid, remap }))
}

/// The user and group of a container that runs.
fn user(engine: &Engine, record: &Record) -> Result<(u32, u32)> {
    let gone = || Error::conflict(format!("container {} has just ended", record.name));
    let pid = record.state.running().ok_or_else(gone)?.process.pid;
    let user = facts::gather_exec(engine, record, pid, &record.spec.process.user)?.user;
    Ok((user.uid, user.gid))
}

/// The mount namespace of a container's first process, which lives.
pub(super) fn mount_namespace(record: &Record, process: &Process, live: &Live) -> Result<OwnedFd> {
    let failed = |error: linux::Error| Error::system(format!("enter container {}: {error}", record.name));
    let gone = || Error::conflict(format!("container {} has just ended", record.name));
    let pid = u32::try_from(process.pid).map_err(|_| gone())?;
    let namespace = linux::mntns::of_process(pid).map_err(failed)?;
    // Alive after the namespace was opened: then the number meant the container's process, and nobody else's.
    if live.pidfd.send(0).map_err(failed)? { Ok(namespace) } else { Err(gone()) }
}
