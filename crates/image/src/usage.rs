//! How much disk a tree takes, counted as du(1) counts.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use linux::file::{Kind, Stat};

use crate::Result;
use crate::error::stream;

/// Disk space and names of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Allocated bytes; an inode with several names counts once.
    pub bytes: u64,
    /// Bytes of the files' lengths; an inode with several names counts once.
    pub length: u64,
    /// Inodes.
    pub inodes: u64,
}

impl Usage {
    /// Measures the tree below a directory, without entering other mounts or following links.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn of(path: &std::path::Path) -> Result<Self> {
        measure(path)
    }
}

/// Measures the tree below a directory, without entering other mounts or following links.
pub(crate) fn measure(path: &std::path::Path) -> Result<Usage> {
    survey(path).map(|(usage, _)| usage)
}

/// The same, with a number that follows from the names below the directory and from kind, owner, mode, length and time of
/// what they are: another one when something of it was removed, emptied, replaced or written to.
pub(crate) fn survey(path: &std::path::Path) -> Result<(Usage, u64)> {
    let mut seal = 0_u64;
    let root: OwnedFd = std::fs::File::open(path).map_err(stream("open a directory to measure it"))?.into();
    let mut seen = HashSet::new();
    let stat = linux::file::stat(&root)?;
    let mut usage = Usage { bytes: stat.allocated, length: 0, inodes: 1 };
    let mut waiting = vec![root];
    while let Some(dir) = waiting.pop() {
        for name in linux::file::entry_names(&dir)? {
            // What is removed while it is measured counts as removed.
            let Some(found) = linux::at::stat(&dir, &name)? else { continue };
            if found.file_system != stat.file_system {
                continue;
            }
            // A sum: names come in any order.
            seal = seal.wrapping_add(mark(&name, &found));
            if found.links > 1 && found.kind != Kind::Dir && !seen.insert(found.inode) {
                continue;
            }
            usage.bytes += found.allocated;
            usage.inodes += 1;
            match found.kind {
                Kind::File => usage.length += found.size,
                Kind::Dir => match linux::at::open_dir(&dir, &name) {
                    Ok(below) => waiting.push(below),
                    Err(error) if error.name() == Some("ENOENT") => {}
                    Err(error) => return Err(error.into()),
                },
                _ => {}
            }
        }
    }
    Ok((usage, seal))
}

/// A number for one name (FNV-1a). Of a directory its name alone: what is in it counts by itself.
fn mark(name: &[u8], stat: &Stat) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(name);
    if stat.kind == Kind::Dir {
        add(b"/");
        return hash;
    }
    add(format!("{:?} {:?}", stat.kind, stat.device_number).as_bytes());
    for number in [stat.mode, stat.uid, stat.gid, stat.modified.nanoseconds] {
        add(&number.to_le_bytes());
    }
    add(&stat.size.to_le_bytes());
    add(&stat.modified.seconds.to_le_bytes());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_tree_is_measured_with_hard_links_once() {
        let scratch = Scratch::new("usage");
        std::fs::create_dir(scratch.path.join("d")).unwrap();
        std::fs::write(scratch.path.join("d/f"), vec![1; 10_000]).unwrap();
        std::fs::hard_link(scratch.path.join("d/f"), scratch.path.join("g")).unwrap();
        std::os::unix::fs::symlink("/", scratch.path.join("s")).unwrap();
        let usage = measure(&scratch.path).unwrap();
        assert_eq!((usage.length, usage.inodes), (10_000, 4));
    }

    #[test]
    fn what_is_done_to_a_tree_changes_its_seal() {
        let scratch = Scratch::new("seal");
        let (old, new) = (scratch.path.join("d/old"), scratch.path.join("d/new"));
        std::fs::create_dir(scratch.path.join("d")).unwrap();
        let seal = || survey(&scratch.path).unwrap().1;
        let mut seen = vec![seal()];
        let mut changed = |what: &str| {
            let now = seal();
            assert!(!seen.contains(&now), "{what}");
            assert_eq!(now, seal(), "{what}, looked at again");
            seen.push(now);
        };
        std::fs::write(&old, "12345").unwrap();
        changed("a file");
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(7);
        std::fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
        changed("its time");
        std::fs::rename(&old, &new).unwrap();
        changed("its name");
        std::fs::File::options().write(true).open(&new).unwrap().set_len(0).unwrap();
        changed("its length");
    }
}
