//! The table of mounts that the kernel prints for a process (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, StatxFlags};

use crate::Result;
use crate::error::Named;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The mount's number, unique while it exists.
    pub id: u64,
    /// The number of the mount that it lies on.
    pub parent: u64,
    /// The directory of its file system that it shows.
    pub root: &'a str,
    /// Where it is, as the process sees it.
    pub mount_point: PathBuf,
    /// Its own flags, for example `rw,nosuid`.
    pub flags: &'a str,
    /// The type of its file system.
    pub kind: &'a str,
    /// The options of its file system.
    pub options: &'a str,
}

/// The lines of a table that make sense.
pub fn entries(table: &str) -> impl Iterator<Item = Entry<'_>> {
    table.lines().filter_map(entry)
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ');
    let (id, parent, _device) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?);
    let (root, mount_point, flags) = (fields.next()?, fields.next()?, fields.next()?);
    let mut fields = after.split(' ');
    let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Entry { id, parent, root, mount_point: PathBuf::from(unescape(mount_point)), flags, kind, options })
}

/// The number in the table of the mount that an open file is on (Linux 5.8).
pub fn id_of(fd: impl AsFd) -> Result<u64> {
    let stat = rustix::fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    Ok(stat.named(|| "statx(STATX_MNT_ID)")?.stx_mnt_id)
}

/// Replaces the octal escapes of the table (`\040` is a space).
fn unescape(field: &str) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let table = "22 1 0:20 / /pr\\040oc rw,nosuid shared:5 master:1 - proc proc rw,hidepid=2\nnonsense\n\
                     30 22 0:21 /a /b ro - tmpfs none rw\n";
        let entries: Vec<_> = entries(table).collect();
        let (mount_point, options) = (PathBuf::from("/pr oc"), "rw,hidepid=2");
        assert_eq!(
            entries[0],
            Entry { id: 22, parent: 1, root: "/", mount_point, flags: "rw,nosuid", kind: "proc", options }
        );
        assert_eq!((entries.len(), entries[1].parent, entries[1].root), (2, 22, "/a"));
    }

    #[test]
    fn an_open_file_is_on_a_mount_of_the_table() {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let id = id_of(std::fs::File::open("/proc/version").unwrap()).unwrap();
        assert!(entries(&table).any(|entry| entry.id == id && entry.kind == "proc"), "{id}");
    }
}
