//! The table of open descriptors (close_range(2), fcntl(2)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::Named;
use crate::{Error, Result};

/// Closes every descriptor but 0, 1 and 2: what a careless starter left open. The first call of a process, if at all:
/// what the process has opened itself by then is closed as well.
pub fn close_inherited() -> Result<()> {
    // SAFETY: closes descriptors that nobody in this process has been given yet, as the documentation demands.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(Error::last("close_range(3, ~0, 0)")) }
}

/// Closes every descriptor from `first` on but those to keep.
///
/// Only for a process that is a copy of its maker and about to run another program: whatever else still owns one of the
/// closed descriptors must never be used or dropped.
pub fn close_all_but(first: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    let mut from = first;
    for number in kept.iter().copied().chain([u32::MAX]) {
        let to = if number == u32::MAX { u32::MAX } else { number.saturating_sub(1) };
        if from <= to {
            // SAFETY: the documentation demands that nobody uses the descriptors any more.
            let done = unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
            if done != 0 {
                return Err(Error::last(format!("close_range({from}, {to}, 0)")));
            }
        }
        from = number.saturating_add(1);
    }
    Ok(())
}

/// Makes reads and writes answer "not now" instead of waiting, for everybody who shares the open file.
pub fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd).named(|| "fcntl(F_GETFL)")?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).named(|| "fcntl(F_SETFL, O_NONBLOCK)")
}

/// What a non-blocking descriptor had for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The end: no writer is left. For a terminal: nobody has its other end open.
    End,
}

/// Reads what is there now, at most `bytes.len()` bytes.
pub fn read(fd: impl AsFd, bytes: &mut [u8]) -> Result<Read> {
    let length = bytes.len();
    loop {
        match rustix::io::read(&fd, &mut *bytes) {
            Ok(0) => return Ok(Read::End),
            Ok(count) => return Ok(Read::Bytes(count)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Read::Nothing),
            // What Linux says at the controlling end of a terminal whose other end is closed.
            Err(Errno::IO) => return Ok(Read::End),
            Err(errno) => return Err(errno).named(|| format!("read({length} bytes)")),
        }
    }
}

/// Writes what fits now; the number of bytes written, 0 when none fits.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
    loop {
        match rustix::io::write(&fd, bytes) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(errno) => return Err(errno).named(|| format!("write({} bytes)", bytes.len())),
        }
    }
}

/// Lets a pipe hold at least `bytes`; what it holds then. Less than is in it, or more than is allowed, is refused.
pub fn set_pipe_capacity(pipe: impl AsFd, bytes: usize) -> Result<usize> {
    let set = rustix::pipe::fcntl_setpipe_size(&pipe, bytes);
    set.named(|| format!("fcntl(F_SETPIPE_SZ, {bytes})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_can_hold_more_and_less() {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        assert_eq!(set_pipe_capacity(&reader, 256 * 1024), Ok(256 * 1024));
        std::io::Write::write_all(&mut writer, &[1; 100 * 1024]).expect("it holds that");
        set_pipe_capacity(&reader, 64 * 1024).expect_err("more is in it");
    }

    #[test]
    fn a_pipe_says_nothing_bytes_and_end() {
        let (reader, writer) = std::io::pipe().expect("pipe");
        set_nonblocking(&reader).expect("fcntl");
        set_nonblocking(&writer).expect("fcntl");
        let mut bytes = [0; 8];
        assert_eq!(read(&reader, &mut bytes), Ok(Read::Nothing));
        assert_eq!(write(&writer, b"abc"), Ok(3));
        assert_eq!(read(&reader, &mut bytes), Ok(Read::Bytes(3)));
        let mut total = 0;
        while let count @ 1.. = write(&writer, &[0; 5000]).expect("write") {
            total += count;
        }
        assert!(total >= 4096, "{total}");
        drop(reader);
        assert_eq!(write(&writer, b"x").map_err(|error| error.errno()), Err(libc::EPIPE));
        let (reader, _) = std::io::pipe().expect("pipe");
        assert_eq!(read(&reader, &mut bytes), Ok(Read::End));
    }
}
