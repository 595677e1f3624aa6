//! `docker cp`: facts about a path in a container, files out of it, files into it.
//!
//! `root` is the container's root directory; every path is resolved inside it by the kernel, also while the container
//! changes what the path means.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use linux::file::{Kind, Stat};

use crate::limits::Limits;
use crate::tar::Reader;
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
}

/// A path in a container, looked up but not opened.
struct Located {
    parent: OwnedFd,
    name: Vec<u8>,
    stat: Stat,
    /// The cleaned path.
    path: Vec<u8>,
}

/// Finds a path. Its last component is followed only when the path ends in `/` or `/.`.
fn locate(root: &OwnedFd, path: &str) -> Result<Located> {
    let missing = || Error::NoSuchPath(path.to_owned());
    let bytes = path.as_bytes();
    if bytes.contains(&0) {
        return Err(missing());
    }
    // Above the root of a container there is only the root.
    let rooted = contained(bytes);
    let follow = bytes.ends_with(b"/") || bytes.ends_with(b"/.") || rooted.is_empty();
    let (parent, name) = split(&rooted);
    let open = |result: linux::Result<OwnedFd>| match result {
        Ok(fd) => Ok(fd),
        Err(error) if matches!(error.name(), Some("ENOENT" | "ENOTDIR")) => Err(missing()),
        Err(error) => Err(error.into()),
    };
    if follow {
        let dir = open(linux::resolve::dir(root, or_dot(&rooted)))?;
        let stat = linux::file::stat(&dir)?;
        return Ok(Located { parent: dir, name: b".".to_vec(), stat, path: rooted });
    }
    let parent = open(linux::resolve::dir(root, or_dot(parent)))?;
    let stat = linux::at::stat(&parent, name)?.ok_or_else(missing)?;
    Ok(Located { parent, name: name.to_vec(), stat, path: rooted.clone() })
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
        name: if name.is_empty() { "/".to_owned() } else { String::from_utf8_lossy(name).into_owned() },
        size: stat.size,
        mode: go_mode(stat),
        mtime: crate::time::format(stat.modified.seconds, stat.modified.nanoseconds),
        link_target,
    })
}

/// Where a link leads, as a path from the container's root.
fn resolve_link(_root: &OwnedFd, located: &Located) -> Result<String> {
    let target = linux::at::read_link(&located.parent, &located.name)?;
    let joined =
        if target.starts_with(b"/") { target } else { [split(&located.path).0, &target].join(&b'/') };
    Ok(format!("/{}", String::from_utf8_lossy(&contained(&joined))))
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

/// Writes what is at a path as a tar whose first entry has the path's last name (`.` when it ends in `/.`); the facts
/// about it come first, so that they can be sent before the archive.
///
/// # Errors
/// `NotFound` when there is nothing at the path.
pub fn read(root: &OwnedFd, path: &str, sink: &mut dyn Write) -> Result<PathStat> {
    let located = locate(root, path)?;
    let stat = describe(root, &located)?;
    let last = split(&located.path).1;
    let name: &[u8] = if path.ends_with("/.") || last.is_empty() { b"." } else { last };
    let mut tree = TreeWriter::new(sink, Style::Plain);
    if located.stat.kind == Kind::Dir {
        let open = tree.write_dir(&located.parent, &located.name, name)?;
        tree.write_entries(open, name)?;
    } else {
        tree.write_one(&located.parent, &located.name, name)?;
    }
    tree.finish()?;
    Ok(stat)
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
    limits: &Limits,
) -> Result<()> {
    let directory = locate(root, &format!("{}/", path.trim_end_matches('/')));
    let directory = match directory {
        Err(Error::NoSuchPath(_)) if locate(root, path).is_ok() => {
            return Err(Error::Invalid("extraction point is not a directory".to_owned()));
        }
        result => result?,
    };
    let prefix = clean(&directory.path).unwrap_or_default();
    let place = Place { prefix, owner: options.owner, keep_kinds: options.no_overwrite_dir_non_dir };
    let handle = linux::resolve::dir(root, b".")?;
    let name = "the archive";
    crate::pipeline::run(
        source,
        |_| Ok(()),
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
