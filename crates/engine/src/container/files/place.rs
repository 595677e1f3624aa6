//! A container's root with its volumes and binds on it, put together for one request in a mount namespace that is only
//! that request's.
//!
//! ```text
//! thread: own copy of the mount namespace
//!   sources of the binds ─ cloned, detached
//!   root                 ─ the running container's root mount, cloned
//!                        ─ else an overlay of its layers: read-only for reading, with its own layer for writing
//!   root is attached, binds are attached on places that the kernel looks up inside it
//!   work
//! the thread ends, and all mounts with it
//! ```
//!
//! Nothing is mounted by name below the root: a container that moves directories meanwhile can only move what is its
//! own. No program or library of the container is run or loaded.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::file::Kind;
use linux::mount::{self, Change, Propagation, attribute};
use linux::root::Root;

use super::super::facts;
use super::super::launch::{self, Places};
use super::super::spec::RootSource;
use super::super::view::View;
use super::binds::{self, Bind};
use crate::engine::Engine;
use crate::userns::{self, Remap, Users};
use crate::{Error, Result};

/// What a request does with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Looks at them.
    Read,
    /// Changes them; whoever does holds the container's layer.
    Write,
}

/// A container's files, put together.
pub(super) struct Place<'a> {
    /// Its root.
    pub(super) root: OwnedFd,
    /// Where the root is attached in this thread's namespace.
    attached: PathBuf,
    binds: &'a [Bind],
    readonly: bool,
    /// Which ids of the files are others in the container.
    pub(super) ids: image::Translation,
}

fn failed(error: linux::Error) -> Error {
    Error::system(format!("open the container's files: {error}"))
}

