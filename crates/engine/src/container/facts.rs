//! Gathers what a start depends on: numbers of users and devices, places of volumes, processes to join.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci::runtime::Device;

use super::launch::Places;
use super::merged::Merged;
use super::plan::{FoundDevice, StartFacts};
use super::record::Record;
use super::spec::{ContainerSpec, DeviceSpec, MountSource, MountSpec, RootSource, Share};
use super::user;
use crate::cdi::{self, Catalog, Edits, Node};
use crate::engine::Engine;
use crate::userns::{self, Remap, Users};
use crate::{Error, Result};
use runtime::seccomp::Architecture;

/// Directories below /dev that a privileged container does not get: they are mounts of its own.
const OWN_DEVICE_DIRS: &[&str] = &["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
/// Depth and number of devices that are looked at.
const MAX_DEVICE_DEPTH: usize = 8;
const MAX_DEVICES: usize = 16_384;

/// Makes directories for binds whose source may be made. They belong to root, or to whom the container's root is on the host.
pub(crate) fn ensure_bind_sources(engine: &Engine, record: &Record) -> Result<()> {
    let spec = &record.spec;
    let owner = userns::of(engine, record).and_then(Remap::root);
    for mount in &spec.mounts {
        let MountSource::Bind { path, create } = &mount.source else { continue };
        match fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && *create => {
                make_dirs(Path::new(path), owner).map_err(|error| {
                    Error::system(format!(
                        "error while creating mount source path '{path}': mkdir {path}: {error}"
                    ))
                })?;
            }
            Err(error) => {
                return Err(Error::invalid(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {path} ({error})"
                )));
            }
        }
    }
    Ok(())
}

/// Makes a directory and those above it that are missing; all of them belong to `owner`.
fn make_dirs(path: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    for path in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => {}
            // Somebody else makes it now: it is theirs.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(path, Some(user), Some(group))?;
        }
    }
    Ok(())
}

/// Gathers for a start; `layers` are those of the container's root, topmost first, its own included.
pub(crate) fn gather(engine: &Engine, record: &Record, layers: &[PathBuf]) -> Result<StartFacts> {
    let spec = &record.spec;
    let places = Places::of(engine, &record.id);
    let merged = Merged::new(layers.to_vec());
    let who = user::resolve(&spec.process.user, &spec.process.groups, |path| merged.open(path))?;
    let host = &engine.host;
    let donors = donors(engine, spec)?;
    Ok(StartFacts {
        apparmor: apparmor(engine, record)?,
        cgroup_path: super::group::path(record),
        data_dir: places.data_dir,
        volume_paths: record.volume_paths.clone(),
        held: BTreeMap::new(),
        owners: BTreeMap::new(),
        mapped_volumes: mapped_volumes(engine, &spec.mounts),
        users: users(engine, record, &donors)?,
        user: who.user,
        home: who.home,
        linked: super::links::environment(engine, record, true)?,
        edits: named_devices(engine, record)?,
        devices: if spec.privileged { all_devices()? } else { asked_devices(&spec.devices)? },
        block_devices: block_devices(spec)?,
        donors,
        architecture: Architecture::NATIVE,
        kernel: kernel_version(&host.kernel_release),
        has_seccomp: host.has_seccomp,
        has_time_namespaces: host.has_time_namespaces,
        cpus: host.cpus,
    })
}

/// The AppArmor profile of the container's programs; as with Docker none is asked for where AppArmor is off.
fn apparmor(engine: &Engine, record: &Record) -> Result<Option<String>> {
    if !engine.host.has_apparmor {
        return Ok(None);
    }
    crate::apparmor::to_enforce(record.spec.process.apparmor.as_deref(), record.spec.privileged)
}

