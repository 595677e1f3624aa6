//! One entry of a layer: told apart, made, and given its attributes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use linux::at::Node;
use linux::file::Kind;
use oci::whiteout::{Name, classify};

use super::parents::Parent;
use super::path::{clean, join, or_dot, split};
use super::xattrs::{Policy, policy};
use super::{Base, DISK_BLOCK, Extractor, RootAttributes};
use crate::error::stream;
use crate::tar::{Entry, EntryKind, Reader, Sparse};
use crate::trail::Trail;
use crate::{Error, Result};

impl Extractor<'_> {
    /// Unpacks one entry; its content is taken from `reader`.
    pub(crate) fn entry(&mut self, entry: &Entry, reader: &mut Reader<impl Read>) -> Result<()> {
        let show = || String::from_utf8_lossy(&entry.path).into_owned();
        let Some(path) = clean(&entry.path) else {
            return Err(self.bad(format!("the path {:?} leads out of the layer", show())));
        };
        self.done.entries += 1;
        if path.is_empty() {
            return self.root_entry(entry);
        }
        let path = join(&self.place.prefix, &path);
        let (parent, name) = split(&path);
        if name.len() > 255 {
            return Err(self.bad(format!("the name {:?} is longer than 255 bytes", show())));
        }
        let meaning = if self.base == Base::Tree { Name::Plain(name) } else { classify(name) };
        let dir = match (self.parent(parent)?, meaning) {
            // Bookkeeping of AUFS; its parent need not exist, and its content is skipped.
            (_, Name::Reserved(_)) => return Ok(()),
            (Parent::Open(dir), _) => dir,
            (Parent::NeedsParents, _) => {
                self.done.needs.parents = true;
                return Ok(());
            }
        };
        // A directory that only holds marks is in the layer all the same.
        self.note_made(parent);
        match meaning {
            Name::Opaque => self.opaque(&dir, parent),
            Name::Whiteout(gone @ (b"" | b"." | b"..")) => {
                let gone = String::from_utf8_lossy(gone).into_owned();
                Err(self.bad(format!("the whiteout {:?} removes {gone:?}", show())))
            }
            Name::Whiteout(gone) => self.whiteout(&dir, parent, gone),
            Name::Plain(name) | Name::Reserved(name) => self.make(entry, &dir, name, &path, reader),
        }
    }

    /// The entry for the layer's root: only its attributes count.
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != EntryKind::Dir {
            return Err(self.bad("its root is not a directory"));
        }
        if self.base == Base::Tree && !self.place.with_root {
            // The directory that is unpacked into was there before and stays as it is.
            return Ok(());
        }
        let root = linux::at::open_dir(&self.root, b".")?;
        self.note_heritage(entry);
        self.set_attributes(&root, entry)?;
        self.done.root = Some(RootAttributes { mode: entry.mode, uid: entry.uid, gid: entry.gid });
        self.note_time(b"", entry.modified)
    }

    fn make(
        &mut self,
        entry: &Entry,
        dir: &OwnedFd,
        name: &[u8],
        path: &[u8],
        reader: &mut Reader<impl Read>,
    ) -> Result<()> {
        self.check_kind(entry, dir, name)?;
        match &entry.kind {
            EntryKind::File { sparse } => self.make_file(entry, sparse.as_ref(), dir, name, reader)?,
            EntryKind::Dir => self.make_dir(entry, dir, name, path)?,
            EntryKind::Symlink(target) => self.make_symlink(entry, target, dir, name)?,
            EntryKind::HardLink(target) => self.make_hard_link(target, dir, name, path)?,
            EntryKind::CharDevice(major, minor) => {
                self.make_node(entry, Node::CharDevice(*major, *minor), dir, name)?;
            }
            EntryKind::BlockDevice(major, minor) => {
                self.make_node(entry, Node::BlockDevice(*major, *minor), dir, name)?;
            }
            EntryKind::Fifo => self.make_node(entry, Node::Fifo, dir, name)?,
        }
        self.note_made(path);
        Ok(())
    }

    /// Refuses to replace a directory by something else, or the reverse, where that was asked for.
    fn check_kind(&self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        if !self.place.keep_kinds {
            return Ok(());
        }
        let Some(stat) = linux::at::stat(dir, name)? else { return Ok(()) };
        let (was, becomes) = (stat.kind == Kind::Dir, entry.kind == EntryKind::Dir);
        if was == becomes {
            return Ok(());
        }
        let (target, show) = (String::from_utf8_lossy(name), String::from_utf8_lossy(&entry.path));
        let (was, becomes) =
            if was { ("directory", "non-directory") } else { ("non-directory", "directory") };
        Err(Error::Invalid(format!("cannot overwrite {was} {target:?} with {becomes} {show:?}")))
    }

    /// Makes something with `attempt`; when the name is taken, removes what has it and tries once more.
    fn replacing<T>(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        attempt: impl Fn() -> linux::Result<T>,
    ) -> Result<T> {
        match attempt() {
            Err(error) if error.name() == Some("EEXIST") => {
                self.clear_way(dir, name)?;
                Ok(attempt()?)
            }
            result => Ok(result?),
        }
    }

    fn make_file(
        &mut self,
        entry: &Entry,
        sparse: Option<&Sparse>,
        dir: &OwnedFd,
        name: &[u8],
        reader: &mut Reader<impl Read>,
    ) -> Result<()> {
        let born = self.is_born_right(entry);
        let mode = if born { entry.mode } else { 0o600 };
        let file = File::from(self.replacing(dir, name, || linux::at::create(dir, name, mode))?);
        match sparse {
            None => self.write_plain(&file, entry.size, reader)?,
            Some(sparse) => self.write_sparse(&file, sparse, reader)?,
        }
        if born {
            self.set_xattrs(&file, entry)?;
        } else {
            self.set_attributes(&file, entry)?;
        }
        Ok(linux::file::set_times(&file, entry.modified, entry.modified)?)
    }

    fn write_plain(&mut self, mut file: &File, size: u64, reader: &mut Reader<impl Read>) -> Result<()> {
        let mut pending = 0;
        let (mut trail, mut written) = (Trail::default(), 0);
        loop {
            let bytes = reader.take(usize::MAX)?;
            if bytes.is_empty() {
                break;
            }
            file.write_all(bytes).map_err(stream("write a file of the layer"))?;
            pending += bytes.len() as u64;
            written += bytes.len() as u64;
            trail.written(file, written)?;
            if pending >= DISK_BLOCK * 1024 {
                self.account(pending)?;
                pending = 0;
            }
        }
        let rounding = size.next_multiple_of(DISK_BLOCK) - size;
        self.account(pending + rounding)
    }

    fn write_sparse(&mut self, file: &File, sparse: &Sparse, reader: &mut Reader<impl Read>) -> Result<()> {
        for segment in &sparse.segments {
            let (mut offset, end) = (segment.offset, segment.offset + segment.length);
            while offset < end {
                let bytes = reader.take(usize::try_from(end - offset).unwrap_or(usize::MAX))?;
                file.write_all_at(bytes, offset).map_err(stream("write a file of the layer"))?;
                offset += bytes.len() as u64;
            }
            self.account(segment.length.next_multiple_of(DISK_BLOCK))?;
        }
        Ok(linux::file::set_length(file, sparse.size)?)
    }

    fn make_dir(&mut self, entry: &Entry, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let mut hides = false;
        let born = self.is_born_right(entry);
        let fresh = linux::at::make_dir(dir, name, if born { entry.mode } else { 0o700 })?;
        if !fresh {
            let kind = linux::at::stat(dir, name)?.map(|stat| stat.kind);
            if kind != Some(Kind::Dir) {
                // Whatever had the name, a removal's mark or something else, hid what is below; so must the directory.
                self.clear_way(dir, name)?;
                hides = self.base == Base::Alone;
                if !linux::at::make_dir(dir, name, 0o700)? {
                    return Err(self.bad("something else writes into the layer"));
                }
            }
        }
        self.note_heritage(entry);
        if !(fresh && born && entry.xattrs.is_empty()) {
            self.set_attributes(&linux::at::open_dir(dir, name)?, entry)?;
        }
        if hides {
            self.make_opaque(dir, name, path)?;
        }
        self.implied.remove(path);
        self.note_time(path, entry.modified)?;
        self.account(DISK_BLOCK)
    }

    fn make_symlink(&mut self, entry: &Entry, target: &[u8], dir: &OwnedFd, name: &[u8]) -> Result<()> {
        self.replacing(dir, name, || linux::at::symlink(target, dir, name))?;
        if !self.owns_new_files(entry) {
            let (uid, gid) = self.owner(entry)?;
            linux::at::set_owner(dir, name, uid, gid)?;
        }
        linux::at::set_times(dir, name, entry.modified, entry.modified)?;
        self.account(0)
    }

    fn make_node(&mut self, entry: &Entry, node: Node, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        self.replacing(dir, name, || linux::at::make_node(dir, name, node, 0o600))?;
        let (uid, gid) = self.owner(entry)?;
        linux::at::set_owner(dir, name, uid, gid)?;
        linux::at::set_mode(dir, name, entry.mode)?;
        linux::at::set_times(dir, name, entry.modified, entry.modified)?;
        self.account(0)
    }

    /// A second name. Its target is a path from the layer's root and stays inside it; what is only in a lower layer
    /// cannot be linked while the layer is unpacked alone.
    fn make_hard_link(&mut self, target: &[u8], dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let show = String::from_utf8_lossy(target).into_owned();
        let Some(target) = clean(target).filter(|target| !target.is_empty()) else {
            return Err(self.bad(format!("the hard link target {show:?} leads out of the layer")));
        };
        let target = join(&self.place.prefix, &target);
        if target == path {
            return Err(self.bad(format!("the hard link {show:?} is its own target")));
        }
        let (parent, last) = split(&target);
        let found = match linux::resolve::dir(&self.root, or_dot(parent)) {
            Ok(parent) => match linux::at::stat(&parent, last)? {
                Some(stat) if stat.kind == Kind::Dir => {
                    return Err(self.bad(format!("the hard link target {show:?} is a directory")));
                }
                Some(_) if !self.is_whiteout(&parent, last)? => Some(parent),
                _ => None,
            },
            Err(error) if matches!(error.name(), Some("ENOENT" | "ENOTDIR")) => None,
            Err(error) => return Err(self.bad(format!("cannot find a hard link's target: {error}"))),
        };
        match found {
            Some(parent) => {
                self.replacing(dir, name, || linux::at::hard_link(&parent, last, dir, name))?;
                Ok(())
            }
            None if self.base == Base::Alone => {
                self.done.needs.parents = true;
                Ok(())
            }
            None => Err(self.bad(format!("the hard link target {show:?} does not exist"))),
        }
    }

    fn owner(&self, entry: &Entry) -> Result<(u32, u32)> {
        self.place.ids.to_tree(self.place.owner.unwrap_or((entry.uid, entry.gid)))
    }

    /// Owner, mode and attributes; in this order, because a new owner clears set-user-ID and capabilities.
    fn set_attributes(&self, file: impl std::os::fd::AsFd, entry: &Entry) -> Result<()> {
        let (uid, gid) = self.owner(entry)?;
        linux::file::set_owner(&file, uid, gid)?;
        linux::file::set_mode(&file, entry.mode)?;
        self.set_xattrs(&file, entry)
    }

    /// Whether what this process makes for `entry` has the right owner, owner's group and mode from its first moment on.
    /// Only in a directory that nobody else can enter, where nobody sees a file before all of it is there.
    fn is_born_right(&self, entry: &Entry) -> bool {
        self.owns_new_files(entry) && entry.mode & (0o7000 | self.masked) == 0
    }

    fn owns_new_files(&self, entry: &Entry) -> bool {
        self.is_plain && (entry.uid, entry.gid) == (0, 0)
    }

    /// A directory that hands its group or its access list on to what is made in it ends the short way for all that
    /// follows.
    pub(super) fn note_heritage(&mut self, entry: &Entry) {
        let hands_on = entry.mode & 0o2000 != 0
            || entry.xattrs.iter().any(|(name, _)| name == b"system.posix_acl_default");
        self.is_plain &= !hands_on;
    }

    fn set_xattrs(&self, file: impl std::os::fd::AsFd, entry: &Entry) -> Result<()> {
        for (name, value) in &entry.xattrs {
            let policy = policy(name);
            if policy == Policy::Refused {
                continue;
            }
            let value = self.place.ids.attribute_to_tree(name, value)?;
            match linux::xattr::set(&file, name, &value) {
                Ok(()) => {}
                Err(error) if policy == Policy::Optional && is_unsupported(&error) => {}
                Err(error) => {
                    let (path, name) = (String::from_utf8_lossy(&entry.path), String::from_utf8_lossy(name));
                    return Err(
                        self.bad(format!("the attribute {name:?} of {path:?} cannot be set: {error}"))
                    );
                }
            }
        }
        Ok(())
    }
}

fn is_unsupported(error: &linux::Error) -> bool {
    matches!(error.name(), Some("EOPNOTSUPP" | "EPERM"))
}
