//! `docker cp`: facts about a path in a container, files out of it, files into it.
//!
//! `root` is the container's root directory; every path is resolved inside it by the kernel, also while the container
//! changes what the path means.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use linux::file::{Kind, Stat};

use crate::limits::Limits;
use crate::tar::Reader;
use crate::translate::Translation;
use crate::tree::{Style, TreeWriter};
use crate::unpack::{Place, clean, or_dot, split, unpack_into_tree};
use crate::{Error, Result};

/// The facts that `X-Docker-Container-Path-Stat` carries.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PathStat {
    /// The last component.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// Go's `os.FileMode`: permissions, and the kind in the high bits.
    pub mode: u32,
    /// When it was changed (RFC 3339).
    pub mtime: String,
    /// Where a symbolic link leads inside the container, resolved; empty for everything else.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

/// How an archive is unpacked into a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Refuse to replace a directory by something else and the reverse.
    pub no_overwrite_dir_non_dir: bool,
    /// Who everything belongs to; without it whom the archive says.
    pub owner: Option<(u32, u32)>,
    /// The entry for the root of the archive gives the directory its owner, mode and times.
    pub with_root: bool,
}

/// A path in a container, looked up but not opened.
struct Located {
    parent: OwnedFd,
    name: Vec<u8>,
    stat: Stat,
    /// The cleaned path.
    path: Vec<u8>,
    /// The path ended in `/.`: what is in the directory is meant, not the directory.
    contents: bool,
}

/// Symbolic links followed in one lookup.
const MAX_LINKS: u32 = 255;

/// Finds a path. Its last component is followed only when the path ends in `/` or `/.`.
fn locate(root: &OwnedFd, path: &str) -> Result<Located> {
    let missing = || Error::NoSuchPath(path.to_owned());
    let bytes = path.as_bytes();
    if bytes.contains(&0) {
        return Err(missing());
    }
    // Above the root of a container there is only the root.
    let rooted = contained(bytes);
    let contents = bytes.ends_with(b"/.") || bytes == b".";
    let follow = contents || bytes.ends_with(b"/") || rooted.is_empty();
    let (parent, name) = split(&rooted);
    let open = |result: linux::Result<OwnedFd>| match result {
        Ok(fd) => Ok(fd),
        Err(error) if matches!(error.name(), Some("ENOENT" | "ENOTDIR")) => Err(missing()),
        Err(error) => Err(error.into()),
    };
    if follow {
        let dir = open(linux::resolve::dir(root, or_dot(&rooted)))?;
        let stat = linux::file::stat(&dir)?;
        return Ok(Located { parent: dir, name: b".".to_vec(), stat, path: rooted, contents });
    }
    let parent = open(linux::resolve::dir(root, or_dot(parent)))?;
    let stat = linux::at::stat(&parent, name)?.ok_or_else(missing)?;
    Ok(Located { parent, name: name.to_vec(), stat, path: rooted.clone(), contents })
}

/// A path with `.` and `..` resolved, `..` staying at the root.
fn contained(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// The facts about a path.
///
/// # Errors
/// `NotFound` when there is nothing at the path.
pub fn stat(root: &OwnedFd, path: &str) -> Result<PathStat> {
    let located = locate(root, path)?;
    describe(root, &located)
}

fn describe(root: &OwnedFd, located: &Located) -> Result<PathStat> {
    let stat = &located.stat;
    let name = split(&located.path).1;
    let link_target = match stat.kind {
        Kind::Symlink => resolve_link(root, located)?,
        _ => String::new(),
    };
    Ok(PathStat {
        name: match name {
            _ if located.contents => ".".to_owned(),
            b"" => "/".to_owned(),
            name => String::from_utf8_lossy(name).into_owned(),
        },
        size: stat.size,
        mode: go_mode(stat),
        mtime: crate::time::format(stat.modified.seconds, stat.modified.nanoseconds),
        link_target,
    })
}

/// Where a link leads in the end, as a path from the container's root. Links on the way are followed as far as there is
/// something; what is missing stays as it is written.
fn resolve_link(root: &OwnedFd, located: &Located) -> Result<String> {
    let mut todo: Vec<Vec<u8>> = parts(&located.path);
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == b".." {
            done.pop();
            continue;
        }
        let link = match linux::resolve::dir(root, or_dot(&done.join(&b'/'))) {
            Ok(dir) => read_if_link(&dir, &part)?,
            Err(error) if matches!(error.name(), Some("ENOENT" | "ENOTDIR")) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(target) = link else {
            done.push(part);
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            let path = String::from_utf8_lossy(&located.path).into_owned();
            return Err(Error::Invalid(format!("too many links in /{path}")));
        }
        if target.starts_with(b"/") {
            done.clear();
        }
        todo.extend(parts(&target));
    }
    Ok(format!("/{}", String::from_utf8_lossy(&done.join(&b'/'))))
}

/// The names of a path, the first of them last.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    names.rev().map(<[u8]>::to_vec).collect()
}

