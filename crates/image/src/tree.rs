//! Writing a directory tree as a tar: an export, a layer of changes, `docker cp` out of a container.
//!
//! Everything is opened from its parent's descriptor and never through a symbolic link, so a tree that is changed while
//! it is read can only change what is inside it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use linux::file::{Kind, Stat};

use crate::error::stream;
use crate::tar::{EntryKind, Header, Segment, Sparse, Writer};
use crate::translate::Translation;
use crate::unpack::{OPAQUE_XATTR, join};
use crate::{Error, Result};

/// How names of a tree are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As they are.
    Plain,
    /// As they are, and files with holes keep them.
    Holes,
    /// overlayfs's marks for removals become whiteouts of the image specification.
    Changes,
}

const WRITING: &str = "write the archive";

/// Writes trees into one archive.
pub(crate) struct TreeWriter<W> {
    tar: Writer<W>,
    style: Style,
    ids: Translation,
    /// Inodes with several names that were written, by file system and number.
    linked: HashMap<(u64, u64), Vec<u8>>,
    left_out: HashSet<Vec<u8>>,
}

/// A directory whose entries are being written.
struct Level {
    dir: OwnedFd,
    path: Vec<u8>,
    names: Vec<Vec<u8>>,
}

impl<W: Write> TreeWriter<W> {
    pub(crate) fn new(sink: W, style: Style) -> Self {
        let ids = Translation::default();
        Self { tar: Writer::new(sink), style, ids, linked: HashMap::new(), left_out: HashSet::new() }
    }

    /// The tree has other ids than the archive.
    pub(crate) fn translate(&mut self, ids: &Translation) {
        self.ids = ids.clone();
    }

    /// Paths that are not to be written, with everything below them.
    pub(crate) fn leave_out(&mut self, paths: HashSet<Vec<u8>>) {
        self.left_out = paths;
    }

    /// Writes what is in a directory, without the directory itself, below `path` of the archive (empty for its root).
    pub(crate) fn write_entries(&mut self, dir: OwnedFd, path: &[u8]) -> Result<()> {
        let mut levels = vec![level(dir, path.to_vec())?];
        while let Some(top) = levels.last_mut() {
            let Some(name) = top.names.pop() else {
                levels.pop();
                continue;
            };
            let path = join(&top.path, &name);
            if self.left_out.contains(&path) {
                continue;
            }
            if let Some(below) = self.write_one(&top.dir, &name, &path)? {
                levels.push(level(below, path)?);
            }
        }
        Ok(())
    }

