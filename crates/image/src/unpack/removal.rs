//! Whiteouts, opaque directories, and entries that replace others.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use linux::at::Node;
use linux::file::Kind;

use super::path::{join, or_dot};
use super::{Base, Extractor, MAX_MARKED};
use crate::Result;

/// The attribute by which overlayfs hides what lower directories have (kernel documentation, overlayfs).
pub(crate) const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

impl Extractor<'_> {
    /// `name` in `dir` of the layers below is gone.
    pub(crate) fn whiteout(&mut self, dir: &OwnedFd, parent: &[u8], name: &[u8]) -> Result<()> {
        let path = join(parent, name);
        if self.base == Base::Merged {
            if !self.made.contains(&path) {
                self.parents.clear();
                linux::at::remove_tree(dir, name)?;
                return Ok(());
            }
            // The layer has something of this name itself; only what lies below it from before goes.
            return match linux::at::stat(dir, name)?.map(|stat| stat.kind) {
                Some(Kind::Dir) => self.remove_lower(dir, name, &path),
                _ => Ok(()),
            };
        }
        match linux::at::stat(dir, name)?.map(|stat| stat.kind) {
            None => {
                linux::at::make_node(dir, name, Node::CharDevice(0, 0), 0)?;
                self.marked.insert(parent.to_vec());
                self.refuse_too_many_marks()?;
                self.account(0)
            }
            Some(Kind::Dir) => self.make_opaque(dir, name, &path),
            // A file of this layer hides the one below by itself.
            Some(_) => Ok(()),
        }
    }

    /// Where marks are is remembered until the end of the layer.
    fn refuse_too_many_marks(&self) -> Result<()> {
        if self.opaque.len().max(self.marked.len()) <= MAX_MARKED {
            return Ok(());
        }
        Err(self.bad(format!("it marks something as removed in more than {MAX_MARKED} directories")))
    }

    /// Everything that the layers below have in the directory `path` is gone.
    pub(crate) fn opaque(&mut self, dir: &OwnedFd, path: &[u8]) -> Result<()> {
        if self.base == Base::Merged {
            return self.remove_lower(dir, b".", path);
        }
        if path.is_empty() {
            // overlayfs always merges the roots: the marks must be made one by one, on top of the layers below.
            self.done.needs.parents = true;
            return Ok(());
        }
        self.make_opaque(dir, b".", path)
    }

    /// Marks a directory as hiding what is below it.
    pub(crate) fn make_opaque(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let handle = linux::at::open_dir(dir, name)?;
        linux::xattr::set(&handle, OPAQUE_XATTR, b"y")?;
        self.opaque.insert(path.to_vec());
        self.refuse_too_many_marks()?;
        // What is inside no longer mixes with anything.
        let inside = join(path, b"");
        self.implied.retain(|implied| !implied.starts_with(&inside));
        Ok(())
    }

    /// Removes what is in a directory and was not made by this layer.
    fn remove_lower(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let mut waiting = vec![(linux::at::open_dir(dir, name)?, path.to_vec())];
        while let Some((dir, path)) = waiting.pop() {
            for name in linux::file::entry_names(&dir)? {
                let below = join(&path, &name);
                if !self.made.contains(&below) {
                    self.parents.clear();
                    linux::at::remove_tree(&dir, &name)?;
                } else if linux::at::stat(&dir, &name)?.is_some_and(|stat| stat.kind == Kind::Dir) {
                    waiting.push((linux::at::open_dir(&dir, &name)?, below));
                }
            }
        }
        Ok(())
    }

    /// Whether a name is overlayfs's mark for "gone".
    pub(crate) fn is_whiteout(&self, dir: &OwnedFd, name: &[u8]) -> Result<bool> {
        let stat = linux::at::stat(dir, name)?;
        Ok(self.base == Base::Alone
            && stat.is_some_and(|stat| stat.kind == Kind::CharDevice && stat.device_number == (0, 0)))
    }

    /// Removes what is in the way of a new entry.
    pub(crate) fn clear_way(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        self.parents.clear();
        linux::at::remove_tree(dir, name)?;
        Ok(())
    }

    /// In an opaque directory and below it a whiteout hides nothing, and `ls` would show it as a broken name.
    pub(crate) fn drop_redundant_whiteouts(&mut self) -> Result<()> {
        let (redundant, marked): (HashSet<Vec<u8>>, HashSet<Vec<u8>>) = std::mem::take(&mut self.marked)
            .into_iter()
            .partition(|path| self.opaque.contains(path) || self.is_covered(path));
        self.marked = marked;
        for path in redundant {
            let Ok(dir) = linux::resolve::readable_dir(&self.root, or_dot(&path)) else { continue };
            for name in linux::file::entry_names(&dir)? {
                if self.is_whiteout(&dir, &name)? {
                    linux::at::unlink(&dir, &name)?;
                }
            }
        }
        Ok(())
    }
}
