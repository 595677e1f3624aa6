//! What can be done to an open file: facts, owner, mode, times, holes, durability, locks.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{FallocateFlags, FileType, FlockOperation, Gid, Mode, SeekFrom, Uid};

use crate::error::Named;
use crate::{Error, Result};

/// A moment: seconds since 1970 and nanoseconds (0 to 999 999 999) behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z; may be negative.
    pub seconds: i64,
    /// Nanoseconds behind the second.
    pub nanoseconds: u32,
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Something the kernel has no name for.
    Unknown,
}

/// The facts about an inode (stat(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permissions with set-user-ID, set-group-ID and sticky bits (12 bits).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Space taken on the disk in bytes.
    pub allocated: u64,
    /// Number of the device that the inode stands for, major and minor.
    pub device_number: (u32, u32),
    /// Number of names.
    pub links: u64,
    /// Number of the file system.
    pub file_system: u64,
    /// Number of the inode in the file system.
    pub inode: u64,
    /// When it was last read.
    pub accessed: Time,
    /// When its content was last changed.
    pub modified: Time,
    /// When the inode was last changed.
    pub changed: Time,
}

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        let time = |seconds, nanoseconds: u64| Time {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or_default(),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::Unknown => Kind::Unknown,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            allocated: u64::try_from(stat.st_blocks).unwrap_or_default() * 512,
            device_number: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
            links: stat.st_nlink,
            file_system: stat.st_dev,
            inode: stat.st_ino,
            accessed: time(stat.st_atime, stat.st_atime_nsec),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// Major and minor number of a device number as the kernel packs it (makedev(3)).
#[must_use]
pub fn device_numbers(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// How much room a file system has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The size of the file system.
    pub total: u64,
    /// What unprivileged users may still take.
    pub available: u64,
}

fn call(function: &str, fd: &impl AsFd) -> String {
    format!("{function}({})", fd.as_fd().as_raw_fd())
}

/// The facts about an open file.
pub fn stat(fd: impl AsFd) -> Result<Stat> {
    rustix::fs::fstat(&fd).map(Stat::from).named(|| call("fstat", &fd))
}

/// The type of the file system of an open file, as statfs(2) numbers them, for example [`DEVPTS`].
pub fn file_system_type(fd: impl AsFd) -> Result<i64> {
    rustix::fs::fstatfs(&fd).map(|facts| facts.f_type).named(|| call("fstatfs", &fd))
}

/// The kind of an open namespace file, one bit of [`crate::process::namespace`] (ioctl_nsfs(2)).
pub fn namespace_kind(fd: impl AsFd) -> Result<u64> {
    const NS_GET_NSTYPE: u64 = 0xb703;
    // SAFETY: the request takes no argument and answers with a number.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    u64::try_from(kind).map_err(|_| Error::last(call("ioctl(NS_GET_NSTYPE)", &fd)))
}

/// The type of devpts, the file system of terminals.
pub const DEVPTS: i64 = 0x1cd1;

/// Whether the caller may make entries in a directory.
///
/// # Errors
/// The `faccessat2` call: EACCES, EPERM or EROFS.
pub fn may_write(path: &std::path::Path) -> Result<()> {
    use rustix::fs::{Access, AtFlags, CWD};
    rustix::fs::accessat(CWD, path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .named(|| format!("faccessat2({path:?}, W_OK|X_OK, AT_EACCESS)"))
}

/// The room on the file system of an open file.
pub fn space(fd: impl AsFd) -> Result<Space> {
    let facts = rustix::fs::fstatvfs(&fd).named(|| call("fstatvfs", &fd))?;
    Ok(Space { total: facts.f_blocks * facts.f_frsize, available: facts.f_bavail * facts.f_frsize })
}

/// The names in an open directory, without `.` and `..`, in the kernel's order. The position is rewound first.
pub fn entry_names(fd: impl AsFd) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&fd).named(|| call("getdents64", &fd))? {
        let entry = entry.named(|| call("getdents64", &fd))?;
        let name: &CStr = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_bytes().to_vec());
        }
    }
    Ok(names)
}

/// Gives an open file to another owner.
pub fn set_owner(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).named(|| call("fchown", &fd))
}

/// Sets the permissions of an open file.
pub fn set_mode(fd: impl AsFd, mode: u32) -> Result<()> {
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).named(|| call("fchmod", &fd))
}

/// Sets access and modification time of an open file.
pub fn set_times(fd: impl AsFd, accessed: Time, modified: Time) -> Result<()> {
    let times = crate::at::timestamps(accessed, modified);
    rustix::fs::futimens(&fd, &times).named(|| call("futimens", &fd))
}

/// Sets the length of an open file; a longer file ends in a hole.
pub fn set_length(fd: impl AsFd, length: u64) -> Result<()> {
    rustix::fs::ftruncate(&fd, length).named(|| call("ftruncate", &fd))
}

