//! A disk that forgets: what of a directory would be there if the power went now, by what was synced and when.
//!
//! A file's content is safe as it was at its last fsync(2), the names in a directory as they were at the directory's. A real
//! file system keeps more of the rest, or less of its order: both are tried.

use super::super::random::Random;
use anyhow::{Context, Result, bail};
use linux::trace::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a disk writes at once.
const PAGE: usize = 4096;

/// What becomes of everything that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing of it is there: old names, old content, files without content.
    Dropped,
    /// The names are there, and of the content any page, or not; in any order.
    Torn,
}

/// One file or directory, whatever its name is: a number may be used again, but not at the same moment.
type Node = (u64, SystemTime);

#[derive(Debug, Clone)]
struct Named {
    name: OsString,
    node: Node,
    mode: u32,
    owner: (u32, u32),
    modified: linux::file::Time,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Directory,
    File,
    Link(PathBuf),
    /// Devices and sockets, of which nothing is kept.
    Other,
}

/// A watched directory and what of it is safe.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    /// Where the safe contents of files are kept meanwhile.
    shelf: PathBuf,
    files: HashMap<Node, PathBuf>,
    directories: HashMap<Node, Vec<Named>>,
    shelved: u64,
    /// Why watching failed.
    error: Option<anyhow::Error>,
}

impl Disk {
    /// A disk on which everything is safe.
    pub(super) fn all_safe(root: &Path, shelf: &Path) -> Result<Self> {
        if shelf.exists() {
            fs::remove_dir_all(shelf)?;
        }
        fs::create_dir_all(shelf)?;
        let mut disk = Self {
            root: root.to_owned(),
            shelf: shelf.to_owned(),
            files: HashMap::new(),
            directories: HashMap::new(),
            shelved: 0,
            error: None,
        };
        disk.sync_all()?;
        Ok(disk)
    }

    /// Learns from a system call about to be made. What it is to make safe is taken to be safe from now on: it may be.
    pub(super) fn see(&mut self, entry: &Entry, call: &str) {
        if self.error.is_some() {
            return;
        }
        let place = format!("/proc/{}/fd/{}", entry.thread, entry.arguments[0]);
        let seen = match call {
            "SYS_fsync" | "SYS_fdatasync" => self.sync_descriptor(Path::new(&place)),
            "SYS_syncfs" | "SYS_sync" => self.sync_all(),
            _ => Ok(()),
        };
        self.error = seen.with_context(|| format!("{call} of {place}")).err();
    }

    fn sync_descriptor(&mut self, descriptor: &Path) -> Result<()> {
        let path = fs::read_link(descriptor)?;
        if !path.starts_with(&self.root) {
            return Ok(());
        }
        let metadata = fs::metadata(descriptor)?;
        if metadata.is_dir() {
            self.sync_directory(descriptor, &metadata)
        } else {
            self.sync_file(descriptor, &metadata)
        }
    }

    fn sync_file(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        self.shelved += 1;
        let kept = self.shelf.join(self.shelved.to_string());
        fs::copy(path, &kept)?;
        if let Some(older) = self.files.insert(node(metadata)?, kept) {
            fs::remove_file(older)?;
        }
        Ok(())
    }

    fn sync_directory(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        self.directories.insert(node(metadata)?, names(path)?);
        Ok(())
    }

    fn sync_all(&mut self) -> Result<()> {
        let mut pending = vec![self.root.clone()];
        while let Some(path) = pending.pop() {
            // Containers make and remove files while we look.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                let node = node(&metadata)?;
                let Ok(names) = names(&path) else { continue };
                pending.extend(names.iter().map(|named| path.join(&named.name)));
                self.directories.insert(node, names);
            } else if metadata.is_file()
                && (metadata.nlink() == 1 || !self.files.contains_key(&node(&metadata)?))
            {
                self.sync_file(&path, &metadata)?;
            }
        }
        Ok(())
    }

    /// Makes `target` what the directory is after the loss.
    pub(super) fn after(mut self, loss: Loss, target: &Path, random: &mut Random) -> Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error.context("watching what is synced"));
        }
        let metadata = fs::metadata(&self.root)?;
        fs::create_dir(target)?;
        fs::set_permissions(target, fs::Permissions::from_mode(metadata.mode()))?;
        let mut rebuilding = Rebuilding { disk: &self, loss, made: HashMap::new(), random };
        rebuilding.directory(&self.root, node(&metadata)?, target)?;
        fs::remove_dir_all(&self.shelf)?;
        Ok(())
    }
}

/// The making of a directory from what is safe and what is there.
struct Rebuilding<'a> {
    disk: &'a Disk,
    loss: Loss,
    /// Files that have a name already: the others are links to it.
    made: HashMap<Node, PathBuf>,
    random: &'a mut Random,
}

