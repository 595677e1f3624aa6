//! Files of a container's, from a tar archive that nobody here has made.
//!
//! Everything lands under one directory: names with `..` and names through links that the archive brought are refused.
//! Owners are the user's own, devices are not made.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use tar_core::EntryType;
use tar_core::parse::{Limits, ParseEvent, ParsedEntry, Parser};
use thiserror::Error;

/// An archive that cannot be unpacked here.
#[derive(Debug, Error)]
pub(crate) enum UnpackError {
    /// It is not a tar archive.
    #[error("the daemon's archive is damaged: {0}")]
    Damaged(String),
    /// An entry wants to be somewhere else.
    #[error("the daemon's archive has an entry outside of its directory: {0}")]
    Escape(String),
    /// A file could not be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Unpacks an archive as its bytes arrive.
pub(crate) struct Unpacker {
    parser: Parser,
    buffer: Vec<u8>,
    /// The first name of every entry, which `target` replaces; empty when entries start below it.
    base: String,
    target: PathBuf,
    file: Option<(File, PathBuf)>,
    content: u64,
    padding: u64,
    directories: Vec<(PathBuf, u32)>,
    written: u64,
    ended: bool,
}

/// The longest headers of one entry, in bytes.
const LONGEST_HEADERS: usize = 4 << 20;

impl Unpacker {
    /// Entries called `base` become `target`; what is below goes below.
    pub(crate) fn new(base: &str, target: &Path) -> Self {
        let limits = Limits { max_path_len: Some(4096), ..Limits::default() };
        Self {
            parser: Parser::new(limits),
            buffer: Vec::new(),
            base: base.to_owned(),
            target: target.to_owned(),
            file: None,
            content: 0,
            padding: 0,
            directories: Vec::new(),
            written: 0,
            ended: false,
        }
    }

    /// Takes the next bytes of the archive.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), UnpackError> {
        while !bytes.is_empty() && !self.ended {
            if self.content > 0 {
                let taken = bytes.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
                if let Some((file, path)) = &mut self.file {
                    file.write_all(&bytes[..taken])
                        .map_err(|source| UnpackError::File { path: path.clone(), source })?;
                    self.written += taken as u64;
                }
                self.content -= taken as u64;
                bytes = &bytes[taken..];
            } else if self.padding > 0 {
                let taken = bytes.len().min(usize::try_from(self.padding).unwrap_or(usize::MAX));
                self.padding -= taken as u64;
                bytes = &bytes[taken..];
            } else {
                self.buffer.extend_from_slice(bytes);
                bytes = &[];
                self.headers()?;
            }
        }
        Ok(())
    }

    /// Reads headers from the buffer until content is due or more is needed.
    fn headers(&mut self) -> Result<(), UnpackError> {
        loop {
            self.file = None;
            let buffer = std::mem::take(&mut self.buffer);
            let damaged = |error: &dyn std::fmt::Display| UnpackError::Damaged(error.to_string());
            let consumed = match self.parser.parse(&buffer).map_err(|error| damaged(&error))? {
                ParseEvent::NeedData { .. } if buffer.len() > LONGEST_HEADERS => {
                    return Err(damaged(&"the headers of an entry are too long"));
                }
                ParseEvent::NeedData { .. } => {
                    self.buffer = buffer;
                    return Ok(());
                }
                ParseEvent::Entry { consumed, entry } => {
                    (self.content, self.padding) = (entry.size, entry.padded_size() - entry.size);
                    self.file = make(&self.target, &self.base, &entry, &mut self.directories)?;
                    consumed
                }
                ParseEvent::SparseEntry { .. } => return Err(damaged(&"it has a file with holes")),
                ParseEvent::End { .. } => {
                    self.ended = true;
                    return Ok(());
                }
                other => {
                    let ParseEvent::GlobalExtensions { consumed, .. } = other else {
                        return Err(damaged(&"it has an entry of an unknown kind"));
                    };
                    consumed
                }
            };
            let rest = buffer[consumed..].to_vec();
            if self.content > 0 || self.padding > 0 {
                return self.push(&rest);
            }
            self.buffer = rest;
        }
    }

    /// Gives directories their modes and returns how many bytes of content there were.
    pub(crate) fn finish(self) -> Result<u64, UnpackError> {
        if self.content > 0 || (!self.ended && !self.buffer.is_empty()) {
            return Err(UnpackError::Damaged("it ends in the middle of an entry".to_owned()));
        }
        // Innermost first: a directory that forbids writing would keep its own contents out.
        for (path, mode) in self.directories.iter().rev() {
            fs::set_permissions(path, Permissions::from_mode(*mode))
                .map_err(|source| UnpackError::File { path: path.clone(), source })?;
        }
        Ok(self.written)
    }
}

