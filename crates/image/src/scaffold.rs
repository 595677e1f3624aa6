//! What an engine itself leaves in a container's own layer: places to mount things on. They are not the container's
//! changes, so a list of changes and the layer of a commit leave them out.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use linux::file::{Kind, Stat};

use crate::Result;
use crate::unpack::{join, split};

/// Empty files that are mounted over, and the mark by which programs know that they are in a container.
const FILES: &[&[u8]] = &[b".dockerenv", b"dev/console", b"etc/hostname", b"etc/hosts", b"etc/resolv.conf"];
/// Links that are made where there is nothing, and what they say.
const LINKS: &[(&[u8], &[u8])] = &[(b"etc/mtab", b"/proc/mounts")];
/// Directories that are mounted over, or in which one of the files is; what is inside another one comes first.
const DIRECTORIES: &[&[u8]] =
    &[b"dev/mqueue", b"dev/pts", b"dev/shm", b"sys/fs/cgroup", b"sys/fs", b"dev", b"etc", b"proc", b"sys"];

/// The paths in `upper` that are nothing but such places. `lower` is what was there before.
pub(crate) fn find(upper: &OwnedFd, lower: Option<&OwnedFd>) -> Result<HashSet<Vec<u8>>> {
    let mut found = HashSet::new();
    for path in FILES {
        let Some((_, stat)) = look(upper, path)? else { continue };
        if stat.kind == Kind::File && stat.size == 0 && before(lower, path)?.is_none() {
            found.insert(path.to_vec());
        }
    }
    for (path, target) in LINKS {
        let Some((parent, stat)) = look(upper, path)? else { continue };
        let is_ours = stat.kind == Kind::Symlink && linux::at::read_link(&parent, split(path).1)? == *target;
        if is_ours && before(lower, path)?.is_none() {
            found.insert(path.to_vec());
        }
    }
    for path in DIRECTORIES {
        let Some((parent, stat)) = look(upper, path)? else { continue };
        if stat.kind != Kind::Dir {
            continue;
        }
        let names = linux::file::entry_names(linux::at::open_dir(&parent, split(path).1)?)?;
        let is_bare = names.iter().all(|name| found.contains(&join(path, name)));
        let is_unchanged = before(lower, path)?
            .is_none_or(|before| (before.mode, before.uid, before.gid) == (stat.mode, stat.uid, stat.gid));
        if is_bare && is_unchanged {
            found.insert(path.to_vec());
        }
    }
    Ok(found)
}

/// What is at a path, and the directory that holds it; no link is followed.
fn look(root: impl AsFd, path: &[u8]) -> Result<Option<(OwnedFd, Stat)>> {
    let (parent, name) = split(path);
    let parent = match linux::resolve::handle_without_links(root, crate::unpack::or_dot(parent)) {
        Ok(parent) => parent,
        Err(error) if matches!(error.name(), Some("ENOENT" | "ENOTDIR" | "ELOOP")) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match linux::at::stat(&parent, name) {
        Ok(stat) => Ok(stat.map(|stat| (parent, stat))),
        Err(error) if error.name() == Some("ENOTDIR") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn before(lower: Option<&OwnedFd>, path: &[u8]) -> Result<Option<Stat>> {
    let Some(lower) = lower else { return Ok(None) };
    Ok(look(lower, path)?.map(|(_, stat)| stat))
}
