//! How much disk a tree takes, counted as du(1) counts.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use linux::file::Kind;

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
    Ok(usage)
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
}
