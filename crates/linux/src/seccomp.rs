//! Filters of system calls: loaded into the kernel for the calling thread (seccomp(2)).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::{Error, Result};

/// One instruction of a filter (`struct sock_filter`, bpf(4) as of BSD).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// The constant operand.
    pub constant: u32,
}

/// How a filter is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Load it for every thread of the process (SECCOMP_FILTER_FLAG_TSYNC).
    pub all_threads: bool,
    /// Log every action but "allow" (SECCOMP_FILTER_FLAG_LOG).
    pub log: bool,
    /// Leave speculative store bypass alone (SECCOMP_FILTER_FLAG_SPEC_ALLOW).
    pub speculation: bool,
    /// A notified process that was received waits through all but fatal signals
    /// (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV); only together with a listener.
    pub wait_killable: bool,
    /// Make a descriptor that is told of system calls (SECCOMP_FILTER_FLAG_NEW_LISTENER).
    pub listener: bool,
}

const SET_MODE_FILTER: libc::c_uint = 1;
const TSYNC: libc::c_uint = 1;
const LOG: libc::c_uint = 1 << 1;
const SPEC_ALLOW: libc::c_uint = 1 << 2;
const NEW_LISTENER: libc::c_uint = 1 << 3;
const TSYNC_ESRCH: libc::c_uint = 1 << 4;
const WAIT_KILLABLE_RECV: libc::c_uint = 1 << 5;

impl Flags {
    /// The bits of seccomp(2).
    #[must_use]
    pub fn bits(self) -> u32 {
        let pairs = [
            (self.all_threads, TSYNC),
            (self.log, LOG),
            (self.speculation, SPEC_ALLOW),
            (self.wait_killable && self.listener, WAIT_KILLABLE_RECV),
            (self.listener, NEW_LISTENER),
            // Both answer with a number: an error then has to be told apart from a descriptor.
            (self.all_threads && self.listener, TSYNC_ESRCH),
        ];
        pairs.into_iter().filter(|(set, _)| *set).fold(0, |bits, (_, bit)| bits | bit)
    }
}

/// Loads a filter for the calling thread, on top of those it has, for good; gives the listener when one was asked for.
///
/// The thread needs CAP_SYS_ADMIN in its user namespace, or no_new_privs (prctl(2)).
pub fn load(program: &[Instruction], flags: Flags) -> Result<Option<OwnedFd>> {
    let bits = flags.bits();
    let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {bits:#x}, {} instructions)", program.len());
    let length = u16::try_from(program.len()).map_err(|_| Error::new(call(), libc::EINVAL))?;
    let program =
        libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: `Instruction` has the layout of sock_filter, the array lives until the call returns, and the kernel only
    // reads and copies it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, bits, &raw const program) };
    match i32::try_from(result) {
        // SAFETY: with a listener asked for, success is a new descriptor that nobody else owns.
        Ok(fd) if fd >= 0 && flags.listener => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Ok(0) => Ok(None),
        // TSYNC without a listener answers with the thread that could not follow.
        Ok(thread) if thread > 0 => Err(Error::new(format!("{} for thread {thread}", call()), libc::ESRCH)),
        _ => Err(Error::last(call())),
    }
}

/// Whether the kernel knows these flags: it checks them before it looks at the filter.
#[must_use]
pub fn supports(flags: Flags) -> bool {
    let nowhere = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: a null program is allowed and answered with EFAULT once the flags are accepted.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags.bits(), nowhere) };
    result == -1 && Error::last("").errno() == libc::EFAULT
}

/// Whether the kernel knows an action (the upper half of a filter's answer, SECCOMP_RET_*).
#[must_use]
pub fn knows_action(action: u32) -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    // SAFETY: the kernel reads one word, which lives until the call returns.
    unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// One system call that a filter handed over to a listener (`struct seccomp_notif`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Names the notification in the answer.
    pub id: u64,
    /// The thread that made the call, as a number in the listener's pid namespace.
    pub pid: u32,
    /// The call's number.
    pub number: i32,
    /// The architecture it was made for (AUDIT_ARCH_*).
    pub architecture: u32,
    /// The arguments.
    pub arguments: [u64; 6],
}

/// What a listener answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The call fails with this error number.
    Error(i32),
    /// The call returns this value, without having been made.
    Value(i64),
    /// The call is made after all. Never a decision about safety: arguments in memory may change in between.
    Continue,
}

/// Waits for the next notification (SECCOMP_IOCTL_NOTIF_RECV).
pub fn receive(listener: &OwnedFd) -> Result<Notification> {
    #[repr(C)]
    #[derive(Default)]
    struct Raw {
        id: u64,
        pid: u32,
        flags: u32,
        number: i32,
        architecture: u32,
        instruction_pointer: u64,
        arguments: [u64; 6],
    }
    const RECV: libc::Ioctl = 0xc050_2100;
    let mut raw = Raw::default();
    // SAFETY: the request's size is that of `Raw`, which is zeroed as the kernel asks and exclusively ours.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), RECV, &raw mut raw) };
    if result != 0 {
        return Err(Error::last("ioctl(SECCOMP_IOCTL_NOTIF_RECV)"));
    }
    let Raw { id, pid, number, architecture, arguments, .. } = raw;
    Ok(Notification { id, pid, number, architecture, arguments })
}

/// Answers a notification (SECCOMP_IOCTL_NOTIF_SEND).
pub fn respond(listener: &OwnedFd, id: u64, answer: Answer) -> Result<()> {
    #[repr(C)]
    struct Raw {
        id: u64,
        value: i64,
        error: i32,
        flags: u32,
    }
    const SEND: libc::Ioctl = 0xc018_2101;
    const CONTINUE: u32 = 1;
    let (value, error, flags) = match answer {
        Answer::Error(errno) => (0, -errno, 0),
        Answer::Value(value) => (value, 0, 0),
        Answer::Continue => (0, 0, CONTINUE),
    };
    let mut raw = Raw { id, value, error, flags };
    // SAFETY: the request's size is that of `Raw`, which lives until the call returns.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut raw) };
    if result != 0 {
        return Err(Error::last(format!("ioctl(SECCOMP_IOCTL_NOTIF_SEND, {answer:?})")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_this_kernel_are_known() {
        assert!(supports(Flags { log: true, speculation: true, ..Flags::default() }));
        assert!(knows_action(0x7fff_0000));
        assert!(!knows_action(0x1234_0000));
    }

    #[test]
    fn flags_that_need_each_other_come_together() {
        assert_eq!(Flags::default().bits(), 0);
        assert_eq!(Flags { wait_killable: true, ..Flags::default() }.bits(), 0);
        let all =
            Flags { all_threads: true, log: true, speculation: true, wait_killable: true, listener: true };
        assert_eq!(all.bits(), 0x3f);
    }
}
