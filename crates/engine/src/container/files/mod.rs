//! Files of a container as archives: what is at a path, files out of it, files into it.
//!
//! The container may run or not; it is never asked. What is seen is its root with its volumes and binds, as
//! [`place`] puts them together for one request.

mod binds;
mod place;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use api::path_stat::PathStat;
use image::archive::{self, WriteOptions};

use self::place::{Access, Place};
use super::registry::Handle;
use super::user;
use super::view::View;
use crate::engine::Engine;
use crate::userns::Remap;
use crate::{Error, Result};

/// An error of the archive code; what is missing is told with the container's name, as Docker does.
fn failed(reference: &str, path: &str) -> impl Fn(image::Error) -> Error + use<> {
    let missing = format!("Could not find the file {path} in container {reference}");
    move |error| match error.kind() {
        image::Kind::NotFound => Error::not_found(missing.clone()),
        _ => crate::image_use::error(error),
    }
}

fn shown(stat: archive::PathStat) -> PathStat {
    PathStat {
        name: stat.name,
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: stat.mode,
        mtime: stat.mtime,
        link_target: stat.link_target,
    }
}

/// What is at a path in a container. A symbolic link at its end is told as such, with the place it leads to.
pub async fn stat(engine: &Engine, reference: &str, path: &str) -> Result<PathStat> {
    let failed = failed(reference, path);
    let path = path.to_owned();
    read_only(engine, reference, move |place| archive::stat(&place.root, &path).map_err(failed))
        .await
        .map(shown)
}

/// Writes what is at a path as a tar. `tell` gets the facts about it before the first byte is written.
pub async fn get(
    engine: &Engine,
    reference: &str,
    path: &str,
    tell: impl FnOnce(PathStat) + Send + 'static,
    mut sink: impl Write + Send + 'static,
) -> Result<()> {
    let failed = failed(reference, path);
    let (path, events) = (path.to_owned(), engine.clone());
    let handle = engine.containers.find(reference)?;
    read_only(engine, reference, move |place| {
        let tell = |stat| {
            let attributes = handle.view().record.attributes();
            events.events.publish("container", "archive-path", &handle.id, attributes);
            tell(shown(stat));
        };
        archive::read(&place.root, &path, &place.ids, tell, &mut sink).map_err(failed)?;
        sink.flush().map_err(|error| Error::system(format!("send the archive: {error}")))
    })
    .await
}

/// How files are put into a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// A directory must not be replaced by something else, nor the reverse.
    pub no_overwrite_dir_non_dir: bool,
    /// Everything belongs to the container's user instead of to whom the archive says.
    pub copy_uid_gid: bool,
}

/// Unpacks a tar, which may be compressed, into the directory at a path.
pub async fn put(
    engine: &Engine,
    reference: &str,
    path: &str,
    options: PutOptions,
    source: impl Read + Send + 'static,
) -> Result<()> {
    let handle = engine.containers.find(reference)?;
    let layer = Arc::clone(&handle.layer).lock_owned().await;
    // Looked at under the lock: from now on the container can end, but not start.
    let view = handle.view();
    let failed = failed(reference, path);
    let (owned, path) = (engine.clone(), path.to_owned());
    engine
        .file_work
        .run(&handle.id, move || {
            let work = |place: &Place<'_>| {
                let target = archive::target(&place.root, &path).map_err(&failed)?;
                place.check_writable(&target)?;
                let no_overwrite_dir_non_dir = options.no_overwrite_dir_non_dir;
                let owner = if options.copy_uid_gid { owner(&view, &place.root)? } else { None };
                let options = WriteOptions { no_overwrite_dir_non_dir, owner, with_root: false };
                archive::write(&place.root, &path, source, options, &place.ids, &image::Limits::default())
                    .map_err(&failed)
            };
            let done = place::within(&owned, &view, Access::Write, work);
            drop(layer);
            done
        })
        .await?;
    engine.events.publish("container", "extract-to-dir", &handle.id, handle.view().record.attributes());
    Ok(())
}

/// The container's user and group by number; `None` when it has no user of its own.
fn owner(view: &View, root: &OwnedFd) -> Result<Option<(u32, u32)>> {
    let user = &view.record.spec.process.user;
    if user.is_empty() {
        return Ok(None);
    }
    let root = root.try_clone().map_err(|error| Error::system(format!("copy a descriptor: {error}")))?;
    let root = linux::root::Root::from(root);
    let open = |path: &Path| match root.read_file(path) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system(format!("read the container's user database: {error}"))),
    };
    let found = user::resolve(user, &[], open).map_err(|error| Error::invalid(error.message))?.user;
    Ok(Some((found.uid, found.gid)))
}

/// The container's root without what is mounted on it, for looking; and which ids of it are others in the container.
pub(crate) fn root(engine: &Engine, view: &View) -> Result<(OwnedFd, image::Translation)> {
    let (root, users) = place::root(engine, view, Access::Read)?;
    Ok((root, users.remap().map(Remap::translation).unwrap_or_default()))
}

/// Works on the container's files without changing them. Directories on which its volumes belong are made first, where
/// they are missing.
async fn read_only<T: Send + 'static>(
    engine: &Engine,
    reference: &str,
    work: impl FnOnce(&Place<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let handle = engine.containers.find(reference)?;
    make_mount_points(engine, &handle).await?;
    let (owned, view) = (engine.clone(), handle.view());
    engine.file_work.run(&handle.id, move || place::within(&owned, &view, Access::Read, work)).await
}

/// A container that never ran may lack the places of its volumes; the first start, or this, makes them.
async fn make_mount_points(engine: &Engine, handle: &Handle) -> Result<()> {
    let (owned, view) = (engine.clone(), handle.view());
    if view.live.is_some() {
        return Ok(());
    }
    if engine.file_work.run(&handle.id, move || place::has_mount_points(&owned, &view)).await? {
        return Ok(());
    }
    let layer = Arc::clone(&handle.layer).lock_owned().await;
    let (owned, view) = (engine.clone(), handle.view());
    engine
        .file_work
        .run(&handle.id, move || {
            let made = place::within(&owned, &view, Access::Write, |_| Ok(()));
            drop(layer);
            made
        })
        .await
}