/// Does `work` on a container's files.
pub(super) fn within<T: Send>(
    engine: &Engine,
    view: &View,
    access: Access,
    work: impl FnOnce(&Place<'_>) -> Result<T> + Send,
) -> Result<T> {
    // A client may bring files before the first start, as Compose does with secrets: sources of binds are made for it too.
    facts::ensure_bind_sources(engine, &view.record)?;
    let mapped = facts::mapped_volumes(engine, &view.record.spec.mounts);
    let volumes = crate::volume::lend(engine, view.record.volume_paths.keys())?;
    let data_dir = Places::of(engine, &view.record.id).data_dir;
    let binds = present(binds::plan(&view.record, &volumes.paths(), &data_dir, &mapped));
    let (root, users) = root(engine, view, access)?;
    let namespace = userns::namespace(engine, &users)?;
    let ids = users.remap().map(Remap::translation).unwrap_or_default();
    let readonly = view.record.spec.root.readonly;
    let attached = &engine.config.data_root;
    linux::mntns::run_in_copy(|| {
        // Sources first: the root is attached over directories in which some of them are.
        let sources = binds.iter().map(|bind| clone_source(bind, namespace.as_ref()));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let base = Root::open(attached).map_err(failed)?;
        mount::attach(&root, &base).map_err(failed)?;
        let root = linux::resolve::readable_dir(&root, b".").map_err(failed)?;
        let inside = Root::from(root.try_clone().map_err(|error| Error::system(error.to_string()))?);
        for (bind, source) in binds.iter().zip(&sources) {
            put(&inside, bind, source, access)?;
        }
        if readonly && access == Access::Write {
            let read_only = Change { set: attribute::READ_ONLY, ..Change::default() };
            mount::change(&root, false, &read_only).map_err(failed)?;
        }
        let place = Place { root, attached: attached.clone(), binds: &binds, readonly, ids };
        // What is made in a container's files is made by somebody whom it knows.
        match users.remap().and_then(Remap::root) {
            Some((user, group)) if access == Access::Write => {
                linux::credentials::with_file_ids(user, group, || work(&place)).map_err(failed)?
            }
            _ => work(&place),
        }
    })
    .map_err(failed)?
}

/// Whether everything that is mounted over the root of a container that does not run has a place there.
pub(super) fn has_mount_points(engine: &Engine, view: &View) -> Result<bool> {
    let data_dir = Places::of(engine, &view.record.id).data_dir;
    let binds = present(binds::plan(&view.record, &view.record.volume_paths, &data_dir, &BTreeSet::new()));
    let root = Root::from(root(engine, view, Access::Read)?.0);
    // What lies in another bind is not looked for in the root.
    let covered = |bind: &Bind| {
        let path = Path::new(&bind.destination);
        binds.iter().any(|other| other != bind && path.starts_with(&other.destination))
    };
    for bind in binds.iter().filter(|bind| !covered(bind)) {
        match root.handle(Path::new(&bind.destination)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(true)
}

/// Leaves out the engine's own files while it has not written them yet.
fn present(mut binds: Vec<Bind>) -> Vec<Bind> {
    binds.retain(|bind| !bind.is_own || bind.source.exists());
    binds
}

/// The root without anything on it, mounted nowhere; and in whose user namespace it is: that of a container which runs, and
/// the host's otherwise, for the disk has the ids of the container.
pub(super) fn root(engine: &Engine, view: &View, access: Access) -> Result<(OwnedFd, Users)> {
    let record = &view.record;
    if let RootSource::Directory(path) = &record.spec.root.source {
        let root = mount::clone_path(Path::new(path), false).map_err(failed)?;
        return Ok((root, Users::Host));
    }
    if let Some(living) = living_root(view)? {
        return Ok(living);
    }
    let shim::protocol::Root::Overlay { lower, upper, work, .. } = launch::root(engine, record)? else {
        return Err(Error::system("the root of the container is no overlay"));
    };
    let mut layers: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
    let root = match access {
        // An image without layers: there is nothing to stack.
        _ if layers.is_empty() => mount::clone_path(&upper, false).map_err(failed),
        Access::Write => linux::overlay::detached(&layers, Some((&upper, &work))).map_err(failed),
        Access::Read => {
            layers.insert(0, &upper);
            linux::overlay::detached(&layers, None).map_err(failed)
        }
    };
    Ok((root?, Users::Host))
}

/// The root mount of a container that runs; `None` when it does not, or has just ended.
fn living_root(view: &View) -> Result<Option<(OwnedFd, Users)>> {
    let (Some(live), Some(running)) = (&view.live, view.state().running()) else { return Ok(None) };
    let Ok(pid) = u32::try_from(running.process.pid) else { return Ok(None) };
    let namespace = match linux::mntns::of_process(pid) {
        Ok(namespace) => namespace,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let users = userns::of_process(running.process.pid);
    // Alive after the namespace was opened: then the number meant the container's process, and nobody else's.
    if !live.pidfd.send(0).map_err(failed)? {
        return Ok(None);
    }
    let (_, remap) = users?;
    let users = remap.map_or(Users::Host, |remap| Users::Of { pid: running.process.pid, remap });
    let root = linux::mntns::clone_from(&namespace, Path::new("/")).map_err(failed)?;
    Ok(Some((root, users)))
}

/// A detached copy of a bind's source, private and read-only as the container has it.
fn clone_source(bind: &Bind, users: Option<&OwnedFd>) -> Result<OwnedFd> {
    let told = |error: linux::Error| {
        Error::system(format!("mount {} at {}: {error}", bind.source.display(), bind.destination))
    };
    let source = if bind.subpath.is_empty() {
        mount::clone_path(&bind.source, bind.recursive).map_err(told)?
    } else {
        let part = Root::open(&bind.source).and_then(|root| root.handle(Path::new(&bind.subpath)));
        mount::clone_fd(part.map_err(told)?, bind.recursive).map_err(told)?
    };
    let set = if bind.writable { 0 } else { attribute::READ_ONLY };
    let change = Change { set, propagation: Some(Propagation::Private), ..Change::default() };
    mount::change(&source, true, &change).map_err(told)?;
    if let Some(users) = users.filter(|_| bind.has_container_ids) {
        let change = Change { id_map: Some(users.as_fd()), ..Change::default() };
        mount::change(&source, false, &change).map_err(told)?;
    }
    Ok(source)
}

/// Attaches a bind on its place, which is made where it is missing.
fn put(root: &Root, bind: &Bind, source: &OwnedFd, access: Access) -> Result<()> {
    let path = Path::new(&bind.destination);
    let is_dir = linux::file::stat(source).map_err(failed)?.kind == Kind::Dir;
    let place = match access {
        Access::Read => root.handle(path),
        Access::Write if is_dir => root.make_dir_all(path, 0o755),
        Access::Write => root.make_file(path, 0o755),
    };
    let place = place.map_err(|error| Error::system(format!("mount point {}: {error}", bind.destination)))?;
    mount::attach(source, place)
        .map_err(|error| Error::system(format!("mount {}: {error}", bind.destination)))
}

impl Place<'_> {
    /// Refuses a directory in which the container itself may not write, in Docker's words.
    pub(super) fn check_writable(&self, directory: impl AsFd) -> Result<()> {
        let path = linux::mntns::path_of(directory).map_err(failed)?;
        let inside = path.strip_prefix(&self.attached).unwrap_or(&path);
        let holds = |bind: &&Bind| inside.starts_with(bind.destination.trim_start_matches('/'));
        match self.binds.iter().rev().find(holds) {
            Some(bind) if bind.writable => Ok(()),
            Some(_) => Err(Error::invalid("mounted volume is marked read-only")),
            None if self.readonly => Err(Error::invalid("container rootfs is marked read-only")),
            None => Ok(()),
        }
    }
}
