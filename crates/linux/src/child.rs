//! Processes this process is responsible for: reaping them, and inheriting orphans (waitid(2), prctl(2), setsid(2)).

use rustix::process::{WaitId, WaitIdOptions};

use crate::error::Named;
use crate::{Error, Result};

/// A child that has ended and has been reaped: its number is free for others from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The number it had.
    pub pid: u32,
    /// How it ended.
    pub how: How,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It exited with this status, 0 to 255.
    Exited(i32),
    /// This signal (signal(7)) ended it.
    Signalled(i32),
}

/// Reaps one child that has ended, an adopted orphan included; `None` when none has.
pub fn reap() -> Result<Option<Ended>> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: the kernel fills in `info`, or leaves it zeroed when no child has ended.
        let result =
            unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), libc::WEXITED | libc::WNOHANG) };
        if result == 0 {
            break;
        }
        match Error::last("waitid(P_ALL, WEXITED|WNOHANG)") {
            error if error.errno() == libc::EINTR => {}
            error if error.errno() == libc::ECHILD => return Ok(None),
            error => return Err(error),
        }
    }
    // SAFETY: zeroed and then written by the kernel: every field is initialised, and these two belong to SIGCHLD.
    let (info, pid, status) = unsafe {
        let info = info.assume_init();
        (info, info.si_pid(), info.si_status())
    };
    match u32::try_from(pid) {
        Ok(0) | Err(_) => Ok(None),
        Ok(pid) if info.si_code == libc::CLD_EXITED => Ok(Some(Ended { pid, how: How::Exited(status) })),
        Ok(pid) => Ok(Some(Ended { pid, how: How::Signalled(status) })),
    }
}

/// Waits for the child behind a pidfd and reaps it; `None` when it is not our child, or was reaped before.
pub fn wait(pidfd: impl std::os::fd::AsFd) -> Result<Option<How>> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                let exited = status.exit_status().map(How::Exited);
                return Ok(exited.or(status.terminating_signal().map(How::Signalled)));
            }
            Ok(None) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => return Ok(None),
            Err(errno) => return Err(errno).named(|| "waitid(P_PIDFD, WEXITED)"),
        }
    }
}

/// From now on orphans below this process become its children instead of init's (PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() -> Result<()> {
    // Any process id says "yes" to the kernel; only zero says "no".
    let yes = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(yes)).named(|| "prctl(PR_SET_CHILD_SUBREAPER, 1)")
}

/// Starts a session of its own, without a controlling terminal. Fails for the leader of a process group.
pub fn own_session() -> Result<()> {
    rustix::process::setsid().named(|| "setsid()")?;
    Ok(())
}

/// Sends a signal to a process group (kill(2) with a negative number); `false` when it has no process any more.
///
/// The number is certain only while the group's leader has not been waited for.
pub fn signal_group(leader: u32, signal: i32) -> Result<bool> {
    let call = || format!("kill(-{leader}, {signal})");
    let invalid = || Error::new(call(), libc::EINVAL);
    let group = i32::try_from(leader).ok().and_then(rustix::process::Pid::from_raw).ok_or_else(invalid)?;
    let signal = rustix::process::Signal::from_named_raw(signal).ok_or_else(invalid)?;
    match rustix::process::kill_process_group(group, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(errno) => Err(errno).named(call),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pidfd::PidFd;
    use std::process::Command;

    #[test]
    fn an_ended_child_is_reaped_once() {
        for (script, expected) in
            [("exit 7", How::Exited(7)), ("kill -TERM $$", How::Signalled(libc::SIGTERM))]
        {
            let mut child = Command::new("sh").args(["-c", script]).spawn().expect("sh");
            let pidfd = PidFd::open(child.id()).expect("pidfd").expect("our own child");
            assert_eq!(wait(&pidfd), Ok(Some(expected)));
            assert_eq!(wait(&pidfd), Ok(None));
            assert!(child.wait().is_err());
        }
    }
}