/// The same for a program run beside the container's own, whose files are those of the living container.
pub(crate) fn gather_exec(engine: &Engine, record: &Record, pid: i32, text: &str) -> Result<StartFacts> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let open = |path: &Path| -> Result<Option<File>> {
        match linux::root::Root::open(&root).and_then(|root| root.read_file(path)) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::system(format!("read the container's user database: {error}"))),
        }
    };
    let who = user::resolve(text, &record.spec.process.groups, open)?;
    Ok(StartFacts {
        apparmor: apparmor(engine, record)?,
        cgroup_path: super::group::path(record),
        data_dir: Places::of(engine, &record.id).data_dir,
        volume_paths: BTreeMap::new(),
        held: BTreeMap::new(),
        owners: BTreeMap::new(),
        mapped_volumes: BTreeSet::new(),
        users: Users::Host,
        user: who.user,
        home: who.home,
        linked: super::links::environment(engine, record, false)?,
        edits: Edits::default(),
        devices: Vec::new(),
        block_devices: BTreeMap::new(),
        donors: BTreeMap::new(),
        architecture: Architecture::NATIVE,
        kernel: kernel_version(&engine.host.kernel_release),
        has_seccomp: engine.host.has_seccomp,
        has_time_namespaces: engine.host.has_time_namespaces,
        cpus: engine.host.cpus,
    })
}

/// `6.1.0-40-amd64` → (6, 1).
fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn donors(engine: &Engine, spec: &ContainerSpec) -> Result<BTreeMap<String, i32>> {
    let shared = &spec.namespaces;
    let mut pids = BTreeMap::new();
    for share in [&shared.network, &shared.pid, &shared.ipc, &shared.uts, &shared.cgroup] {
        if let Share::Container(id) = share {
            let view = engine.containers.find(id)?.view();
            let running = view.state().running().ok_or_else(|| {
                Error::conflict(format!("cannot join namespace of a non running container: {id}"))
            })?;
            pids.insert(id.clone(), running.process.pid);
        }
    }
    Ok(pids)
}

/// In whose user namespace the container is to be.
fn users(engine: &Engine, record: &Record, donors: &BTreeMap<String, i32>) -> Result<Users> {
    let Some(remap) = userns::of(engine, record) else { return Ok(Users::Host) };
    userns::refuse_conflicts(&record.host_config)?;
    if engine.current().runtime(&record.host_config.runtime)?.is_some() {
        return Err(Error::invalid(format!(
            "the runtime {} is not given user namespaces: run the container with --userns=host",
            record.host_config.runtime
        )));
    }
    if let RootSource::Directory(path) = &record.spec.root.source {
        return Err(Error::invalid(format!(
            "the directory {path} cannot be the root of a container with a user namespace: its root would own files of \
             the host; add an overlay, or run the container with --userns=host"
        )));
    }
    // To share another namespace, the user namespace that owns it has to be shared too.
    let mut found: Option<(u64, Users)> = None;
    for (id, pid) in donors {
        let (inode, theirs) = userns::of_process(*pid)?;
        let short = crate::id::short(id);
        let Some(remap) = theirs else {
            return Err(Error::conflict(format!(
                "container {short} is in the user namespace of the host: to share a namespace with it, run this one with --userns=host"
            )));
        };
        match &found {
            Some((other, _)) if *other != inode => {
                return Err(Error::conflict(format!(
                    "container {short} has another user namespace than the other containers whose namespaces are to be shared"
                )));
            }
            _ => found = Some((inode, Users::Of { pid: *pid, remap })),
        }
    }
    Ok(found.map_or_else(|| Users::Own(remap.clone()), |(_, users)| users))
}

/// Volumes whose files have the ids of containers: those that are directories of ours, with nothing mounted over them.
pub(crate) fn mapped_volumes(engine: &Engine, mounts: &[MountSpec]) -> BTreeSet<String> {
    let names = mounts.iter().filter_map(MountSpec::volume);
    let is_plain = |name: &&str| {
        engine.volumes.find(name).is_some_and(|record| record.driver == "local" && record.options.is_empty())
    };
    names.filter(is_plain).map(str::to_owned).collect()
}

/// What the devices need that the container asks for by name.
fn named_devices(engine: &Engine, record: &Record) -> Result<Edits> {
    let config = engine.current();
    let (directories, requests) =
        (config.device_descriptions(), record.host_config.resources.device_requests.as_deref());
    let names = cdi::wanted(requests.unwrap_or_default(), !directories.is_empty())?;
    if names.is_empty() {
        return Ok(Edits::default());
    }
    let mut edits = Catalog::read(directories).edits(&names)?;
    edits.device_nodes.iter_mut().try_for_each(complete)?;
    Ok(edits)
}

