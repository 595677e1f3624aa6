//! Make a container: resolve the request, prepare its layer and volumes, write its record, start its owner.

use std::collections::BTreeMap;
use std::path::Path;

use api::container_create::{CreateRequest, Created};
use api::endpoint::EndpointSettings;
use api::host_config::HostConfig;
use serde::{Deserialize, Serialize};

use super::health;
use super::links;
use super::owner;
use super::record::Record;
use super::resolve::{self, Donor, Facts, merge_image};
use super::spec::{MountSource, MountSpec, RootSource};
use super::state::{Ended, State};
use crate::engine::Engine;
use crate::error::Kind;
use crate::image_use::{self, ImageForContainer};
use crate::{Error, Result, id, time, volume};

/// Attempts at a name nobody has.
const NAME_ATTEMPTS: usize = 6;

/// What a request may ask for beyond Docker's API: body member `Berth`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Extension {
    /// A directory of the host instead of an image.
    pub rootfs: Option<RootfsRequest>,
}

/// A directory of the host as a root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootfsRequest {
    /// Absolute path.
    pub path: String,
    /// Changes go to a layer of the container's own.
    pub overlay: bool,
}

/// Makes a container. `name` is chosen when it is empty; `platform` is `os[/arch[/variant]]`.
pub async fn create(
    engine: &Engine,
    name: Option<&str>,
    platform: Option<&str>,
    request: CreateRequest,
    extension: Extension,
) -> Result<Created> {
    let (engine, name, platform) = (engine.clone(), name.map(str::to_owned), platform.map(str::to_owned));
    // A client that leaves does not leave half a container: this thread goes on.
    crate::blocking(move || {
        let (record, warnings) = make(&engine, name.as_deref(), platform.as_deref(), request, &extension)?;
        let attributes = record.attributes();
        let id = record.id.clone();
        let volumes: Vec<String> = record.volume_paths.keys().cloned().collect();
        owner::spawn(&engine, record, None);
        volume::claim(&engine, &volumes);
        volume::end_reservations(&engine, &id, &volumes);
        engine.events.publish("container", "create", &id, attributes);
        Ok(Created { id, warnings })
    })
    .await
}

fn make(
    engine: &Engine,
    name: Option<&str>,
    platform: Option<&str>,
    request: CreateRequest,
    extension: &Extension,
) -> Result<(Record, Vec<String>)> {
    let image = image_of(engine, platform, &request, extension)?;
    make_of(engine, name, request, image).map_err(nothing_to_pull)
}

/// Clients pull the image when they are told that something is not there; with anything else than an image, the request
/// is at fault.
fn nothing_to_pull(error: Error) -> Error {
    match error.kind {
        Kind::NotFound => Error::invalid(error.message),
        _ => error,
    }
}

fn make_of(
    engine: &Engine,
    name: Option<&str>,
    request: CreateRequest,
    image: ImageForContainer,
) -> Result<(Record, Vec<String>)> {
    let container_id = id::new_id()?;
    let config = merge_image(&request.config, &image.config);
    let current = engine.current();
    let mut host = defaults(&current, engine.host.cgroup_v2(), request.host_config.unwrap_or_default())?;
    let networking =
        request.networking_config.and_then(|networking| networking.endpoints_config).unwrap_or_default();
    let count = resolve::anonymous_volumes(&config, &host);
    resolve::refuse_conflicts(&config, &host)?;
    let unasked = health::validate(&config)?;
    let endpoints = crate::network::endpoints(
        &engine.networks,
        &host,
        config.network_disabled,
        &config.mac_address,
        networking,
    )?;
    let links = links::resolve(engine, &host)?;
    let facts = facts(engine, &current, &container_id, &host, image.root.clone(), count)?;
    let mac = mac_address(&config.mac_address, &endpoints);
    let (spec, mut warnings) = resolve::resolve(&config, &host, &mac, &facts)?;
    super::logging::check_socket(&spec.log)?;
    warnings.extend(unasked);
    if host.network_mode == "host" && host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    warnings.extend(engine.networks.publish_warnings(&spec.network.ports));
    resolve::policy(&host)?;
    discard(&mut host, engine.host.cgroup_v2());
    let name = reserve_name(engine, name, &container_id)?;
    let record = Record {
        id: container_id.clone(),
        name: name.clone(),
        created: time::now(),
        image_id: image.id.clone(),
        image_manifest: image.runnable.as_ref().map(crate::images::manifest_of),
        image_name: request.config.image.clone(),
        config,
        host_config: host,
        endpoints,
        volume_paths: BTreeMap::new(),
        spec,
        state: State::Created(Ended::default()),
        health: None,
        remove_volumes: false,
        links,
        attachments: Vec::new(),
        unsettled: Vec::new(),
        reshaping: false,
        held: false,
    };
    commit(engine, record, image.runnable.as_ref())
        .map(|record| (record, warnings))
        .inspect_err(|_| engine.containers.release(&name))
}

