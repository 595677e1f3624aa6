//! Copies a tree as it is: owners, modes, times, extended attributes, hard links, holes; the content shared where the file
//! system can.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use linux::at::{self, Node};
use linux::file::{self, Kind, Stat};
use linux::xattr;

use crate::{Error, Result};

/// Depth of directories that are copied.
const MAX_DEPTH: usize = 1024;
const BUFFER: usize = 256 << 10;

fn failed(error: linux::Error) -> Error {
    Error::system(format!("copy a volume: {error}"))
}

/// Copies what is in a directory, and what the directory itself is, into an empty one.
pub(super) fn tree(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let mut copier = Copier { root: to, linked: HashMap::new() };
    copier.directory(from, to, b"", 0)?;
    attributes(from, to)?;
    file::sync_file_system(to).map_err(failed)
}

struct Copier<'a> {
    root: &'a OwnedFd,
    /// Inodes with several names, by file system and number: where the first one was copied to.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, name].join(&b'/') }
}

impl Copier<'_> {
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!("directories are nested more than {MAX_DEPTH} deep")));
        }
        for name in file::entry_names(from).map_err(failed)? {
            // What is removed while it is copied is left out.
            let Some(stat) = at::stat(from, &name).map_err(failed)? else { continue };
            if stat.kind == Kind::Dir {
                at::make_dir(to, &name, 0o700).map_err(failed)?;
                let source = at::open_dir(from, &name).map_err(failed)?;
                let target = at::open_dir(to, &name).map_err(failed)?;
                self.directory(&source, &target, &joined(path, &name), depth + 1)?;
                attributes(&source, &target)?;
                continue;
            }
            self.other(from, to, &name, &joined(path, &name), &stat)?;
        }
        Ok(())
    }

    fn other(&mut self, from: &OwnedFd, to: &OwnedFd, name: &[u8], path: &[u8], stat: &Stat) -> Result<()> {
        let key = (stat.file_system, stat.inode);
        if stat.links > 1
            && let Some(first) = self.linked.get(&key)
        {
            let (parent, last) = match first.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => (&first[..slash], &first[slash + 1..]),
                None => (&b"."[..], first.as_slice()),
            };
            let parent = linux::resolve::dir(self.root, parent).map_err(failed)?;
            return at::hard_link(&parent, last, to, name).map_err(failed);
        }
        let (major, minor) = stat.device_number;
        match stat.kind {
            Kind::File => regular(from, to, name)?,
            Kind::Symlink => {
                let text = at::read_link(from, name).map_err(failed)?;
                at::symlink(&text, to, name).map_err(failed)?;
                owner_and_times(to, name, stat)?;
            }
            Kind::CharDevice => node(to, name, Node::CharDevice(major, minor), stat)?,
            Kind::BlockDevice => node(to, name, Node::BlockDevice(major, minor), stat)?,
            Kind::Fifo => node(to, name, Node::Fifo, stat)?,
            // A socket is nothing without the process that listens on it.
            Kind::Socket | Kind::Unknown | Kind::Dir => return Ok(()),
        }
        if stat.links > 1 {
            self.linked.insert(key, path.to_vec());
        }
        Ok(())
    }
}

fn owner_and_times(to: &OwnedFd, name: &[u8], stat: &Stat) -> Result<()> {
    at::set_owner(to, name, stat.uid, stat.gid).map_err(failed)?;
    at::set_times(to, name, stat.accessed, stat.modified).map_err(failed)
}

fn node(to: &OwnedFd, name: &[u8], node: Node, stat: &Stat) -> Result<()> {
    at::make_node(to, name, node, 0o600).map_err(failed)?;
    at::set_owner(to, name, stat.uid, stat.gid).map_err(failed)?;
    at::set_mode(to, name, stat.mode).map_err(failed)?;
    at::set_times(to, name, stat.accessed, stat.modified).map_err(failed)
}

fn regular(from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> Result<()> {
    let source = File::from(at::open_read(from, name).map_err(failed)?);
    let target = File::from(at::create(to, name, 0o600).map_err(failed)?);
    if !file::share_content(&source, &target).map_err(failed)? {
        content(&source, &target)?;
    }
    attributes(&source, &target)
}

/// Range by range: what is a hole stays one.
fn content(source: &File, target: &File) -> Result<()> {
    let size = file::stat(source).map_err(failed)?.size;
    file::set_length(target, size).map_err(failed)?;
    let mut offset = 0;
    while let Some((start, end)) = file::next_data(source, offset).map_err(failed)? {
        if start >= size {
            break;
        }
        range(source, target, start, end.min(size))?;
        offset = end;
    }
    Ok(())
}

fn range(source: &File, target: &File, mut offset: u64, end: u64) -> Result<()> {
    let told = |error: std::io::Error| Error::system(format!("copy a file of a volume: {error}"));
    let mut buffer = Vec::new();
    while offset < end {
        if buffer.is_empty() {
            match file::copy_range(source, target, offset, end - offset).map_err(failed)? {
                // It became shorter: what is missing is a hole.
                Some(0) => return Ok(()),
                Some(copied) => {
                    offset += copied;
                    continue;
                }
                None => buffer.resize(BUFFER, 0),
            }
        }
        let room = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
        let length = source.read_at(&mut buffer[..room], offset).map_err(told)?;
        if length == 0 {
            return Ok(());
        }
        target.write_all_at(&buffer[..length], offset).map_err(told)?;
        offset += length as u64;
    }
    Ok(())
}

/// Owner, mode, extended attributes and times, in the order in which none undoes another.
fn attributes(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let stat = file::stat(&from).map_err(failed)?;
    file::set_owner(&to, stat.uid, stat.gid).map_err(failed)?;
    file::set_mode(&to, stat.mode).map_err(failed)?;
    for name in xattr::list(&from).map_err(failed)? {
        let Some(value) = xattr::get(&from, &name).map_err(failed)? else { continue };
        match xattr::set(&to, &name, &value) {
            // The other file system has no place for it: a copy from a server, or from memory.
            Err(error) if error.name() == Some("EOPNOTSUPP") => {
                tracing::debug!(%error, "an attribute is not copied");
            }
            done => done.map_err(failed)?,
        }
    }
    file::set_times(&to, stat.accessed, stat.modified).map_err(failed)
}
