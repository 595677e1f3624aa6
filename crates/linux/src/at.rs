//! One name below an open directory: made, looked at, linked, moved and removed. Symbolic links are never followed.
//!
//! Names are bytes, as the kernel has them. They must be single components; what consists of several is resolved by
//! [`crate::resolve`] first.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid};

use crate::error::Named;
use crate::file::{Stat, Time};
use crate::{Error, Result};

/// What mknod(2) makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A character device with its number.
    CharDevice(u32, u32),
    /// A block device with its number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket without an owner.
    Socket,
}

fn show(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}

fn call(function: &str, name: &[u8]) -> String {
    format!("{function}({})", show(name))
}

/// Creates a regular file that must not exist yet, for writing.
pub fn create(dir: impl AsFd, name: &[u8], mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))
        .named(|| format!("openat({}, O_CREAT|O_EXCL)", show(name)))
}

/// Opens a regular file for reading; what is not a regular file does not block and can be told by fstat(2).
pub fn open_read(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).named(|| call("openat", name))
}

/// Opens an existing regular file, or makes it, for writing at its end.
pub fn open_append(dir: impl AsFd, name: &[u8], mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))
        .named(|| format!("openat({}, O_CREAT|O_APPEND)", show(name)))
}

/// Opens a directory for reading its entries and as the base of further names.
pub fn open_dir(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
        .named(|| format!("openat({}, O_DIRECTORY)", show(name)))
}

/// Opens anything as a handle that allows no reading (O_PATH); a symbolic link is opened itself.
pub fn open_handle(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty()).named(|| format!("openat({}, O_PATH)", show(name)))
}

/// Makes a directory; `false` when the name is taken.
pub fn make_dir(dir: impl AsFd, name: &[u8], mode: u32) -> Result<bool> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(mode)) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(errno) => Err(Error::new(call("mkdirat", name), errno.raw_os_error())),
    }
}

/// Makes a symbolic link called `name` that says `target`.
pub fn symlink(target: &[u8], dir: impl AsFd, name: &[u8]) -> Result<()> {
    rustix::fs::symlinkat(target, dir, name).named(|| format!("symlinkat({}, {})", show(target), show(name)))
}

/// Makes a second name for what `old` is called; a symbolic link is linked itself.
pub fn hard_link(old_dir: impl AsFd, old: &[u8], new_dir: impl AsFd, new: &[u8]) -> Result<()> {
    rustix::fs::linkat(old_dir, old, new_dir, new, AtFlags::empty())
        .named(|| format!("linkat({}, {})", show(old), show(new)))
}

/// Makes a device, a pipe or a socket.
pub fn make_node(dir: impl AsFd, name: &[u8], node: Node, mode: u32) -> Result<()> {
    let (kind, device) = match node {
        Node::CharDevice(major, minor) => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
        Node::BlockDevice(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
        Node::Fifo => (FileType::Fifo, 0),
        Node::Socket => (FileType::Socket, 0),
    };
    rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(mode), device)
        .named(|| format!("mknodat({}, {node:?})", show(name)))
}

/// What a symbolic link says.
pub fn read_link(dir: impl AsFd, name: &[u8]) -> Result<Vec<u8>> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new()).named(|| call("readlinkat", name))?;
    Ok(target.into_bytes())
}

/// The facts about a name; `None` when there is none.
pub fn stat(dir: impl AsFd, name: &[u8]) -> Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Stat::from(stat))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::new(call("fstatat", name), errno.raw_os_error())),
    }
}

/// Removes anything but a directory; `false` when there is none.
pub fn unlink(dir: impl AsFd, name: &[u8]) -> Result<bool> {
    remove(dir, name, AtFlags::empty())
}

/// Removes an empty directory; `false` when there is none.
pub fn remove_dir(dir: impl AsFd, name: &[u8]) -> Result<bool> {
    remove(dir, name, AtFlags::REMOVEDIR)
}

fn remove(dir: impl AsFd, name: &[u8], flags: AtFlags) -> Result<bool> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(Error::new(call("unlinkat", name), errno.raw_os_error())),
    }
}

/// Removes a name and, when it is a directory, everything below it; other mounts are not entered (`EBUSY`).
/// `false` when there is none.
pub fn remove_tree(dir: impl AsFd, name: &[u8]) -> Result<bool> {
    let dir = dir.as_fd();
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) => return Ok(true),
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        Err(errno) => return Err(Error::new(call("unlinkat", name), errno.raw_os_error())),
    }
    // One open directory per level, without recursion: the depth of a hostile tree is bounded by memory, not by stack.
    let mut levels: Vec<(OwnedFd, Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
    let top = open_dir(dir, name)?;
    let names = crate::file::entry_names(&top)?;
    levels.push((top, name.to_vec(), names));
    while let Some((fd, _, names)) = levels.last_mut() {
        let Some(entry) = names.pop() else {
            let Some((_, done, _)) = levels.pop() else { break };
            match levels.last() {
                Some((parent, _, _)) => remove_dir(parent, &done)?,
                None => remove_dir(dir, &done)?,
            };
            continue;
        };
        match rustix::fs::unlinkat(&*fd, &entry, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {
                let below = open_dir(&*fd, &entry)?;
                let names = crate::file::entry_names(&below)?;
                levels.push((below, entry, names));
            }
            Err(errno) => return Err(Error::new(call("unlinkat", &entry), errno.raw_os_error())),
        }
    }
    Ok(true)
}

