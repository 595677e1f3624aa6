//! Unpacking a layer's tar into a directory that overlayfs can stack.
//!
//! ```text
//! entry ─► clean path ─► parent by openat2(RESOLVE_IN_ROOT), cached ─► make ─► owner, mode, xattrs, times
//! ```
//!
//! A layer is unpacked alone, next to the others. What it needs of the layers below it — a hard link's target, the
//! attributes of a directory it does not list, the place a link leads to — is noted ([`Needs`]); the few layers that
//! need something are unpacked again on top of the others ([`Base::Merged`]).

mod entry;
mod made;
mod parents;
mod path;
mod removal;
mod xattrs;

pub(crate) use path::{clean, join, or_dot, split};
pub(crate) use removal::OPAQUE_XATTR;
pub(crate) use xattrs::is_portable;

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;

use linux::file::Time;

use crate::limits::Limits;
use crate::tar::Reader;
use crate::translate::Translation;
use crate::{Error, Result};
use made::Made;

/// What the directory that is unpacked into shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// The layer alone: whiteouts become overlayfs's own marks.
    Alone,
    /// The layers below, through an overlay mount: whiteouts remove, and the kernel makes the marks.
    Merged,
    /// An ordinary tree (`docker cp`, a build context): names that begin with `.wh.` mean nothing special.
    Tree,
}

/// What a layer needs of the layers below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// Directories that were made because an entry lies in them, and that the layer does not list.
    pub(crate) implied: Vec<Vec<u8>>,
    /// Directories in which something of the layers below is marked as gone. overlayfs reads such a mark only where it
    /// merges directories; elsewhere it would show as a broken name.
    pub(crate) marked: Vec<Vec<u8>>,
    /// Whether something cannot be made without the layers below: a hard link's target or a link's destination.
    pub(crate) parents: bool,
}

/// Owner and mode of a layer's root directory, when the layer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct RootAttributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Unpacked {
    pub(crate) needs: Needs,
    pub(crate) root: Option<RootAttributes>,
    /// Disk space in bytes, estimated from lengths.
    pub(crate) size: u64,
    pub(crate) entries: u64,
}

/// More implied or marked directories than this, and the layer is simply unpacked on top of the others.
const MAX_NEEDED: usize = 1024;
/// Bytes of the paths of directories whose times wait for what is still to be put into them. In any sensible order few
/// directories are not complete; of an archive that has more, others get their times early.
const MAX_WAITING: usize = 16 << 20;
/// What a waiting time takes beside its path.
const WAITING: usize = 64;
/// Directories with marks in one layer: only a layer that is made to hurt has more.
const MAX_MARKED: usize = 1 << 14;
/// Bytes written between two looks at the free space.
const SPACE_STEP: u64 = 64 << 20;
/// What a name or a small file is taken to cost on the disk.
const DISK_BLOCK: u64 = 4096;

/// Where and how an archive is unpacked into a tree that others use as well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The cleaned path of the directory below the root that the archive's paths start from.
    pub(crate) prefix: Vec<u8>,
    /// Who everything belongs to, instead of whom the archive says.
    pub(crate) owner: Option<(u32, u32)>,
    /// Refuse to replace a directory by something else and the reverse.
    pub(crate) keep_kinds: bool,
    /// The archive's own root describes the directory.
    pub(crate) with_root: bool,
    /// The tree has other ids than the archive.
    pub(crate) ids: Translation,
}

/// Unpacks an archive into a tree: paths, links and `..` stay inside `root`.
pub(crate) fn unpack_into_tree(
    reader: &mut Reader<impl std::io::Read>,
    root: OwnedFd,
    place: Place,
    limits: &Limits,
    archive: &str,
) -> Result<()> {
    let mut extractor = Extractor::new(root, Base::Tree, limits, archive);
    extractor.place = place;
    while let Some(entry) = reader.next()? {
        extractor.entry(&entry, reader)?;
    }
    extractor.finish().map(drop)
}

/// Unpacks the archive that `reader` yields into `root`. When the layer cannot be unpacked alone, the rest of the
/// archive is still read, and `needs.parents` is set.
pub(crate) fn unpack(
    reader: &mut Reader<impl std::io::Read>,
    root: OwnedFd,
    base: Base,
    limits: &Limits,
    archive: &str,
) -> Result<Unpacked> {
    let mut extractor = Extractor::new(root, base, limits, archive);
    extractor.is_plain = base == Base::Alone && makes_plain_files(&extractor.root)?;
    extractor.masked = linux::credentials::umask()?;
    while let Some(entry) = reader.next()? {
        if extractor.done.needs.parents {
            continue;
        }
        extractor.entry(&entry, reader)?;
    }
    extractor.finish()
}

/// Whether what this process makes in its new directory `root` belongs to root:root and has the mode that is asked for.
fn makes_plain_files(root: &OwnedFd) -> Result<bool> {
    let stat = linux::file::stat(root)?;
    let plain = (stat.uid, stat.gid) == (0, 0) && stat.mode & 0o2000 == 0;
    Ok(plain && !linux::xattr::list(root)?.iter().any(|name| name == b"system.posix_acl_default"))
}

