//! How much of the disk a container or a volume may take: project quotas, where the file system holds projects to them.
//!
//! ```text
//! facts: which projects are in use ─► plan: a free one ─► apply: limit, then the directories
//! ```
//!
//! Each limited directory is a project of its own. The directories themselves say which; nothing else is recorded.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::stream;
use crate::{Error, Result};

/// The first project of ours; those below are left to administrators, who count from 1.
const FIRST: u32 = 0x4000_0000;
/// So many projects that are in use by others are passed over.
const MOST_FOREIGN: usize = 1000;

/// The limits below a data root.
#[derive(Debug)]
pub struct Quotas {
    /// Directories whose entries may be projects.
    parents: [PathBuf; 2],
    /// Held from the choice of a project until a directory has it.
    turn: Mutex<()>,
}

impl Quotas {
    pub(crate) fn new(data_root: &Path) -> Self {
        Self { parents: ["snapshots", "volumes"].map(|name| data_root.join(name)), turn: Mutex::new(()) }
    }

    /// Whether limits can be set.
    #[must_use]
    pub fn are_supported(&self) -> bool {
        File::open(&self.parents[0]).is_ok_and(|directory| linux::quota::is_enforced(&directory))
    }

    /// Lets `directories`, which are empty or limited already, take so many bytes together.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn limit(&self, directories: &[&Path], bytes: u64) -> Result<()> {
        let open = |path: &&Path| File::open(path).map_err(stream("open a directory to limit it"));
        let directories = directories.iter().map(open).collect::<Result<Vec<File>>>()?;
        let Some(first) = directories.first() else { return Ok(()) };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let project = match linux::inode::project(first)? {
            known if known >= FIRST => known,
            _ => self.free_project(first)?,
        };
        linux::quota::set_limit(first, project, bytes)?;
        for directory in &directories {
            linux::inode::set_project(directory, project)?;
        }
        Ok(())
    }

    /// Forgets the limit of a directory that is about to be removed. Where nothing was limited, nothing happens.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn forget(&self, directory: &Path) -> Result<()> {
        let Ok(directory) = File::open(directory) else { return Ok(()) };
        match linux::inode::project(&directory) {
            Ok(project) if project >= FIRST => Ok(linux::quota::set_limit(&directory, project, 0)?),
            // A file system without projects has no limits.
            _ => Ok(()),
        }
    }

    fn free_project(&self, directory: &File) -> Result<u32> {
        let mut taken = self.taken()?;
        for _ in 0..MOST_FOREIGN {
            let project = lowest_free(&taken).ok_or_else(none_left)?;
            // A limit without a directory is left from a kill; what is used and not ours belongs to somebody else.
            if linux::quota::get(directory, project)?.used == 0 {
                return Ok(project);
            }
            taken.insert(project);
        }
        Err(none_left())
    }

    /// The projects of all directories that may have one.
    fn taken(&self) -> Result<BTreeSet<u32>> {
        let mut taken = BTreeSet::new();
        for parent in &self.parents {
            let Ok(entries) = std::fs::read_dir(parent) else { continue };
            for entry in entries {
                let entry = entry.map_err(stream("list limited directories"))?;
                if let Ok(directory) = File::open(entry.path())
                    && let Ok(project) = linux::inode::project(&directory)
                {
                    taken.insert(project);
                }
            }
        }
        Ok(taken)
    }
}

fn none_left() -> Error {
    Error::Full("no project is left for another limit of disk space".to_owned())
}

/// Pure: the lowest project of ours that is not taken.
fn lowest_free(taken: &BTreeSet<u32>) -> Option<u32> {
    let mut next = FIRST;
    for project in taken.range(FIRST..) {
        if *project != next {
            break;
        }
        next = next.checked_add(1)?;
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_project_is_taken() {
        let check = |taken: &[u32], expected: Option<u32>| {
            assert_eq!(lowest_free(&taken.iter().copied().collect()), expected, "{taken:?}");
        };
        check(&[], Some(FIRST));
        check(&[0, 1, 17], Some(FIRST));
        check(&[FIRST, FIRST + 1, FIRST + 3], Some(FIRST + 2));
        check(&[FIRST + 1], Some(FIRST));
    }
}
