//! Processes addressed by descriptor, so that a number used again never means another process.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags};

use crate::error::Named;
use crate::{Error, Result};

/// A handle on one process (pidfd_open(2)); readable once the process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has this number now; `None` when there is none.
    pub fn open(pid: u32) -> Result<Option<Self>> {
        let call = || format!("pidfd_open({pid})");
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = raw.ok_or_else(|| Error::new(call(), libc::EINVAL))?;
        match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno).named(call),
        }
    }

    /// Sends a signal by its number (signal(7)), real-time signals included; `false` when the process has already been
    /// waited for.
    pub fn send(&self, signal: i32) -> Result<bool> {
        let (fd, no_info) = (self.0.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: the descriptor is open for the length of the call, and a null siginfo is allowed.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) };
        if sent == 0 {
            return Ok(true);
        }
        match Error::last(format!("pidfd_send_signal({fd}, {signal})")) {
            error if error.errno() == libc::ESRCH => Ok(false),
            error => Err(error),
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for PidFd {
    /// A pidfd that came from clone3(2) or over a socket.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_process_is_readable_and_takes_no_signal() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pidfd = PidFd::open(child.id()).unwrap().unwrap();
        assert!(pidfd.send(libc::SIGRTMAX()).unwrap());
        let ready = crate::watch::wait(
            &[(pidfd.as_fd(), crate::watch::Interest::Readable)],
            std::time::Duration::from_secs(60),
        );
        assert_eq!(ready.unwrap(), [true]);
        child.wait().unwrap();
        assert!(!pidfd.send(libc::SIGKILL).unwrap());
        assert_eq!(PidFd::open(0).unwrap_err().errno(), libc::EINVAL);
    }
}