/// Renames, replacing what the new name meant.
pub fn rename(old_dir: impl AsFd, old: &[u8], new_dir: impl AsFd, new: &[u8]) -> Result<()> {
    rustix::fs::renameat(old_dir, old, new_dir, new)
        .named(|| format!("renameat({}, {})", show(old), show(new)))
}

/// Renames unless the new name is taken; `false` when it is.
pub fn rename_new(old_dir: impl AsFd, old: &[u8], new_dir: impl AsFd, new: &[u8]) -> Result<bool> {
    match rustix::fs::renameat_with(old_dir, old, new_dir, new, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(errno) => Err(Error::new(
            format!("renameat2({}, {}, RENAME_NOREPLACE)", show(old), show(new)),
            errno.raw_os_error(),
        )),
    }
}

/// Gives a name to another owner.
pub fn set_owner(dir: impl AsFd, name: &[u8], uid: u32, gid: u32) -> Result<()> {
    let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(dir, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
        .named(|| format!("fchownat({}, {uid}, {gid})", show(name)))
}

/// Sets the permissions of a name; a symbolic link is refused (`ELOOP`), also one that takes the name's place meanwhile.
pub fn set_mode(dir: impl AsFd, name: &[u8], mode: u32) -> Result<()> {
    let call = || format!("fchmodat({}, {mode:#o}, AT_SYMLINK_NOFOLLOW)", show(name));
    let handle = open_handle(dir, name)?;
    if crate::file::stat(&handle)?.kind == crate::file::Kind::Symlink {
        return Err(Error::new(call(), libc::ELOOP));
    }
    // A handle has no chmod(2) of its own before Linux 6.6: its link below /proc leads to the inode and nowhere else.
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::chmod(link, Mode::from_raw_mode(mode)).named(call)
}

/// Sets access and modification time of a name.
pub fn set_times(dir: impl AsFd, name: &[u8], accessed: Time, modified: Time) -> Result<()> {
    let times = timestamps(accessed, modified);
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).named(|| call("utimensat", name))
}

pub(crate) fn timestamps(accessed: Time, modified: Time) -> Timestamps {
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
    Timestamps { last_access: spec(accessed), last_modification: spec(modified) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn temporary(name: &str) -> (PathBuf, OwnedFd) {
        let path = std::env::temp_dir().join(format!("berth-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let fd = std::fs::File::open(&path).unwrap().into();
        (path, fd)
    }

    #[test]
    fn a_deep_tree_with_links_is_removed_and_nothing_outside() {
        let (path, fd) = temporary("at-remove");
        std::fs::write(path.join("outside"), "kept").unwrap();
        let mut deep = path.join("tree");
        for _ in 0..300 {
            std::fs::create_dir(&deep).unwrap();
            std::fs::write(deep.join("f"), "x").unwrap();
            deep.push("d");
        }
        std::os::unix::fs::symlink("..", path.join("tree/up")).unwrap();
        assert!(remove_tree(&fd, b"tree").unwrap());
        assert!(!remove_tree(&fd, b"tree").unwrap());
        assert_eq!(std::fs::read_to_string(path.join("outside")).unwrap(), "kept");
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn names_are_made_linked_moved_and_looked_at() {
        let (path, fd) = temporary("at-names");
        drop(create(&fd, b"f", 0o600).unwrap());
        assert_eq!(create(&fd, b"f", 0o600).unwrap_err().name(), Some("EEXIST"));
        hard_link(&fd, b"f", &fd, b"g").unwrap();
        assert_eq!(stat(&fd, b"g").unwrap().unwrap().links, 2);
        assert!(!rename_new(&fd, b"f", &fd, b"g").unwrap());
        assert!(rename_new(&fd, b"f", &fd, b"h").unwrap());
        symlink(b"/etc/passwd", &fd, b"s").unwrap();
        assert_eq!(read_link(&fd, b"s").unwrap(), b"/etc/passwd");
        assert_eq!(open_read(&fd, b"s").unwrap_err().name(), Some("ELOOP"));
        let time = Time { seconds: 1_000_000_007, nanoseconds: 9 };
        set_times(&fd, b"s", time, time).unwrap();
        assert_eq!(set_mode(&fd, b"s", 0o777).unwrap_err().name(), Some("ELOOP"));
        set_mode(&fd, b"h", 0o640).unwrap();
        assert_eq!(stat(&fd, b"h").unwrap().unwrap().mode, 0o640);
        assert_eq!(stat(&fd, b"s").unwrap().unwrap().modified, time);
        make_node(&fd, b"p", Node::Fifo, 0o640).unwrap();
        assert_eq!(stat(&fd, b"missing").unwrap(), None);
        assert!(unlink(&fd, b"p").unwrap() && !unlink(&fd, b"p").unwrap());
        std::fs::remove_dir_all(path).unwrap();
    }
}