impl Rebuilding<'_> {
    fn directory(&mut self, now: &Path, node: Node, target: &Path) -> Result<()> {
        let safe = || self.disk.directories.get(&node).cloned().unwrap_or_default();
        let entries = match self.loss {
            Loss::Dropped => safe(),
            Loss::Torn => names(now).unwrap_or_else(|_| safe()),
        };
        for named in entries {
            let (parent, source, target) = (target, now.join(&named.name), target.join(&named.name));
            match &named.what {
                What::Directory => {
                    fs::create_dir(&target)?;
                    self.directory(&source, named.node, &target)?;
                }
                What::File => self.file(&source, named.node, &target)?,
                What::Link(to) => symlink(to, &target)?,
                What::Other => continue,
            }
            lchown(&target, Some(named.owner.0), Some(named.owner.1))?;
            if !matches!(named.what, What::Link(_)) {
                fs::set_permissions(&target, fs::Permissions::from_mode(named.mode & 0o7777))?;
            }
            let parent = fs::File::open(parent)?;
            linux::at::set_times(&parent, named.name.as_bytes(), named.modified, named.modified)?;
        }
        Ok(())
    }

    fn file(&mut self, source: &Path, node: Node, target: &Path) -> Result<()> {
        if let Some(other) = self.made.get(&node) {
            return fs::hard_link(other, target).context("a second name");
        }
        let safe = self.disk.files.get(&node).map(fs::read).transpose()?;
        let content = match self.loss {
            Loss::Dropped => safe.unwrap_or_default(),
            Loss::Torn => self.torn(&safe.unwrap_or_default(), &fs::read(source).unwrap_or_default()),
        };
        fs::write(target, content)?;
        self.made.insert(node, target.to_owned());
        Ok(())
    }

    /// Any of the pages of both.
    fn torn(&mut self, safe: &[u8], now: &[u8]) -> Vec<u8> {
        if safe == now {
            return now.to_vec();
        }
        let length = if self.random.below(2) == 0 { safe.len() } else { now.len() };
        let mut content = Vec::with_capacity(length);
        while content.len() < length {
            let at = content.len();
            let page = if self.random.below(2) == 0 { safe } else { now };
            let piece = page.get(at..).unwrap_or_default();
            content.extend_from_slice(&piece[..piece.len().min(PAGE).min(length - at)]);
            content.resize((at + PAGE).min(length), 0);
        }
        content
    }
}

fn node(metadata: &Metadata) -> Result<Node> {
    Ok((metadata.ino(), metadata.created().context("a file system that knows when a file was made")?))
}

fn names(directory: &Path) -> Result<Vec<Named>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        let kind = metadata.file_type();
        let what = if kind.is_dir() {
            What::Directory
        } else if kind.is_file() {
            What::File
        } else if kind.is_symlink() {
            What::Link(fs::read_link(entry.path())?)
        } else {
            What::Other
        };
        let named = Named {
            name: entry.file_name(),
            node: node(&metadata)?,
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: linux::file::Time {
                seconds: metadata.mtime(),
                nanoseconds: u32::try_from(metadata.mtime_nsec())?,
            },
            what,
        };
        if found.insert(entry.file_name(), named).is_some() {
            bail!("{} has two entries of one name", directory.display());
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for named in names(root).expect("names") {
            let path = root.join(&named.name);
            match named.what {
                What::Directory => found.extend(tree(&path)),
                _ => found.push(format!(
                    "{}={}",
                    named.name.to_string_lossy(),
                    fs::read_to_string(&path).expect("text")
                )),
            }
        }
        found
    }

    #[test]
    fn only_what_was_synced_is_there() {
        let base = std::env::temp_dir().join(format!("berth-test-disk-{}", std::process::id()));
        let root = base.join("root");
        fs::create_dir_all(root.join("d")).expect("directories");
        fs::write(root.join("d/old"), "old").expect("write");
        let mut disk = Disk::all_safe(&root, &base.join("shelf")).expect("a disk");
        fs::write(root.join("d/old"), "new").expect("write");
        fs::write(root.join("d/lost"), "lost").expect("write");
        fs::write(root.join("kept"), "kept").expect("write");
        disk.sync_file(&root.join("kept"), &fs::metadata(root.join("kept")).expect("metadata"))
            .expect("sync");
        disk.sync_directory(&root, &fs::metadata(&root).expect("metadata")).expect("sync");
        disk.after(Loss::Dropped, &base.join("after"), &mut Random::new(1)).expect("after");
        let found = tree(&base.join("after"));
        fs::remove_dir_all(&base).expect("remove");
        assert_eq!(found, ["old=old", "kept=kept"]);
    }
}