/// What a decision about a request depends on beside the request.
pub(super) fn facts<'a>(
    engine: &'a Engine,
    current: &'a crate::Config,
    container_id: &'a str,
    host: &HostConfig,
    root: RootSource,
    anonymous_volumes: usize,
) -> Result<Facts<'a>> {
    Ok(Facts {
        config: current,
        id: container_id,
        host_name: &engine.host.name,
        machine: engine.host.machine(),
        cgroup_driver: current.driver(&engine.host),
        capabilities: &engine.host.capabilities,
        containers: donors(engine, host)?,
        root,
        existing_paths: existing_paths(host),
        mounted_images: mounted_images(engine, host)?,
        lent_mounts: lent_mounts(engine, host)?,
        has_quotas: (!host.storage_opt.is_empty() || current.default_size_limit > 0)
            && engine.images.quotas().are_supported(),
        volume_names: (0..anonymous_volumes).map(|_| id::new_id()).collect::<Result<_>>()?,
    })
}

/// Prepares what the record names, then writes it; undoes the preparation when that fails.
fn commit(engine: &Engine, record: Record, runnable: Option<&image::Runnable>) -> Result<Record> {
    if matches!(record.spec.root.source, RootSource::Directory(_)) {
        return write(engine, record, None);
    }
    let reserved = image_use::reserve(engine, &record, runnable)?;
    // A limit may be refused, and new volumes are filled from the root: then the layer is made now and not when it is used.
    let has_volumes = record.spec.mounts.iter().any(|mount| mount.volume().is_some());
    if !has_volumes && record.spec.root.size_limit == 0 {
        return write(engine, record, Some(&reserved));
    }
    let prepared = image_use::prepare(engine, &record, &reserved);
    let written = prepared.and_then(|()| write(engine, record.clone(), None));
    if written.is_err()
        && let Err(again) = engine.images.remove_snapshot(&record.id)
    {
        tracing::error!(error = %again, "cannot undo the layer of a failed creation");
    }
    written
}

/// Makes the volumes and writes the record, with what the root lies on unless that is recorded.
fn write(engine: &Engine, mut record: Record, root: Option<&image::Reserved>) -> Result<Record> {
    let mut made = Vec::new();
    let written = volumes(engine, &mut record, &mut made).and_then(|()| engine.records.add(&record, root));
    if let Err(error) = written {
        volume::end_reservations(engine, &record.id, record.volume_paths.keys());
        undo_volumes(engine, &record, &made);
        return Err(error);
    }
    Ok(record)
}

/// The volumes of a container that will not be: new ones go, and what was filled is empty again, unless somebody else has
/// taken it since.
pub(super) fn undo_volumes(engine: &Engine, record: &Record, made: &[String]) {
    let is_free = |name: &&String| {
        !volume::is_used_beside(engine, name, &record.id) && !volume::is_reserved(engine, name)
    };
    for name in record.volume_paths.keys().chain(made).filter(is_free) {
        let undone = match made.contains(name) {
            // A plugin's as well.
            true => volume::erase(engine, name, volume::Why::WithItsContainer),
            false => volume::give_up(engine, [name]),
        };
        if let Err(error) = undone {
            tracing::error!(volume = name, %error, "a volume of what could not be done stays");
        }
    }
}

/// Makes the volumes that do not exist yet, and fills new ones from the image.
pub(super) fn volumes(engine: &Engine, record: &mut Record, made: &mut Vec<String>) -> Result<()> {
    for mount in &record.spec.mounts {
        let MountSource::Volume { name, anonymous, copy, .. } = &mount.source else { continue };
        let wanted = volume_of(engine, &record.host_config, mount, name, *anonymous)?;
        // Noted first: what is reserved for this container is what its record names.
        record.volume_paths.insert(name.clone(), String::new());
        let is_new = volume::ensure(engine, wanted, Some(&record.id))?;
        if is_new {
            made.push(name.clone());
        }
        record.volume_paths.insert(name.clone(), engine.volumes.shown_path(name));
        // The host's own directories are not copied.
        if *copy && record.spec.root.source == RootSource::Image {
            fill(engine, record, name, &mount.destination, is_new)
                .map_err(|error| error.context(format!("fill volume {name}")))?;
        }
    }
    Ok(())
}

