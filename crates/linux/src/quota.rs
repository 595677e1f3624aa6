//! Limits on the disk that a project may take (quotactl_fd(2), Linux 5.14): the calls that ext4 and XFS have in common.

use std::os::fd::{AsFd, AsRawFd};

use crate::{Error, Result};

/// A project has used so much of its limit, in bytes; a limit of 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// What may be used.
    pub limit: u64,
    /// What is used.
    pub used: u64,
}

/// `struct dqblk` (linux/quota.h).
#[repr(C)]
#[derive(Default)]
struct Block {
    hard_limit: u64,
    soft_limit: u64,
    space: u64,
    inode_hard_limit: u64,
    inode_soft_limit: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

const GET: i32 = 0x80_0007;
const SET: i32 = 0x80_0008;
/// `Q_XGETQSTATV`, which ext4 answers as well.
const STATE: i32 = ('X' as i32) << 8 | 8;
const PROJECT: i32 = 2;
/// The limits of space in a [`Block`] are meant (QIF_BLIMITS).
const LIMITS: u32 = 1;
/// Limits of projects are counted and enforced (FS_QUOTA_PDQ_ACCT, FS_QUOTA_PDQ_ENFD).
const ENFORCED: u16 = 1 << 4 | 1 << 5;
/// Bytes of a block of [`Block`]'s limits.
const UNIT: u64 = 1024;

/// What the kernel writes for [`STATE`]: a version, a byte, the flags, and more than is read here.
#[repr(C, align(8))]
struct State {
    version: i8,
    pad: u8,
    flags: u16,
    rest: [u8; 508],
}

/// # Safety
/// `data` is what `command` reads or writes.
unsafe fn quotactl<T>(fd: impl AsFd, command: i32, project: u32, data: *mut T, name: &str) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    let command = command << 8 | PROJECT;
    // SAFETY: as the caller says.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, command, project, data) };
    if done == 0 { Ok(()) } else { Err(Error::last(format!("quotactl_fd({name}, project {project})"))) }
}

/// Whether the file system of an open file holds projects to their limits.
pub fn is_enforced(fd: impl AsFd) -> bool {
    let mut state = State { version: 1, pad: 0, flags: 0, rest: [0; 508] };
    // SAFETY: the kernel writes a `struct fs_quota_statv`, which is shorter than this.
    let asked = unsafe { quotactl(fd, STATE, 0, &raw mut state, "Q_XGETQSTATV") };
    // Whatever the reason is that it does not say so, there is nothing to count on.
    asked.is_ok() && state.flags & ENFORCED == ENFORCED
}

/// What a project has used, and may use.
pub fn get(fd: impl AsFd, project: u32) -> Result<Quota> {
    let mut block = Block::default();
    // SAFETY: the kernel writes a `struct dqblk`, which this is. XFS does not know projects that nothing was ever set of.
    match unsafe { quotactl(fd, GET, project, &raw mut block, "Q_GETQUOTA") } {
        Err(error) if error.name() == Some("ENOENT") => Ok(Quota::default()),
        Err(error) => Err(error),
        Ok(()) => Ok(Quota { limit: block.hard_limit.saturating_mul(UNIT), used: block.space }),
    }
}

/// Lets a project use so many bytes, rounded up to whole KiB; 0 is without limit.
pub fn set_limit(fd: impl AsFd, project: u32, bytes: u64) -> Result<()> {
    let limit = bytes.div_ceil(UNIT);
    let mut block = Block { hard_limit: limit, soft_limit: limit, valid: LIMITS, ..Block::default() };
    // SAFETY: the kernel reads a `struct dqblk`, which this is.
    unsafe { quotactl(fd, SET, project, &raw mut block, "Q_SETQUOTA") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Block>(), 72);
        assert_eq!(size_of::<State>(), 512);
    }

    #[test]
    fn a_file_system_in_memory_without_quotas_says_so() {
        let file = std::fs::File::open("/proc").expect("/proc is mounted");
        assert!(!is_enforced(&file));
        assert!(get(&file, 1).is_err());
    }
}
