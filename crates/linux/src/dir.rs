//! A directory held by file descriptor and used one name at a time, never through a symbolic link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};

use crate::error::Named;
use crate::{Error, Result};

/// An open directory.
///
/// Every name is resolved by the kernel from the descriptor (openat2(2)) and may neither leave the directory, nor
/// pass a symbolic link, nor enter another mount. The path it was opened by is kept for messages only.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry's name; entries whose names are not UTF-8 are not listed.
    pub name: String,
    /// Whether it is itself a directory.
    pub is_dir: bool,
}

impl Dir {
    /// Opens a directory by path; the last component may not be a symbolic link.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(path, flags, Mode::empty()).named(|| format!("open({path:?}, O_DIRECTORY)"))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens a directory below this one; `name` is one name or several joined by `/`.
    pub fn open_dir(&self, name: &str) -> Result<Self> {
        let fd = self.open_beneath(name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self { fd, path: self.path.join(name) })
    }

    /// A second handle on the same directory.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 3).named(|| format!("dup({:?})", self.path))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    /// The path the directory was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in this one; `false` when the name is already taken.
    pub fn make_dir(&self, name: &str, mode: u32) -> Result<bool> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.failed("mkdirat", name, errno)),
        }
    }

    /// Removes an empty directory in this one; `false` when there is none.
    pub fn remove_dir(&self, name: &str) -> Result<bool> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.failed("rmdirat", name, errno)),
        }
    }

    /// Whether an entry of this name exists.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::accessat(&self.fd, name, rustix::fs::Access::EXISTS, flags).is_ok()
    }

    /// Opens a file for reading.
    pub fn open_read(&self, name: &str) -> Result<OwnedFd> {
        self.open_beneath(name, OFlags::RDONLY)
    }

    /// Opens an existing file for writing, without truncating it.
    pub fn open_write(&self, name: &str) -> Result<OwnedFd> {
        self.open_beneath(name, OFlags::WRONLY)
    }

    /// Reads a whole file of at most `limit` bytes; a longer one is `EFBIG`.
    pub fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        self.read_open(self.open_read(name)?.as_fd(), name, limit)
    }

    /// Reads the whole of an already open file again, from its start; `name` is for messages.
    ///
    /// A control file that reports changes by POLLPRI counts them from the last reading through the same descriptor.
    pub fn read_again(&self, fd: BorrowedFd<'_>, name: &str, limit: usize) -> Result<Vec<u8>> {
        rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(0))
            .map_err(|errno| self.failed("lseek", name, errno))?;
        self.read_open(fd, name, limit)
    }

    fn read_open(&self, fd: BorrowedFd<'_>, name: &str, limit: usize) -> Result<Vec<u8>> {
        let mut content = Vec::with_capacity(limit.min(4096));
        loop {
            if content.len() == content.capacity() {
                content.reserve(4096);
            }
            match rustix::io::read(fd, rustix::buffer::spare_capacity(&mut content)) {
                Ok(0) => return Ok(content),
                Ok(_) if content.len() > limit => {
                    return Err(self.failed("read", name, rustix::io::Errno::FBIG));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.failed("read", name, errno)),
            }
        }
    }

    /// Writes to an existing file with a single write(2), as control files need it.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let fd = self.open_write(name)?;
        let errno = loop {
            match rustix::io::write(&fd, content) {
                Ok(written) if written == content.len() => return Ok(()),
                Ok(_) => break rustix::io::Errno::IO,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => break errno,
            }
        };
        let text = String::from_utf8_lossy(content);
        Err(Error::new(
            format!("write({:?}, {:?})", self.path.join(name), text.trim_end()),
            errno.raw_os_error(),
        ))
    }

    /// The entries of the directory, without `.` and `..`, in the kernel's order.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let call = || format!("getdents64({:?})", self.path);
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).named(call)? {
            let entry = entry.named(call)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name != "." && name != ".." {
                entries
                    .push(Entry { name: name.to_owned(), is_dir: entry.file_type() == FileType::Directory });
            }
        }
        Ok(entries)
    }

    /// The inode's number of hard links: for most file systems two plus the number of its subdirectories.
    pub fn link_count(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd).named(|| format!("fstat({:?})", self.path))?;
        Ok(stat.st_nlink)
    }

    /// Gives the directory itself to another owner.
    pub fn chown(&self, uid: u32, gid: u32) -> Result<()> {
        rustix::fs::fchown(&self.fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .named(|| format!("fchown({:?}, {uid}, {gid})", self.path))
    }

    /// Gives an entry to another owner; a symbolic link is not followed.
    pub fn chown_entry(&self, name: &str, uid: u32, gid: u32) -> Result<()> {
        let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(&self.fd, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.failed("fchownat", name, errno))
    }

    fn open_beneath(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.fd, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
            .map_err(|errno| self.failed("openat2", name, errno))
    }

    fn failed(&self, call: &str, name: &str, errno: rustix::io::Errno) -> Error {
        Error::new(format!("{call}({:?})", self.path.join(name)), errno.raw_os_error())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("berth-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_directory_is_made_listed_and_removed_once() {
        let path = temporary("dir-make");
        let dir = Dir::open(&path).unwrap();
        assert!(dir.make_dir("a", 0o700).unwrap());
        assert!(!dir.make_dir("a", 0o700).unwrap());
        assert_eq!(dir.entries().unwrap(), [Entry { name: "a".into(), is_dir: true }]);
        assert!(dir.remove_dir("a").unwrap());
        assert!(!dir.remove_dir("a").unwrap());
        std::fs::remove_dir(path).unwrap();
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_written_in_place() {
        let path = temporary("dir-file");
        std::fs::write(path.join("f"), "abcdef").unwrap();
        let dir = Dir::open(&path).unwrap();
        dir.write("f", b"xy").unwrap();
        assert_eq!(dir.read("f", 6).unwrap(), b"xycdef");
        let open = dir.open_read("f").unwrap();
        for _ in 0..2 {
            assert_eq!(dir.read_again(open.as_fd(), "f", 6).unwrap(), b"xycdef");
        }
        assert_eq!(dir.read("f", 5).unwrap_err().errno(), libc::EFBIG);
        assert!(dir.has("f") && !dir.has("g"));
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn neither_a_link_nor_a_parent_is_passed() {
        let path = temporary("dir-link");
        std::os::unix::fs::symlink("/etc", path.join("link")).unwrap();
        let dir = Dir::open(&path).unwrap();
        assert_eq!(dir.open_dir("link").unwrap_err().errno(), libc::ELOOP);
        assert_eq!(dir.read("link/hostname", 100).unwrap_err().errno(), libc::ELOOP);
        assert_eq!(dir.open_dir("../").unwrap_err().errno(), libc::EXDEV);
        assert_eq!(dir.open_dir("/etc").unwrap_err().errno(), libc::EXDEV);
        std::fs::remove_dir_all(path).unwrap();
    }
}
