//! What is mounted over a container's root and belongs to its files: volumes, binds, and the files that the engine
//! writes. Memory, devices and kernel file systems are the running program's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::record::Record;
use super::super::spec::{MountSource, Share};

/// A file or directory of the host that shows in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bind {
    /// On the host.
    pub(super) source: PathBuf,
    /// Only this part of it; a path inside the source, empty for the whole.
    pub(super) subpath: String,
    /// In the container: absolute.
    pub(super) destination: String,
    /// Whether the container may write there.
    pub(super) writable: bool,
    /// A file that the engine writes at each start: there is none before the first.
    pub(super) is_own: bool,
    /// With what is mounted below the source.
    pub(super) recursive: bool,
    /// The source has the ids of containers.
    pub(super) has_container_ids: bool,
}

/// All of them, those on top of others last. `volume_paths` is where volumes are, `data_dir` is the container's.
/// `mapped` are the volumes whose files have the ids of containers.
pub(super) fn plan(
    record: &Record,
    volume_paths: &BTreeMap<String, String>,
    data_dir: &Path,
    mapped: &BTreeSet<String>,
) -> Vec<Bind> {
    let spec = &record.spec;
    let own_dir = match &spec.namespaces.network {
        Share::Container(id) => data_dir.with_file_name(id),
        _ => data_dir.to_owned(),
    };
    let own = ["resolv.conf", "hostname", "hosts"].map(|name| Bind {
        source: own_dir.join(name),
        subpath: String::new(),
        destination: format!("/etc/{name}"),
        writable: !spec.root.readonly,
        is_own: true,
        recursive: false,
        has_container_ids: true,
    });
    let asked = spec.mounts.iter().filter_map(|mount| {
        let (source, subpath) = match &mount.source {
            MountSource::Bind { path, .. } => (PathBuf::from(path), String::new()),
            MountSource::Volume { name, subpath, .. } => {
                (PathBuf::from(volume_paths.get(name)?), subpath.clone())
            }
            MountSource::Tmpfs { .. } | MountSource::Image { .. } => return None,
        };
        let (destination, writable) = (mount.destination.clone(), mount.writable);
        let has_container_ids =
            mount.id_map.is_none() && mount.volume().is_some_and(|name| mapped.contains(name));
        let recursive = mount.recursive;
        Some(Bind { source, subpath, destination, writable, is_own: false, recursive, has_container_ids })
    });
    let asked: Vec<Bind> = asked.collect();
    let mut binds: Vec<Bind> = own.into();
    // The engine's files exist once the container has run.
    binds.retain(|own| asked.iter().all(|bind| bind.destination != own.destination));
    binds.extend(asked);
    binds.sort_by_key(|bind| bind.destination.matches('/').count());
    binds
}