    /// Writes one name of a directory as `path`; the open directory when its entries are to follow.
    pub(crate) fn write_one(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Option<OwnedFd>> {
        // What is removed while the tree is read is left out.
        let Some(stat) = linux::at::stat(dir, name)? else { return Ok(None) };
        if self.style == Style::Changes && stat.kind == Kind::CharDevice && stat.device_number == (0, 0) {
            let (parent, name) = crate::unpack::split(path);
            self.write_mark(&join(parent, &[oci::whiteout::PREFIX, name].concat()), &stat)?;
            return Ok(None);
        }
        if stat.kind == Kind::Dir {
            return self.write_dir(dir, name, path).map(Some);
        }
        if stat.links > 1
            && let Some(first) = self.linked.get(&(stat.file_system, stat.inode))
        {
            let kind = EntryKind::HardLink(first.clone());
            self.begin(path, &kind, &stat, 0, &[])?;
            return Ok(None);
        }
        match stat.kind {
            Kind::File => self.write_file(dir, name, path)?,
            Kind::Symlink => {
                let kind = EntryKind::Symlink(linux::at::read_link(dir, name)?);
                self.begin(path, &kind, &stat, 0, &[])?;
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                let (major, minor) = stat.device_number;
                let kind = match stat.kind {
                    Kind::CharDevice => EntryKind::CharDevice(major, minor),
                    Kind::BlockDevice => EntryKind::BlockDevice(major, minor),
                    _ => EntryKind::Fifo,
                };
                self.begin(path, &kind, &stat, 0, &[])?;
            }
            // A socket means nothing without the process that made it; tar has no entry for it.
            Kind::Socket | Kind::Unknown | Kind::Dir => return Ok(None),
        }
        if stat.links > 1 {
            self.linked.insert((stat.file_system, stat.inode), path.to_vec());
        }
        Ok(None)
    }

    /// Writes a directory itself and returns it open.
    pub(crate) fn write_dir(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<OwnedFd> {
        let open = linux::at::open_dir(dir, name)?;
        let stat = linux::file::stat(&open)?;
        let xattrs = self.xattrs(&open, path)?;
        self.begin(&[path, b"/"].concat(), &EntryKind::Dir, &stat, 0, &xattrs)?;
        if self.style == Style::Changes && linux::xattr::get(&open, OPAQUE_XATTR)?.as_deref() == Some(b"y") {
            self.write_mark(&join(path, oci::whiteout::OPAQUE), &stat)?;
        }
        Ok(open)
    }

    fn write_file(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let mut file = File::from(linux::at::open_read(dir, name)?);
        let stat = linux::file::stat(&file)?;
        if stat.kind != Kind::File {
            return Err(Error::Invalid(format!(
                "{:?} changed while it was read",
                String::from_utf8_lossy(path)
            )));
        }
        let xattrs = self.xattrs(&file, path)?;
        if self.style == Style::Holes
            && let Some(sparse) = holes(&file, &stat)?
        {
            return self.write_sparse(&file, path, &stat, sparse, &xattrs);
        }
        self.begin(path, &EntryKind::File { sparse: None }, &stat, stat.size, &xattrs)?;
        let mut buffer = vec![0; 256 << 10];
        let mut missing = stat.size;
        while missing > 0 {
            let room = buffer.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            let length = file.read(&mut buffer[..room]).map_err(stream("read a file of the tree"))?;
            if length == 0 {
                // It became shorter: the header is out already, so the rest is zeros.
                buffer.fill(0);
            }
            let length = if length == 0 { room } else { length };
            self.tar.write(&buffer[..length]).map_err(stream(WRITING))?;
            missing -= length as u64;
        }
        Ok(())
    }

    fn write_sparse(
        &mut self,
        file: &File,
        path: &[u8],
        stat: &Stat,
        sparse: Sparse,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let segments = sparse.segments.clone();
        let stored = segments.iter().map(|segment| segment.length).sum();
        self.begin(path, &EntryKind::File { sparse: Some(sparse) }, stat, stored, xattrs)?;
        let mut buffer = vec![0; 256 << 10];
        for segment in segments {
            let (mut offset, end) = (segment.offset, segment.offset + segment.length);
            while offset < end {
                let room = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
                let read = file.read_at(&mut buffer[..room], offset);
                let length = read.map_err(stream("read a file of the tree"))?;
                if length == 0 {
                    // It became shorter: what the map promises is zeros.
                    buffer.fill(0);
                }
                let length = if length == 0 { room } else { length };
                self.tar.write(&buffer[..length]).map_err(stream(WRITING))?;
                offset += length as u64;
            }
        }
        Ok(())
    }

    /// The mark of a removal: an empty file.
    fn write_mark(&mut self, path: &[u8], stat: &Stat) -> Result<()> {
        let plain = Stat { mode: 0o600, uid: 0, gid: 0, ..*stat };
        self.begin(path, &EntryKind::File { sparse: None }, &plain, 0, &[])
    }

    fn begin(
        &mut self,
        path: &[u8],
        kind: &EntryKind,
        stat: &Stat,
        size: u64,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<()> {
        let (mode, modified) = (stat.mode, stat.modified);
        let (uid, gid) = self.ids.to_archive((stat.uid, stat.gid));
        let header = Header { path, kind, mode, uid, gid, modified, size, xattrs };
        self.tar.begin(&header).map_err(stream(WRITING))
    }

    /// The attributes that mean something elsewhere. A mark by which overlayfs looks for content in another place cannot
    /// be written; the engine mounts without the options that make it.
    fn xattrs(&self, file: impl AsFd, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut kept = Vec::new();
        for name in linux::xattr::list(&file)? {
            if matches!(name.as_slice(), b"trusted.overlay.redirect" | b"trusted.overlay.metacopy") {
                let path = String::from_utf8_lossy(path).into_owned();
                return Err(Error::Unsupported(format!(
                    "{path:?} was renamed by overlayfs's redirect_dir or metacopy"
                )));
            }
            if !crate::unpack::is_portable(&name) {
                continue;
            }
            if let Some(value) = linux::xattr::get(&file, &name)? {
                let value = self.ids.attribute_to_archive(&name, value);
                kept.push((name, value));
            }
        }
        kept.sort();
        Ok(kept)
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> Result<W> {
        self.tar.finish().map_err(stream(WRITING))
    }
}

/// Ranges of a file that are written one by one; a file with more of them is written whole.
const MAX_SEGMENTS: usize = 4096;

/// Where a file has content; `None` when it has no holes worth the map.
fn holes(file: &File, stat: &Stat) -> Result<Option<Sparse>> {
    if stat.allocated >= stat.size {
        return Ok(None);
    }
    let mut segments = Vec::new();
    let mut offset = 0;
    while let Some((start, end)) = linux::file::next_data(file, offset)? {
        if start >= stat.size {
            break;
        }
        let end = end.min(stat.size);
        segments.push(Segment { offset: start, length: end - start });
        if segments.len() > MAX_SEGMENTS {
            return Ok(None);
        }
        offset = end;
    }
    let stored: u64 = segments.iter().map(|segment| segment.length).sum();
    Ok((stored < stat.size).then_some(Sparse { size: stat.size, segments }))
}

/// Names in reverse order, so that the last one taken is the first one written.
fn level(dir: OwnedFd, path: Vec<u8>) -> Result<Level> {
    let mut names = linux::file::entry_names(&dir)?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Level { dir, path, names })
}
