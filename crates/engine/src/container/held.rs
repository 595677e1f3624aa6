//! Sources of a container's mounts that only a descriptor names: a part of a volume, an image's files, another
//! container's shared memory.
//!
//! The shim opens them through `/proc/<daemon>/fd/<number>`, so what it mounts is what was found here, whatever a
//! container does to paths meanwhile. They are held until the shim has mounted them.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::Silent;
use linux::root::Root;

use super::plan::StartFacts;
use super::record::Record;
use super::spec::{MountSource, MountSpec, Share};
use crate::engine::Engine;
use crate::userns::{self, Users};
use crate::{Error, Result};

/// `statfs` type of tmpfs.
const TMPFS: i64 = 0x0102_1994;

/// Open sources.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<OwnedFd>);

/// What was found of sources, by destination.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Paths by which other processes of root reach them.
    pub(crate) paths: BTreeMap<String, String>,
    /// User and group of those whose ids are mapped.
    pub(crate) owners: BTreeMap<String, (u32, u32)>,
}

impl Held {
    /// Opens what a start needs, and notes in `facts` by which path the shim finds it.
    pub(crate) fn gather(engine: &Engine, record: &Record, facts: &mut StartFacts) -> Result<Held> {
        let mut held = Held::default();
        let opened = held.open(engine, &record.spec.mounts, &facts.volume_paths, &facts.users)?;
        (facts.held, facts.owners) = (opened.paths, opened.owners);
        if let Share::Container(id) = &record.spec.namespaces.ipc {
            let memory = shared_memory(id, facts.donors.get(id).copied())?;
            facts.held.insert("/dev/shm".to_owned(), held.hold(memory));
        }
        Ok(held)
    }

    /// Opens the sources of mounts that no plain path names, and looks at the owners of those whose ids are mapped.
    pub(crate) fn open(
        &mut self,
        engine: &Engine,
        mounts: &[MountSpec],
        volume_paths: &BTreeMap<String, String>,
        users: &Users,
    ) -> Result<Opened> {
        let mut opened = Opened::default();
        for mount in mounts {
            let volume = |name: &str| Path::new(volume_paths.get(name).map_or("", String::as_str));
            let source = match &mount.source {
                MountSource::Volume { name, subpath, .. } if !subpath.is_empty() => {
                    Some(part(volume(name), subpath)?)
                }
                MountSource::Image { name, id, subpath } => Some(image(engine, name, id, subpath, users)?),
                // What is looked at is what is mounted.
                MountSource::Bind { path, .. } if mount.id_map.is_some() => Some(whole(Path::new(path))?),
                MountSource::Volume { name, .. } if mount.id_map.is_some() => Some(whole(volume(name))?),
                _ => None,
            };
            let Some(source) = source else { continue };
            if mount.id_map.is_some() {
                let stat = linux::file::stat(&source).map_err(|error| Error::system(error.to_string()))?;
                opened.owners.insert(mount.destination.clone(), (stat.uid, stat.gid));
            }
            opened.paths.insert(mount.destination.clone(), self.hold(source));
        }
        Ok(opened)
    }

    /// Keeps a descriptor; the path by which another process of root reaches it.
    fn hold(&mut self, descriptor: OwnedFd) -> String {
        let path = format!("/proc/{}/fd/{}", std::process::id(), descriptor.as_raw_fd());
        self.0.push(descriptor);
        path
    }
}

/// The files of an image, or a part of them, mounted nowhere; in a user namespace with the ids that they have on the disk.
fn image(engine: &Engine, name: &str, id: &str, subpath: &str, users: &Users) -> Result<OwnedFd> {
    let failed = |error: linux::Error| Error::system(format!("mount the image {name}: {error}"));
    let runnable = engine.images.runnable(id, None).map_err(crate::image_use::error)?;
    let layers = engine.images.lower_dirs(&runnable, &Silent).map_err(crate::image_use::error)?;
    let paths: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
    let users = userns::namespace(engine, users)?;
    let whole = match (paths.as_slice(), &users) {
        ([], _) => return Err(Error::invalid(format!("the image {name} has no files to mount"))),
        ([one], None) => linux::mount::clone_path(one, false).map_err(failed)?,
        ([one], Some(users)) => userns::shown(one, users).map_err(failed)?,
        (several, None) => linux::overlay::detached(several, None).map_err(failed)?,
        (several, Some(users)) => userns::overlay(engine, several, users).map_err(failed)?,
    };
    if subpath.is_empty() { Ok(whole) } else { part_of_mount(engine, name, &whole, subpath) }
}

/// A file or directory of a mount that is attached nowhere, as a mount of its own, looked up inside it. Before Linux 6.15
/// nothing of such a mount can be copied: it is attached in a mount namespace that ends with this call.
fn part_of_mount(engine: &Engine, name: &str, whole: &OwnedFd, subpath: &str) -> Result<OwnedFd> {
    let failed = |error: linux::Error| Error::system(format!("mount a part of the image {name}: {error}"));
    let place = &engine.config.data_root;
    linux::mntns::run_in_copy(|| {
        let base = Root::open(place).map_err(failed)?;
        linux::mount::attach(whole, &base).map_err(failed)?;
        let root = Root::from(linux::resolve::readable_dir(whole, b".").map_err(failed)?);
        let found = root.handle(Path::new(subpath)).map_err(|error| missing(subpath, &error))?;
        linux::mount::clone_fd(found, false).map_err(failed)
    })
    .map_err(failed)?
}

/// What is at a path of the host.
fn whole(path: &Path) -> Result<OwnedFd> {
    linux::mount::open_path(path).map_err(|error| missing(&path.display().to_string(), &error))
}

/// A file or directory of a volume, looked up inside it.
fn part(volume: &Path, subpath: &str) -> Result<OwnedFd> {
    let root = Root::open(volume).map_err(|error| missing(&volume.display().to_string(), &error))?;
    let whole = volume.join(subpath).display().to_string();
    root.handle(Path::new(subpath)).map_err(|error| missing(&whole, &error))
}

fn missing(path: &str, error: &linux::Error) -> Error {
    let words = error.words().to_lowercase();
    Error::invalid(format!("cannot access path {path}: lstat {path}: {words}"))
}

/// The `/dev/shm` of a running container, as a mount of its own.
fn shared_memory(id: &str, pid: Option<i32>) -> Result<OwnedFd> {
    let failed = |error: linux::Error| Error::system(format!("share the memory of container {id}: {error}"));
    let pid = pid.and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| Error::conflict(format!("container {id} is not running")))?;
    let namespace = linux::mntns::of_process(pid).map_err(failed)?;
    let memory = linux::mntns::clone_from(&namespace, Path::new("/dev/shm")).map_err(failed)?;
    // The donor may have put anything else there.
    if linux::file::file_system_type(&memory).map_err(failed)? != TMPFS {
        return Err(Error::conflict(format!("/dev/shm of container {id} is no shared memory")));
    }
    Ok(memory)
}