struct Extractor<'a> {
    root: OwnedFd,
    base: Base,
    /// New files belong to root:root and nothing is handed on to them by the directories they are made in.
    is_plain: bool,
    /// The bits of modes that the process's umask takes away.
    masked: u32,
    place: Place,
    limits: &'a Limits,
    archive: &'a str,
    parents: parents::Cache,
    /// The times that directories get once everything is in them.
    times: HashMap<Vec<u8>, Time>,
    /// Bytes that they take.
    waiting: usize,
    opaque: HashSet<Vec<u8>>,
    implied: HashSet<Vec<u8>>,
    marked: HashSet<Vec<u8>>,
    /// What this layer itself made, so that its whiteouts spare it. Only kept where lower layers are in the same tree.
    made: Made,
    unchecked: u64,
    done: Unpacked,
}

impl<'a> Extractor<'a> {
    fn new(root: OwnedFd, base: Base, limits: &'a Limits, archive: &'a str) -> Self {
        Self {
            root,
            base,
            is_plain: false,
            masked: 0o777,
            place: Place::default(),
            limits,
            archive,
            parents: parents::Cache::default(),
            times: HashMap::new(),
            waiting: 0,
            opaque: HashSet::new(),
            implied: HashSet::new(),
            marked: HashSet::new(),
            made: Made::default(),
            unchecked: SPACE_STEP,
            done: Unpacked::default(),
        }
    }

    fn bad(&self, reason: impl Into<String>) -> Error {
        Error::archive(self.archive, reason)
    }

    /// Counts space, and now and then looks whether the disk still has enough.
    fn account(&mut self, bytes: u64) -> Result<()> {
        self.done.size += bytes;
        self.unchecked += bytes;
        if self.unchecked < SPACE_STEP {
            return Ok(());
        }
        self.unchecked = 0;
        let space = linux::file::space(&self.root)?;
        if space.available < self.limits.keep_free {
            let (left, keep) = (space.available, self.limits.keep_free);
            let words = format!(
                "unpacking {} would leave {left} bytes, less than the {keep} kept free",
                self.archive
            );
            return Err(Error::Full(words));
        }
        Ok(())
    }

    /// Times of directories, redundant whiteouts, and the list of what is needed from below.
    fn finish(mut self) -> Result<Unpacked> {
        if self.done.needs.parents {
            return Ok(self.done);
        }
        self.drop_redundant_whiteouts()?;
        self.set_times()?;
        self.done.needs.implied = sorted(self.implied);
        self.done.needs.marked = sorted(self.marked);
        // Records are text: the rare layer whose directories are not is simply unpacked on top of the others.
        let needs = &self.done.needs;
        let text = |path: &Vec<u8>| std::str::from_utf8(path).is_ok();
        let few = needs.implied.len().max(needs.marked.len()) <= MAX_NEEDED;
        self.done.needs.parents = !(few && needs.implied.iter().chain(&needs.marked).all(text));
        Ok(self.done)
    }

    /// Notes the time that a directory gets once everything is in it.
    fn note_time(&mut self, path: &[u8], modified: Time) -> Result<()> {
        self.times.insert(path.to_vec(), modified);
        self.waiting += path.len() + WAITING;
        if self.waiting <= MAX_WAITING {
            return Ok(());
        }
        let above = |other: &[u8]| other.is_empty() || path == other || path.starts_with(&join(other, b""));
        let stay: HashMap<Vec<u8>, Time> = self
            .times
            .iter()
            .filter(|(other, _)| above(other))
            .map(|(other, time)| (other.clone(), *time))
            .collect();
        self.times.retain(|other, _| !stay.contains_key(other));
        self.set_times()?;
        self.waiting = stay.keys().map(|path| path.len() + WAITING).sum();
        self.times = stay;
        Ok(())
    }

    /// Gives the directories that wait for it their times.
    fn set_times(&mut self) -> Result<()> {
        // Sorted, directories of one parent follow each other, and the parent is opened once for them.
        let mut times: Vec<_> = std::mem::take(&mut self.times).into_iter().collect();
        times.sort_unstable_by(|(one, _), (other, _)| path::split(one).cmp(&path::split(other)));
        let mut last: Option<(&[u8], OwnedFd)> = None;
        for (path, modified) in &times {
            let modified = *modified;
            if path.is_empty() {
                // The handle may be one that allows no calls on the file itself.
                linux::at::set_times(&self.root, b".", modified, modified)?;
                continue;
            }
            let (dir, name) = path::split(path);
            if last.as_ref().is_none_or(|(path, _)| *path != dir) {
                let Ok(parent) = linux::resolve::dir(&self.root, path::or_dot(dir)) else { continue };
                last = Some((dir, parent));
            }
            let Some((_, parent)) = &last else { continue };
            // A directory that a later entry replaced has another kind, or is gone.
            if linux::at::stat(parent, name)?.is_some_and(|stat| stat.kind == linux::file::Kind::Dir) {
                linux::at::set_times(parent, name, modified, modified)?;
            }
        }
        Ok(())
    }
}

fn sorted(paths: HashSet<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut list: Vec<_> = paths.into_iter().collect();
    list.sort();
    list
}
