//! Fills a new volume with what the container's root has at its place.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use linux::at::{self, Node};
use linux::file::{Kind, Stat};

use super::merged::{Found, Merge, Merged, find, list};
use super::record::Record;
use crate::engine::Engine;
use crate::{Error, Result};

/// Depth of directories that are copied.
const MAX_DEPTH: usize = 256;

fn failed(error: linux::Error) -> Error {
    Error::system(error.to_string())
}

/// The directory at `destination` in the container's root; `None` when there is none.
pub(crate) fn content(engine: &Engine, record: &Record, destination: &Path) -> Result<Option<Merge>> {
    let snapshot = crate::image_use::snapshot(engine, record)?;
    let layers = std::iter::once(snapshot.upper).chain(snapshot.lower).collect();
    Merged::new(layers).directory(destination)
}

/// Copies a directory of a container's root into the empty directory `volume`, with owners, modes, times and extended
/// attributes.
pub(crate) fn copy_up(source: &Merge, volume: &Path) -> Result<()> {
    let target =
        File::open(volume).map_err(|error| Error::system(format!("open {}: {error}", volume.display())))?;
    copy_directory(source, target.as_fd(), 0)?;
    if let Some(first) = source.first() {
        copy_attributes(first, &target)?;
    }
    // What a container is told to be in its volume must be there after a loss of power.
    linux::file::sync_file_system(&target).map_err(failed)
}

fn copy_directory(source: &Merge, target: impl AsFd + Copy, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(format!("directories are nested more than {MAX_DEPTH} deep")));
    }
    for name in list(source)? {
        match find(source, &name)? {
            Found::Nothing => {}
            Found::Directory(below) => {
                at::make_dir(target, &name, 0o700).map_err(failed)?;
                let made = at::open_dir(target, &name).map_err(failed)?;
                copy_directory(&below, made.as_fd(), depth + 1)?;
                if let Some(first) = below.first() {
                    copy_attributes(first, &made)?;
                }
            }
            Found::Link(text) => {
                at::symlink(&text, target, &name).map_err(failed)?;
                if let Some((_, stat)) = owner_of(source, &name)? {
                    at::set_owner(target, &name, stat.uid, stat.gid).map_err(failed)?;
                }
            }
            Found::Other => copy_other(source, target, &name)?,
        }
    }
    Ok(())
}

/// The layer that has a name, and what it is there.
fn owner_of<'a>(source: &'a Merge, name: &[u8]) -> Result<Option<(&'a std::os::fd::OwnedFd, Stat)>> {
    for layer in source {
        if let Some(stat) = at::stat(layer, name).map_err(failed)? {
            return Ok(Some((layer, stat)));
        }
    }
    Ok(None)
}

fn copy_other(source: &Merge, target: impl AsFd + Copy, name: &[u8]) -> Result<()> {
    let Some((layer, stat)) = owner_of(source, name)? else { return Ok(()) };
    let (major, minor) = stat.device_number;
    let node = match stat.kind {
        Kind::File => {
            let mut from = File::from(at::open_read(layer, name).map_err(failed)?);
            let mut to = File::from(at::create(target, name, 0o600).map_err(failed)?);
            io::copy(&mut from, &mut to).map_err(|error| Error::system(format!("copy a file: {error}")))?;
            return copy_attributes(&from, &to);
        }
        Kind::CharDevice => Node::CharDevice(major, minor),
        Kind::BlockDevice => Node::BlockDevice(major, minor),
        Kind::Fifo => Node::Fifo,
        // A socket is nothing without the process that listens on it.
        _ => return Ok(()),
    };
    at::make_node(target, name, node, 0o600).map_err(failed)?;
    at::set_owner(target, name, stat.uid, stat.gid).map_err(failed)?;
    at::set_mode(target, name, stat.mode).map_err(failed)
}

/// Owner, mode, extended attributes and times of an open file, in the order in which none undoes another.
fn copy_attributes(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let stat = linux::file::stat(&from).map_err(failed)?;
    linux::file::set_owner(&to, stat.uid, stat.gid).map_err(failed)?;
    linux::file::set_mode(&to, stat.mode).map_err(failed)?;
    for name in linux::xattr::list(&from).map_err(failed)? {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        if let Some(value) = linux::xattr::get(&from, &name).map_err(failed)? {
            linux::xattr::set(&to, &name, &value).map_err(failed)?;
        }
    }
    linux::file::set_times(&to, stat.accessed, stat.modified).map_err(failed)
}