/// Reserves disk space for a file of `length` bytes without changing its length; `false` when the file system cannot.
pub fn reserve(fd: impl AsFd, length: u64) -> Result<bool> {
    match rustix::fs::fallocate(&fd, FallocateFlags::KEEP_SIZE, 0, length) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
        Err(errno) => Err(Error::new(call("fallocate", &fd), errno.raw_os_error())),
    }
}

/// The next range of data (not a hole) at or behind `offset`, as start and end; `None` when only holes follow.
pub fn next_data(fd: impl AsFd, offset: u64) -> Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(&fd, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(Error::new(call("lseek", &fd), errno.raw_os_error())),
    };
    let end = rustix::fs::seek(&fd, SeekFrom::Hole(start)).named(|| call("lseek", &fd))?;
    Ok(Some((start, end)))
}

/// Has a file share the content of another one (FICLONE); `false` when the file systems cannot.
pub fn share_content(from: impl AsFd, to: impl AsFd) -> Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::ioctl_ficlone(&to, &from) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(Error::new(call("ioctl(FICLONE)", &to), errno.raw_os_error())),
    }
}

/// Copies a range of a file to the same place of another one, inside the kernel; the bytes copied, 0 at the end of the
/// file, `None` when the file systems cannot.
pub fn copy_range(from: impl AsFd, to: impl AsFd, offset: u64, length: u64) -> Result<Option<u64>> {
    use rustix::io::Errno;
    let (mut source, mut target) = (offset, offset);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match rustix::fs::copy_file_range(&from, Some(&mut source), &to, Some(&mut target), length) {
        Ok(copied) => Ok(Some(copied as u64)),
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::XDEV | Errno::NOSYS) => Ok(None),
        Err(errno) => Err(Error::new(call("copy_file_range", &to), errno.raw_os_error())),
    }
}

/// Makes a file's content and length durable.
pub fn sync_data(fd: impl AsFd) -> Result<()> {
    rustix::fs::fdatasync(&fd).named(|| call("fdatasync", &fd))
}

/// Makes a file, or the names in a directory, durable.
pub fn sync(fd: impl AsFd) -> Result<()> {
    rustix::fs::fsync(&fd).named(|| call("fsync", &fd))
}

/// Makes everything on the file system of an open file durable.
pub fn sync_file_system(fd: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(&fd).named(|| call("syncfs", &fd))
}

/// Starts writing a range of a file to the disk and does not wait (sync_file_range(2)); only an optimisation.
pub fn start_write_back(fd: impl AsFd, offset: u64, length: u64) -> Result<()> {
    let (offset, length) = (offset.try_into().unwrap_or(i64::MAX), length.try_into().unwrap_or(i64::MAX));
    // SAFETY: the call takes an open descriptor and three numbers; it touches no memory of ours.
    let result =
        unsafe { libc::sync_file_range(fd.as_fd().as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
    if result == 0 { Ok(()) } else { Err(Error::last(call("sync_file_range", &fd))) }
}

/// Lets the kernel forget a range of a file that it keeps in memory, as far as it is on the disk (posix_fadvise(2)); only
/// an optimisation.
pub fn forget(fd: impl AsFd, offset: u64, length: u64) -> Result<()> {
    let length = std::num::NonZeroU64::new(length);
    rustix::fs::fadvise(&fd, offset, length, rustix::fs::Advice::DontNeed)
        .named(|| call("posix_fadvise", &fd))
}

/// Takes the exclusive lock of a file for as long as its description is open; `false` when somebody else has it.
pub fn try_lock(fd: impl AsFd) -> Result<bool> {
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Error::new(call("flock", &fd), errno.raw_os_error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    fn temporary(name: &str) -> (std::path::PathBuf, File) {
        let path = std::env::temp_dir().join(format!("berth-test-{}-{name}", std::process::id()));
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        (path, file)
    }

    #[test]
    fn a_lock_is_held_by_one_description() {
        let (path, first) = temporary("file-lock");
        let second = File::open(&path).unwrap();
        assert!(try_lock(&first).unwrap());
        assert!(!try_lock(&second).unwrap());
        drop(first);
        assert!(try_lock(&second).unwrap());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn facts_follow_what_is_set() {
        let (path, mut file) = temporary("file-facts");
        file.write_all(b"hello").unwrap();
        set_mode(&file, 0o4751).unwrap();
        let time = Time { seconds: -5, nanoseconds: 123_456_789 };
        set_times(&file, time, time).unwrap();
        start_write_back(&file, 0, 5).unwrap();
        sync_data(&file).unwrap();
        let stat = stat(&file).unwrap();
        assert_eq!((stat.kind, stat.mode, stat.size, stat.modified), (Kind::File, 0o4751, 5, time));
        assert!(space(&file).unwrap().total > 0);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn holes_are_skipped() {
        let (path, file) = temporary("file-holes");
        file.write_all_at(b"end", 8 << 20).unwrap();
        set_length(&file, 16 << 20).unwrap();
        let (start, end) = next_data(&file, 0).unwrap().unwrap();
        assert!(start <= 8 << 20 && end >= (8 << 20) + 3, "{start} {end}");
        assert_eq!(next_data(&file, end).unwrap(), None);
        std::fs::remove_file(path).unwrap();
    }
}
