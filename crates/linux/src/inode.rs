//! What a file system keeps of a file beside its mode: the flags of chattr(1), and the project it is counted for.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::IFlags;
use rustix::io::Errno;

use crate::error::Named;
use crate::{Error, Result};

/// Tells the file system that the directories below `dir` have nothing to do with each other (FS_TOPDIR_FL), so that ext4
/// puts each of them into a part of the disk with room, and not beside the others; `false` where there is no such flag.
pub fn spread_children(dir: impl AsFd) -> Result<bool> {
    match rustix::fs::ioctl_getflags(&dir).and_then(|flags| {
        if flags.contains(IFlags::TOPDIR) {
            return Ok(());
        }
        rustix::fs::ioctl_setflags(&dir, flags | IFlags::TOPDIR)
    }) {
        Ok(()) => Ok(true),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno).named(|| "ioctl(FS_IOC_SETFLAGS, FS_TOPDIR_FL)".to_owned()),
    }
}

/// `struct fsxattr` (linux/fs.h).
#[repr(C)]
#[derive(Default)]
struct Extended {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    rest: [u8; 8],
}

const _: () = assert!(size_of::<Extended>() == 28);

/// `_IOR('X', 31, struct fsxattr)` and `_IOW('X', 32, struct fsxattr)`.
const GET: u64 = 0x801c_581f;
const SET: u64 = 0x401c_5820;
/// What is made in a directory belongs to its project (FS_XFLAG_PROJINHERIT).
const INHERIT: u32 = 0x200;

fn extended(file: impl AsFd) -> Result<Extended> {
    let mut found = Extended::default();
    // SAFETY: the kernel fills a `struct fsxattr`, which this is.
    let done = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), GET, &raw mut found) };
    if done == 0 { Ok(found) } else { Err(Error::last("ioctl(FS_IOC_FSGETXATTR)")) }
}

/// The project that a file is counted for; 0 is none.
pub fn project(file: impl AsFd) -> Result<u32> {
    extended(file).map(|found| found.project)
}

/// Counts a directory, and what will be made in it, for a project.
pub fn set_project(dir: impl AsFd, project: u32) -> Result<()> {
    let mut wanted = extended(&dir)?;
    wanted.project = project;
    wanted.flags |= INHERIT;
    // SAFETY: the kernel reads a `struct fsxattr`, which this is.
    let done = unsafe { libc::ioctl(dir.as_fd().as_raw_fd(), SET, &raw const wanted) };
    if done == 0 { Ok(()) } else { Err(Error::last(format!("ioctl(FS_IOC_FSSETXATTR, project {project})"))) }
}
