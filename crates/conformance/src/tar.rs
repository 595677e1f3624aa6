//! Writing tar archives (POSIX ustar, with pax records for long names) from memory and from directories.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const BLOCK: usize = 512;

/// What an entry is, with what only that kind has.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    File(&'a [u8]),
    Directory,
    Symlink(&'a str),
    Hardlink(&'a str),
    /// A character device.
    Device(u32, u32),
    Fifo,
}

/// Writes entries to `out`; [`Writer::finish`] ends the archive.
#[derive(Debug)]
pub(crate) struct Writer<W: Write> {
    out: W,
}

/// The numbers of an entry's header.
#[derive(Debug, Clone, Copy)]
struct Owner {
    mode: u32,
    uid: u32,
    gid: u32,
    modified: i64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds an entry owned by root, without a time.
    pub(crate) fn add(&mut self, name: &str, mode: u32, kind: &Kind<'_>) -> io::Result<()> {
        let owner = Owner { mode, uid: 0, gid: 0, modified: 0 };
        match kind {
            Kind::File(bytes) => {
                self.header(name, owner, b'0', "", bytes.len() as u64)?;
                self.data(&mut io::Cursor::new(*bytes))
            }
            Kind::Directory => self.header(&format!("{name}/"), owner, b'5', "", 0),
            Kind::Symlink(target) => self.header(name, owner, b'2', target, 0),
            Kind::Hardlink(target) => self.header(name, owner, b'1', target, 0),
            Kind::Device(major, minor) => {
                let mut header = ustar(name, owner, b'3', "", 0);
                octal(&mut header[329..337], u64::from(*major));
                octal(&mut header[337..345], u64::from(*minor));
                self.seal(header)
            }
            Kind::Fifo => self.header(name, owner, b'6', "", 0),
        }
    }

    /// Adds a header of a kind and a length that may make no sense, with what follows it.
    pub(crate) fn raw(&mut self, name: &str, kind: u8, size: u64, content: &[u8]) -> io::Result<()> {
        self.ustar(name, Owner { mode: 0o644, uid: 0, gid: 0, modified: 0 }, kind, "", size)?;
        self.data(&mut io::Cursor::new(content))
    }

    /// Adds pax records for the entry that follows (pax(1), "pax Extended Header").
    pub(crate) fn pax(&mut self, records: &[(&str, &str)]) -> io::Result<()> {
        let records: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        self.raw("pax", b'x', records.len() as u64, records.as_bytes())
    }

    /// Adds everything below `root`, with owners, modes, times and hard links. Device nodes and sockets are left
    /// out: an engine makes the ones a container needs.
    pub(crate) fn add_tree(&mut self, root: &Path) -> Result<()> {
        let mut seen = BTreeMap::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            let absolute = root.join(&directory);
            let mut names = Vec::new();
            for entry in fs::read_dir(&absolute).with_context(|| format!("read {}", absolute.display()))? {
                names.push(entry?.file_name());
            }
            names.sort();
            for name in names {
                let relative = directory.join(name);
                let is_directory = self
                    .add_path(root, &relative, &mut seen)
                    .with_context(|| format!("pack {}", root.join(&relative).display()))?;
                if is_directory {
                    pending.push(relative);
                }
            }
        }
        Ok(())
    }

    fn add_path(
        &mut self,
        root: &Path,
        relative: &Path,
        seen: &mut BTreeMap<(u64, u64), String>,
    ) -> Result<bool> {
        let absolute = root.join(relative);
        let metadata = fs::symlink_metadata(&absolute)?;
        let owner = Owner {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            modified: metadata.mtime(),
        };
        let name = relative.to_str().context("a name that is not UTF-8")?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.header(&format!("{name}/"), owner, b'5', "", 0)?;
            return Ok(true);
        }
        if kind.is_symlink() {
            let target = fs::read_link(&absolute)?;
            let target =
                std::str::from_utf8(target.as_os_str().as_bytes()).context("a link that is not UTF-8")?;
            self.header(name, owner, b'2', target, 0)?;
        } else if kind.is_file() {
            let inode = (metadata.dev(), metadata.ino());
            if let Some(first) = seen.get(&inode) {
                self.header(name, owner, b'1', first, 0)?;
                return Ok(false);
            }
            if metadata.nlink() > 1 {
                seen.insert(inode, name.to_owned());
            }
            self.header(name, owner, b'0', "", metadata.len())?;
            self.data(&mut fs::File::open(&absolute)?)?;
        } else if kind.is_fifo() {
            self.header(name, owner, b'6', "", 0)?;
        }
        Ok(false)
    }

    /// Ends the archive and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn header(&mut self, name: &str, owner: Owner, kind: u8, link: &str, size: u64) -> io::Result<()> {
        let mut records = String::new();
        if name.len() > 100 {
            records.push_str(&pax_record("path", name));
        }
        if link.len() > 100 {
            records.push_str(&pax_record("linkpath", link));
        }
        if !records.is_empty() {
            self.ustar("pax", Owner { mode: 0o644, ..owner }, b'x', "", records.len() as u64)?;
            self.data(&mut io::Cursor::new(records.as_bytes()))?;
        }
        self.ustar(name, owner, kind, link, size)
    }

    fn ustar(&mut self, name: &str, owner: Owner, kind: u8, link: &str, size: u64) -> io::Result<()> {
        self.seal(ustar(name, owner, kind, link, size))
    }

    /// Writes a header with its checksum.
    fn seal(&mut self, mut header: [u8; BLOCK]) -> io::Result<()> {
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut header[148..155], sum);
        header[154] = 0;
        self.out.write_all(&header)
    }

    fn data(&mut self, reader: &mut impl io::Read) -> io::Result<()> {
        let written = io::copy(reader, &mut self.out)?;
        let full = usize::try_from(written % BLOCK as u64).unwrap_or(0);
        if full > 0 {
            self.out.write_all(&[0; BLOCK][full..])?;
        }
        Ok(())
    }
}

fn ustar(name: &str, owner: Owner, kind: u8, link: &str, size: u64) -> [u8; BLOCK] {
    let mut header = [0u8; BLOCK];
    copy_cut(&mut header[0..100], name);
    octal(&mut header[100..108], u64::from(owner.mode));
    octal(&mut header[108..116], u64::from(owner.uid));
    octal(&mut header[116..124], u64::from(owner.gid));
    octal(&mut header[124..136], size);
    octal(&mut header[136..148], owner.modified.max(0).unsigned_abs());
    header[156] = kind;
    copy_cut(&mut header[157..257], link);
    header[257..265].copy_from_slice(b"ustar\x0000");
    header
}

fn copy_cut(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
}

/// `LENGTH key=value\n`, where the length counts its own digits.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    loop {
        let next = rest.len() + length.to_string().len();
        if next == length {
            return format!("{length}{rest}");
        }
        length = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pax_record_counts_its_own_digits() {
        assert_eq!(pax_record("path", "a"), "9 path=a\n");
        assert_eq!(pax_record("path", &"b".repeat(91)).len(), 101);
    }

    #[test]
    fn an_archive_is_whole_blocks() {
        let mut writer = Writer::new(Vec::new());
        writer.add("a", 0o644, &Kind::File(b"x")).expect("write");
        writer.add(&"n".repeat(150), 0o755, &Kind::Directory).expect("write");
        let bytes = writer.finish().expect("finish");
        assert_eq!(bytes.len(), 512 * (2 + 3 + 2));
    }
}
