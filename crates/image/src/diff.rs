//! What a container changed: `docker diff`, `docker export`, and the layer of a `docker commit`.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use linux::file::Kind;

use crate::error::stream;
use crate::images::Images;
use crate::translate::Translation;
use crate::tree::{Style, TreeWriter};
use crate::unpack::{OPAQUE_XATTR, join};
use crate::{Error, Result, scaffold};

/// How a path differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was there and is different (Docker's 0).
    Modified,
    /// It was not there (Docker's 1).
    Added,
    /// It was there and is gone (Docker's 2).
    Deleted,
}

/// A path that differs from the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The path in the container, starting with a slash; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// How it differs.
    pub kind: ChangeKind,
}

impl Images {
    /// What a container changed, in the order of paths. Places that were only made to mount something on are left out.
    ///
    /// # Errors
    /// `NotFound` when it has no snapshot.
    pub fn changes(&self, id: &str) -> Result<Vec<Change>> {
        let snapshot = self.known_snapshot(id)?;
        let upper = open(&snapshot.upper)?;
        let lower = below(&snapshot)?;
        let scaffold = scaffold::find(&upper, lower.as_ref())?;
        let mut changes = Vec::new();
        let mut waiting = vec![(upper, Vec::new(), true)];
        while let Some((dir, path, merges)) = waiting.pop() {
            for name in linux::file::entry_names(&dir)? {
                let Some(stat) = linux::at::stat(&dir, &name)? else { continue };
                let path = join(&path, &name);
                if scaffold.contains(&path) {
                    continue;
                }
                let before = match &lower {
                    Some(lower) if merges => kind_below(lower, &path)?,
                    _ => None,
                };
                let removed = stat.kind == Kind::CharDevice && stat.device_number == (0, 0);
                let kind = match (removed, before) {
                    (true, None) => continue,
                    (true, Some(_)) => ChangeKind::Deleted,
                    (false, Some(_)) => ChangeKind::Modified,
                    (false, None) => ChangeKind::Added,
                };
                changes.push(Change { path: format!("/{}", String::from_utf8_lossy(&path)), kind });
                if stat.kind == Kind::Dir {
                    let below = linux::at::open_dir(&dir, &name)?;
                    let opaque = linux::xattr::get(&below, OPAQUE_XATTR)?.is_some();
                    let merges = before == Some(Kind::Dir) && !opaque;
                    waiting.push((below, path, merges));
                }
            }
        }
        changes.sort();
        Ok(changes)
    }

    /// Writes what a container changed as a layer's tar.
    ///
    /// # Errors
    /// `NotFound` when it has no snapshot.
    pub fn write_changes(&self, id: &str, sink: &mut dyn Write) -> Result<()> {
        let snapshot = self.known_snapshot(id)?;
        let (upper, lower) = (open(&snapshot.upper)?, below(&snapshot)?);
        let mut tree = TreeWriter::new(sink, Style::Changes);
        tree.leave_out(scaffold::find(&upper, lower.as_ref())?);
        tree.write_entries(upper, b"")?;
        tree.finish().map(drop)
    }

    /// Writes the whole tree of a container as a tar, without what is mounted in it.
    ///
    /// # Errors
    /// `NotFound` when it has no snapshot.
    pub fn export(&self, id: &str, sink: &mut dyn Write) -> Result<()> {
        write_tree(&self.view(id)?, &Translation::default(), sink)
    }

    /// A read-only view of a container's tree, whether it runs or not, without what is mounted in it. Nobody else sees
    /// it, and it goes with the descriptor.
    ///
    /// # Errors
    /// `NotFound` when it has no snapshot.
    pub fn view(&self, id: &str) -> Result<OwnedFd> {
        let snapshot = self.known_snapshot(id)?;
        let mut directories = vec![snapshot.upper];
        directories.extend(snapshot.lower);
        stack(&directories)
    }

    /// The tree of a container that does not run, for changing it. While it is held the container must not start.
    ///
    /// # Errors
    /// `NotFound` when it has no snapshot; `EBUSY` while it is mounted elsewhere.
    pub fn mount(&self, id: &str) -> Result<OwnedFd> {
        let snapshot = self.known_snapshot(id)?;
        if snapshot.lower.is_empty() {
            return open(&snapshot.upper);
        }
        let lower: Vec<&Path> = snapshot.lower.iter().map(AsRef::as_ref).collect();
        let mount = linux::overlay::detached(&lower, Some((&snapshot.upper, &snapshot.work)))?;
        Ok(linux::resolve::readable_dir(&mount, b".")?)
    }

    pub(crate) fn known_snapshot(&self, id: &str) -> Result<crate::Snapshot> {
        self.snapshot(id)?.ok_or_else(|| Error::NoSuchSnapshot(id.to_owned()))
    }
}

/// Writes everything below a directory as a tar.
///
/// # Errors
/// When the tree cannot be read or the sink fails.
pub fn write_tree(root: &OwnedFd, ids: &Translation, sink: &mut dyn Write) -> Result<()> {
    let mut tree = TreeWriter::new(sink, Style::Plain);
    tree.translate(ids);
    tree.write_entries(linux::resolve::readable_dir(root, b".")?, b"")?;
    tree.finish().map(drop)
}

/// Writes a directory with everything below it as a tar that keeps owners, attributes, hard links and holes. Its first
/// entry is the directory itself, `./`.
///
/// # Errors
/// When the tree cannot be read or the sink fails.
pub fn write_whole_tree(root: &OwnedFd, sink: &mut dyn Write) -> Result<()> {
    let mut tree = TreeWriter::new(sink, Style::Holes);
    let open = tree.write_dir(root, b".", b".")?;
    tree.write_entries(open, b".")?;
    tree.finish().map(drop)
}

fn open(path: &Path) -> Result<OwnedFd> {
    Ok(File::open(path).map_err(stream("open a snapshot"))?.into())
}

/// What a container's own layer lies on, as one read-only tree; `None` when it lies on nothing.
fn below(snapshot: &crate::Snapshot) -> Result<Option<OwnedFd>> {
    match snapshot.lower.as_slice() {
        [] => Ok(None),
        lower => stack(lower).map(Some),
    }
}

/// Directories as one read-only tree, the topmost first.
fn stack(directories: &[impl AsRef<Path>]) -> Result<OwnedFd> {
    match directories {
        [one] => open(one.as_ref()),
        several => {
            let lower: Vec<&Path> = several.iter().map(AsRef::as_ref).collect();
            let mount = linux::overlay::detached(&lower, None)?;
            Ok(linux::resolve::readable_dir(&mount, b".")?)
        }
    }
}

/// What the layers below have at a path.
fn kind_below(lower: &OwnedFd, path: &[u8]) -> Result<Option<Kind>> {
    match linux::resolve::handle_without_links(lower, path) {
        Ok(handle) => Ok(Some(linux::file::stat(&handle)?.kind)),
        Err(error) if matches!(error.name(), Some("ENOENT" | "ENOTDIR" | "ELOOP")) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