/// Makes an entry; a regular file is returned to be filled.
fn make(
    target: &Path,
    base: &str,
    entry: &ParsedEntry<'_>,
    directories: &mut Vec<(PathBuf, u32)>,
) -> Result<Option<(File, PathBuf)>, UnpackError> {
    let path = place(target, base, &entry.path)?;
    let failed = |source| UnpackError::File { path: path.clone(), source };
    let mode = entry.mode & 0o7777;
    match entry.entry_type {
        EntryType::Directory => {
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                result => result.map_err(failed)?,
            }
            directories.push((path.clone(), mode));
            Ok(None)
        }
        EntryType::Symlink => {
            let link = entry.link_target.as_deref().unwrap_or_default();
            replace(&path).map_err(failed)?;
            symlink(std::ffi::OsStr::from_bytes(link), &path).map_err(failed)?;
            Ok(None)
        }
        EntryType::Link => {
            let other = place(target, base, entry.link_target.as_deref().unwrap_or_default())?;
            replace(&path).map_err(failed)?;
            fs::hard_link(other, &path).map_err(failed)?;
            Ok(None)
        }
        EntryType::Regular | EntryType::Continuous => {
            replace(&path).map_err(failed)?;
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(mode & 0o777).open(&path).map_err(failed)?;
            file.set_permissions(Permissions::from_mode(mode & 0o777)).map_err(failed)?;
            Ok(Some((file, path)))
        }
        _ => Ok(None),
    }
}

/// Makes room: what was called so before is gone, a link is not followed.
fn replace(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Where an entry goes: below `target`, and through no link.
fn place(target: &Path, base: &str, name: &[u8]) -> Result<PathBuf, UnpackError> {
    let name = Path::new(std::ffi::OsStr::from_bytes(name));
    let escape = || UnpackError::Escape(name.display().to_string());
    let mut parts = Vec::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(escape()),
        }
    }
    if !base.is_empty() && parts.first().is_some_and(|first| *first == base) {
        parts.remove(0);
    }
    let mut path = target.to_owned();
    for (index, part) in parts.iter().enumerate() {
        path.push(part);
        let inner = index + 1 < parts.len();
        if inner && !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(escape());
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar_core::builder::EntryBuilder;

    fn entry(kind: EntryType, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
        let mut builder = EntryBuilder::new_ustar();
        builder
            .path(name)
            .entry_type(kind)
            .mode(0o755)
            .expect("mode")
            .size(content.len() as u64)
            .expect("size");
        if !link.is_empty() {
            builder.link_name(link);
        }
        let mut out = builder.finish_bytes();
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("berth-test-unpack-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("directory");
        path
    }

    fn unpack(archive: &[u8], base: &str, target: &Path, step: usize) -> Result<u64, String> {
        let mut unpacker = Unpacker::new(base, target);
        for piece in archive.chunks(step) {
            unpacker.push(piece).map_err(|error| error.to_string())?;
        }
        unpacker.finish().map_err(|error| error.to_string())
    }

    #[test]
    fn an_archive_is_unpacked_however_its_bytes_arrive() {
        let mut archive = [
            entry(EntryType::Directory, "d/", "", b""),
            entry(EntryType::Regular, "d/f", "", b"hello"),
            entry(EntryType::Regular, "d/empty", "", b""),
            entry(EntryType::Symlink, "d/l", "f", b""),
            entry(EntryType::Link, "d/h", "d/f", b""),
        ]
        .concat();
        archive.extend_from_slice(&[0; 1024]);
        for step in [1, 7, 512, 513, 100_000] {
            let root = directory("whole");
            let target = root.join("copy");
            assert_eq!(unpack(&archive, "d", &target, step), Ok(5), "step {step}");
            assert_eq!(fs::read(target.join("l")).expect("through the link"), b"hello");
            assert_eq!(fs::read(target.join("h")).expect("second name"), b"hello");
            assert_eq!(fs::read(target.join("empty")).expect("empty"), b"");
            fs::remove_dir_all(&root).expect("clean");
        }
    }

    #[test]
    fn an_archive_that_wants_out_is_refused() {
        let root = directory("escape");
        let check = |entries: &[Vec<u8>], name: &str| {
            let expected = format!("the daemon's archive has an entry outside of its directory: {name}");
            assert_eq!(unpack(&entries.concat(), "", &root, 512), Err(expected));
        };
        check(&[entry(EntryType::Regular, "../x", "", b"")], "../x");
        check(&[entry(EntryType::Regular, "a/../../x", "", b"")], "a/../../x");
        let link = entry(EntryType::Symlink, "out", "/tmp", b"");
        check(&[link, entry(EntryType::Regular, "out/x", "", b"evil")], "out/x");
        let cut = entry(EntryType::Regular, "f", "", b"hello");
        assert!(unpack(&cut[..514], "", &root, 512).is_err());
        assert!(unpack(&[b'x'; 1024], "", &root, 512).is_err());
        fs::remove_dir_all(&root).expect("clean");
    }
}