/// Fills an empty volume with what the image has at its place.
fn fill(engine: &Engine, record: &Record, name: &str, destination: &str, is_new: bool) -> Result<()> {
    let Some(content) = super::copy_up::content(engine, record, Path::new(destination))? else {
        return Ok(());
    };
    let lent = volume::lend(engine, [&name.to_owned()])?;
    let path = lent.path(name);
    if !is_empty(path)? {
        return Ok(());
    }
    if !is_new {
        volume::begin_filling(engine, name)?;
    }
    super::copy_up::copy_up(&content, path)
}

/// The volume that a mount makes where there is none: with the labels, driver and options that the request gives it.
fn volume_of(
    engine: &Engine,
    host: &HostConfig,
    mount: &MountSpec,
    name: &str,
    anonymous: bool,
) -> Result<crate::records::VolumeRecord> {
    let asked = host.mounts.iter().find(|asked| resolve::clean(&asked.target) == mount.destination);
    let options = asked.and_then(|asked| asked.volume_options.clone());
    let driver = options.as_ref().and_then(|options| options.driver_config.clone()).unwrap_or_default();
    // `--volume-driver` is for what `--volume` asks for.
    let kind = if asked.is_some() { driver.name } else { host.volume_driver.clone() };
    let made = volume::record_of(engine, name, anonymous, &kind, driver.options);
    let mut record = made.map_err(|error| error.context(format!("create {name}")))?;
    record.labels.extend(options.map(|options| options.labels).unwrap_or_default());
    Ok(record)
}

fn is_empty(path: &Path) -> Result<bool> {
    let mut entries = std::fs::read_dir(path)
        .map_err(|error| Error::system(format!("list volume {}: {error}", path.display())))?;
    Ok(entries.next().is_none())
}

fn image_of(
    engine: &Engine,
    platform: Option<&str>,
    request: &CreateRequest,
    extension: &Extension,
) -> Result<ImageForContainer> {
    let Some(rootfs) = &extension.rootfs else {
        if request.config.image.is_empty() {
            return Err(Error::invalid("no image specified"));
        }
        return image_use::for_container(engine, &request.config.image, platform);
    };
    if !rootfs.path.starts_with('/') {
        return Err(Error::invalid(format!("--rootfs {:?}: the path must be absolute", rootfs.path)));
    }
    if !Path::new(&rootfs.path).is_dir() {
        return Err(Error::invalid(format!("--rootfs {:?}: no such directory", rootfs.path)));
    }
    let root = match rootfs.overlay {
        true => RootSource::Overlay(rootfs.path.clone()),
        false => RootSource::Directory(rootfs.path.clone()),
    };
    Ok(ImageForContainer { id: String::new(), config: api::config::Config::default(), root, runnable: None })
}

/// Fills in what Docker shows when the request leaves it out.
fn defaults(config: &crate::Config, cgroup_v2: bool, mut host: HostConfig) -> Result<HostConfig> {
    let or = |field: &mut String, value: &str| {
        if field.is_empty() {
            value.clone_into(field);
        }
    };
    if host.network_mode == "default" {
        host.network_mode.clear();
    }
    or(&mut host.network_mode, "bridge");
    or(&mut host.ipc_mode, &config.default_ipc_mode);
    let cgroup_namespace = config.default_cgroupns_mode.as_deref();
    or(&mut host.cgroupns_mode, cgroup_namespace.unwrap_or(if cgroup_v2 { "private" } else { "host" }));
    or(&mut host.restart_policy.name, "no");
    or(&mut host.log_config.kind, &config.log_driver);
    or(&mut host.runtime, &config.default_runtime);
    if host.shm_size == 0 {
        host.shm_size = config.default_shm_size;
    }
    if host.resources.memory > 0 && host.resources.memory_swap == 0 {
        host.resources.memory_swap = host.resources.memory.saturating_mul(2);
    }
    add_ulimits(&mut host, &config.default_ulimits);
    host.resources.pids_limit = host.resources.pids_limit.filter(|limit| *limit > 0);
    host.resources.memory_swappiness = host.resources.memory_swappiness.filter(|value| *value != -1);
    if !cgroup_v2 {
        // What only the older hierarchies have is said there, as in Docker.
        host.resources.oom_kill_disable.get_or_insert_default();
    }
    host.log_config.config.get_or_insert_default();
    resolve::security::name_hidden_paths(&mut host);
    resolve::security::name_label(&mut host);
    Ok(host)
}