/// Takes what a description leaves out from the device of the host.
fn complete(node: &mut Node) -> Result<()> {
    if !node.kind.is_empty() && (node.major != 0 || node.kind == "p") {
        return Ok(());
    }
    let path = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    let failed = |words: &str| {
        Error::system(format!(
            "CDI device injection failed: failed to stat CDI host device {path:?}: {words}"
        ))
    };
    let found = device(Path::new(path), &node.path, "").map_err(|error| failed(&error.message))?;
    let found = found.ok_or_else(|| failed("it is no device"))?.node;
    if !node.kind.is_empty() && node.kind != found.kind {
        return Err(failed(&format!("it is of type {}, not {}", found.kind, node.kind)));
    }
    (node.kind, node.major, node.minor) = (found.kind, found.major, found.minor);
    node.file_mode = node.file_mode.or(found.file_mode);
    Ok(())
}

/// A node for a device file, if it is one.
fn device(path: &Path, inside: &str, permissions: &str) -> Result<Option<FoundDevice>> {
    let metadata = fs::metadata(path).map_err(|error| {
        Error::invalid(format!(
            "error gathering device information while adding custom device \"{}\": {}",
            path.display(),
            if error.kind() == std::io::ErrorKind::NotFound {
                "no such file or directory".to_owned()
            } else {
                error.to_string()
            }
        ))
    })?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return Ok(None),
    };
    let (major, minor) = linux::file::device_numbers(metadata.rdev());
    let node = Device {
        path: inside.to_owned(),
        kind: kind.to_owned(),
        major: i64::from(major),
        minor: i64::from(minor),
        file_mode: Some(metadata.mode() & 0o7777),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
    };
    Ok(Some(FoundDevice { node, permissions: permissions.to_owned() }))
}

fn asked_devices(asked: &[DeviceSpec]) -> Result<Vec<FoundDevice>> {
    let mut found = Vec::new();
    for spec in asked {
        let path = Path::new(&spec.host);
        match device(path, &spec.container, &spec.permissions)? {
            Some(device) => found.push(device),
            None => {
                let before = found.len();
                if path.is_dir() {
                    walk(path, &spec.container, &spec.permissions, 0, &mut found)?;
                }
                if found.len() > before {
                    continue;
                }
                return Err(Error::invalid(format!(
                    "error gathering device information while adding custom device \"{}\": not a device node",
                    spec.host
                )));
            }
        }
    }
    Ok(found)
}

fn all_devices() -> Result<Vec<FoundDevice>> {
    let mut found = Vec::new();
    walk(Path::new("/dev"), "/dev", "rwm", 0, &mut found)?;
    // The console is the container's own.
    found.retain(|device| !matches!(device.node.path.as_str(), "/dev/console" | "/dev/ptmx"));
    Ok(found)
}

fn walk(
    dir: &Path,
    inside: &str,
    permissions: &str,
    depth: usize,
    found: &mut Vec<FoundDevice>,
) -> Result<()> {
    let entries =
        fs::read_dir(dir).map_err(|error| Error::system(format!("list {}: {error}", dir.display())))?;
    for entry in entries.filter_map(std::result::Result::ok) {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let below = format!("{inside}/{name}");
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < MAX_DEVICE_DEPTH && !OWN_DEVICE_DIRS.contains(&name) {
            walk(&entry.path(), &below, permissions, depth + 1, found)?;
        } else if (kind.is_char_device() || kind.is_block_device())
            && found.len() < MAX_DEVICES
            && let Some(device) = device(&entry.path(), &below, permissions)?
        {
            found.push(device);
        }
    }
    Ok(())
}

/// Clients look for these words.
fn no_device(path: &str, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::invalid(format!("stat {path}: no such file or directory")),
        _ => Error::invalid(format!("stat {path}: {error}")),
    }
}

pub(crate) fn block_devices(spec: &ContainerSpec) -> Result<BTreeMap<String, (i64, i64)>> {
    let limits = &spec.limits;
    let lists = [
        &limits.blkio_weight_devices,
        &limits.blkio_read_bps,
        &limits.blkio_write_bps,
        &limits.blkio_read_iops,
        &limits.blkio_write_iops,
    ];
    let mut numbers = BTreeMap::new();
    for (path, _) in lists.into_iter().flatten() {
        let metadata = fs::metadata(path).map_err(|error| no_device(path, &error))?;
        let (major, minor) = linux::file::device_numbers(metadata.rdev());
        numbers.insert(path.clone(), (i64::from(major), i64::from(minor)));
    }
    Ok(numbers)
}