fn read_if_link(dir: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match linux::at::stat(dir, name)? {
        Some(stat) if stat.kind == Kind::Symlink => Ok(Some(linux::at::read_link(dir, name)?)),
        _ => Ok(None),
    }
}

/// Go's `os.FileMode` of an inode (io/fs, FileMode).
#[must_use]
pub fn go_mode(stat: &Stat) -> u32 {
    let mut mode = stat.mode & 0o777;
    mode |= match stat.kind {
        Kind::Dir => 1 << 31,
        Kind::Symlink => 1 << 27,
        Kind::BlockDevice => 1 << 26,
        Kind::CharDevice => (1 << 26) | (1 << 21),
        Kind::Fifo => 1 << 25,
        Kind::Socket => 1 << 24,
        Kind::File => 0,
        Kind::Unknown => 1 << 19,
    };
    for (bit, go) in [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)] {
        if stat.mode & bit != 0 {
            mode |= go;
        }
    }
    mode
}

/// Writes what is at a path as a tar whose first entry has the path's last name (`.` when it ends in `/.`). The facts
/// about it are told before the first byte is written.
///
/// # Errors
/// `NotFound` when there is nothing at the path.
pub fn read(
    root: &OwnedFd,
    path: &str,
    ids: &Translation,
    tell: impl FnOnce(PathStat),
    sink: &mut dyn Write,
) -> Result<()> {
    let located = locate(root, path)?;
    tell(describe(root, &located)?);
    let last = split(&located.path).1;
    let name: &[u8] = if located.contents { b"." } else { last };
    let mut tree = TreeWriter::new(sink, Style::Plain);
    tree.translate(ids);
    if located.stat.kind == Kind::Dir {
        // The root has no name: its entry is `/`, and those below it begin with one.
        let open = tree.write_dir(&located.parent, &located.name, name)?;
        tree.write_entries(open, if name.is_empty() { b"/" } else { name })?;
    } else {
        tree.write_one(&located.parent, &located.name, name)?;
    }
    tree.finish().map(drop)
}

/// The directory that an archive is unpacked into at `path`, with all links followed, as a handle.
///
/// # Errors
/// `NotFound` when there is nothing, `Invalid` when it is not a directory.
pub fn target(root: &OwnedFd, path: &str) -> Result<OwnedFd> {
    Ok(extraction_point(root, path)?.parent)
}

fn extraction_point(root: &OwnedFd, path: &str) -> Result<Located> {
    match locate(root, &format!("{}/", path.trim_end_matches('/'))) {
        Err(Error::NoSuchPath(_)) if linux::resolve::handle(root, &contained(path.as_bytes())).is_ok() => {
            Err(Error::Invalid("extraction point is not a directory".to_owned()))
        }
        Err(Error::NoSuchPath(_)) => Err(Error::NoSuchPath(path.to_owned())),
        result => result,
    }
}

/// Unpacks a tar into the directory at a path.
///
/// # Errors
/// `NotFound` when there is no such directory, `Invalid` when it is not one or the archive is wrong.
pub fn write(
    root: &OwnedFd,
    path: &str,
    source: impl Read + Send,
    options: WriteOptions,
    ids: &Translation,
    limits: &Limits,
) -> Result<()> {
    let directory = extraction_point(root, path)?;
    let prefix = clean(&directory.path).unwrap_or_default();
    let place = Place {
        prefix,
        owner: options.owner,
        keep_kinds: options.no_overwrite_dir_non_dir,
        with_root: options.with_root,
        ids: ids.clone(),
    };
    let handle = linux::resolve::dir(root, b".")?;
    let name = "the archive";
    crate::pipeline::run(
        source,
        |_| Ok(()),
        crate::pipeline::Pump::Along,
        limits,
        |reader| unpack_into_tree(&mut Reader::new(reader, name, limits), handle, place, limits, name),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        let root = std::fs::File::open("/").unwrap();
        let stat = |kind, mode| Stat { kind, mode, ..linux::file::stat(&root).unwrap() };
        assert_eq!(go_mode(&stat(Kind::Dir, 0o1777)), 0x8010_01ff);
        assert_eq!(go_mode(&stat(Kind::File, 0o4755)), 0x0080_01ed);
        assert_eq!(go_mode(&stat(Kind::Symlink, 0o777)), 0x0800_01ff);
        assert_eq!(go_mode(&stat(Kind::CharDevice, 0o666)), 0x0420_01b6);
    }
}
