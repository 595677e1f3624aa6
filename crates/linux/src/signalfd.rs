//! Signals as something to read (signalfd(2)) instead of something that interrupts.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::{Error, Result};

/// A descriptor that is readable while one of its signals is pending; close-on-exec and non-blocking.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` (numbers of signal(7)) for this thread and delivers them here from now on.
    ///
    /// The blocked mask is inherited by programs that this process starts: whoever starts one resets it.
    pub fn block(signals: &[i32]) -> Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `set` is a valid place for a signal set, and sigemptyset initialises all of it.
        let mut set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        };
        for signal in signals {
            // SAFETY: `set` is an initialised signal set.
            if unsafe { libc::sigaddset(&raw mut set, *signal) } != 0 {
                return Err(Error::last(format!("sigaddset({signal})")));
            }
        }
        // SAFETY: `set` is an initialised signal set; the old mask is not asked for.
        let errno = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
        if errno != 0 {
            return Err(Error::new(format!("rt_sigprocmask(SIG_BLOCK, {signals:?})"), errno));
        }
        // SAFETY: `set` is an initialised signal set; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(Error::last(format!("signalfd4(-1, {signals:?}, SFD_CLOEXEC|SFD_NONBLOCK)")));
        }
        // SAFETY: the call has just made this descriptor, and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes the next pending signal: its number; `None` when none is pending.
    pub fn take(&self) -> Result<Option<i32>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        loop {
            // SAFETY: the buffer is as long as `size` says, and the kernel writes whole records only.
            let count = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
            if usize::try_from(count) == Ok(size) {
                // SAFETY: the kernel filled the whole record.
                let number = unsafe { info.assume_init() }.ssi_signo;
                return Ok(i32::try_from(number).ok());
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Ok(None),
                _ => return Err(Error::last("read(signalfd)")),
            }
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_once() {
        let signals = SignalFd::block(&[libc::SIGUSR2]).expect("signalfd");
        assert_eq!(signals.take(), Ok(None));
        // SAFETY: sends a blocked signal to this thread.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
        assert_eq!(signals.take(), Ok(Some(libc::SIGUSR2)));
        assert_eq!(signals.take(), Ok(None));
    }
}