/// What a warning says that it is discarded is not shown either.
fn discard(host: &mut HostConfig, cgroup_v2: bool) {
    host.resources.cpu_percent = 0;
    if cgroup_v2 {
        host.resources.oom_kill_disable = None;
    }
}

/// Adds the limits that the daemon has by default and the request does not name.
fn add_ulimits(host: &mut HostConfig, defaults: &[api::host_config::Ulimit]) {
    let asked: Vec<String> =
        host.resources.ulimits.iter().flatten().map(|limit| limit.name.clone()).collect();
    let missing: Vec<_> = defaults.iter().filter(|limit| !asked.contains(&limit.name)).cloned().collect();
    if !missing.is_empty() {
        host.resources.ulimits.get_or_insert_default().extend(missing);
    }
}

fn mac_address(config: &str, endpoints: &BTreeMap<String, EndpointSettings>) -> String {
    let own = endpoints.values().map(|endpoint| endpoint.mac_address.as_str()).find(|mac| !mac.is_empty());
    own.unwrap_or(config).to_owned()
}

/// Containers that namespaces are shared with, by the name the request uses.
fn donors(engine: &Engine, host: &HostConfig) -> Result<BTreeMap<String, Donor>> {
    let mut donors = BTreeMap::new();
    for mode in [&host.network_mode, &host.pid_mode, &host.ipc_mode] {
        if let Some(name) = mode.strip_prefix("container:").filter(|name| !name.is_empty()) {
            let view = engine.containers.find(name)?.view();
            let spec = &view.record.spec;
            let donor = Donor {
                id: view.record.id.clone(),
                ipc_shareable: spec.namespaces.ipc_shareable,
                hostname: spec.hostname.clone(),
                domainname: spec.domainname.clone(),
            };
            donors.insert(name.to_owned(), donor);
        }
    }
    Ok(donors)
}

/// Digests of the images that are to be mounted, by the name the request uses.
fn mounted_images(engine: &Engine, host: &HostConfig) -> Result<BTreeMap<String, String>> {
    let mounts = host.mounts.iter().filter(|mount| mount.kind == api::mount::kind::IMAGE);
    let names = mounts.map(|mount| &mount.source).filter(|name| !name.is_empty());
    names.map(|name| Ok((name.clone(), image_use::id_of(engine, name)?))).collect()
}

/// Mounts that other containers lend.
fn lent_mounts(engine: &Engine, host: &HostConfig) -> Result<Vec<MountSpec>> {
    let mut lent = Vec::new();
    for text in host.volumes_from.iter().flatten() {
        let (container, writable) = resolve::parse_lender(text)?;
        let lender = engine.containers.find(container)?.view();
        lent.extend(resolve::lend(&lender.record.spec.mounts, writable));
    }
    Ok(lent)
}

fn existing_paths(host: &HostConfig) -> Vec<String> {
    let sources = host.mounts.iter().filter(|mount| mount.kind == api::mount::kind::BIND);
    sources.map(|mount| mount.source.clone()).filter(|path| std::fs::symlink_metadata(path).is_ok()).collect()
}

/// Takes the wanted name, or one that nobody has.
fn reserve_name(engine: &Engine, wanted: Option<&str>, container_id: &str) -> Result<String> {
    let given = wanted.unwrap_or_default();
    let wanted = given.strip_prefix('/').unwrap_or(given);
    if !given.is_empty() {
        if !id::is_valid_name(wanted) {
            return Err(Error::invalid(format!(
                "Invalid container name ({given}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )));
        }
        engine.containers.reserve(wanted, container_id)?;
        return Ok(wanted.to_owned());
    }
    for _ in 0..NAME_ATTEMPTS {
        let name = id::new_name()?;
        if engine.containers.reserve(&name, container_id).is_ok() {
            return Ok(name);
        }
    }
    let name = id::short(container_id).to_owned();
    engine.containers.reserve(&name, container_id)?;
    Ok(name)
}
