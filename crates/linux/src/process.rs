//! Making, joining and ending processes: clone3(2), setns(2), execve(2).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::{Error, Result};

/// Kinds of namespaces, as clone3(2) and setns(2) number them.
pub mod namespace {
    /// Mount table.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Root of the control groups.
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// Host name.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// System V IPC and POSIX message queues.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// User and group ids.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// Process ids.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// Network.
    pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;
    /// Offsets of clocks.
    pub const TIME: u64 = 0x80;
}

/// clone3(2): the libc crate's constant does not hold the number.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A process that was just made.
#[derive(Debug)]
pub struct Child {
    /// Its number in the caller's pid namespace.
    pub pid: u32,
    /// A handle on it.
    pub pidfd: OwnedFd,
}

/// Makes descriptor `number` a copy of `fd` that survives execve(2).
pub fn place(fd: impl AsFd, number: i32) -> Result<()> {
    let from = fd.as_fd().as_raw_fd();
    let call = || format!("dup3({from}, {number})");
    // The caller names a number whose present owner, if any, it gives up; only done just before execve.
    let done = if from == number {
        // SAFETY: only the flag of a descriptor changes.
        unsafe { libc::fcntl(from, libc::F_SETFD, 0) }
    } else {
        // SAFETY: as above.
        unsafe { libc::dup3(from, number, 0) }
    };
    if done < 0 { Err(Error::last(call())) } else { Ok(()) }
}

/// The descriptor of that number, when it is open, as one of our own; it then closes on exec.
#[must_use]
pub fn inherited(number: i32) -> Option<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC makes a new descriptor, or fails when `number` is not open.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: the copy is new and nobody else owns it.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Microseconds of the clock that never jumps (CLOCK_MONOTONIC), as service managers count.
#[must_use]
pub fn monotonic_usec() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000 + nanos.unwrap_or(0) / 1000
}

/// Makes a child in new `namespaces` (a set of [`namespace`] bits), inside the cgroup v2 directory `cgroup` when one is
/// given. The child runs `body` on a copy of the caller's memory and ends with the code that it returns.
///
/// Only sound in a process with one thread, as after fork(2); the callers are the small processes that make containers.
pub fn clone_into(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> Result<Child> {
    clone_with(namespaces, libc::SIGCHLD as u64, cgroup, body)
}

/// The same, but the new process is a child of the caller's parent, which waits for it as for its own.
pub fn clone_sibling_into(
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> Result<Child> {
    // Its parent gets the signal that it gets for the caller: clone3 wants none to be named.
    clone_with(namespaces | libc::CLONE_PARENT as u64, 0, cgroup, body)
}

fn clone_with(
    flags: u64,
    exit_signal: u64,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> Result<Child> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain data for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = exit_signal;
    if let Some(directory) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = directory.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM this is fork(2): the child has its own memory and a copy of the stack it returns on.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        0 => {
            let code = body();
            exit(code)
        }
        1.. => {
            // SAFETY: CLONE_PIDFD stored a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: u32::try_from(pid).unwrap_or_default(), pidfd })
        }
        _ => Err(Error::last(format!("clone3({{flags={:#x}}})", args.flags))),
    }
}

/// Makes a child in the caller's namespaces, which runs `body` on a copy of the caller's memory.
///
/// clone(2), for those who stand under a filter of system calls: such a filter cannot look into the argument of
/// clone3(2), and refuses it whole. Sound under the same condition as [`clone_into`].
pub fn fork(body: impl FnOnce() -> i32) -> Result<Child> {
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and without a stack this is fork(2); with CLONE_PIDFD the third argument is where the
    // kernel stores the new descriptor.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone, flags as libc::c_ulong, 0_usize, &raw mut pidfd, 0_usize, 0_usize)
    };
    match pid {
        0 => {
            let code = body();
            exit(code)
        }
        1.. => {
            // SAFETY: CLONE_PIDFD stored a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: u32::try_from(pid).unwrap_or_default(), pidfd })
        }
        _ => Err(Error::last(format!("clone({{flags={flags:#x}}})"))),
    }
}

/// Ends the process without running anything of the standard library or of C.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit takes any number and does not return.
    unsafe { libc::_exit(code) }
}

/// Joins the namespace that `target` is (a file of a namespace, of this one `kind`), or, when `target` is a pidfd, all
/// the `kind`s of that process at once.
pub fn set_namespace(target: impl AsFd, kind: u64) -> Result<()> {
    let fd = target.as_fd().as_raw_fd();
    // SAFETY: plain numbers.
    match unsafe { libc::setns(fd, kind as libc::c_int) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("setns({fd}, {kind:#x})"))),
    }
}

/// Leaves the namespaces of these kinds for new ones (of the children, for pid and time).
pub fn unshare(kinds: u64) -> Result<()> {
    // SAFETY: plain numbers.
    match unsafe { libc::unshare(kinds as libc::c_int) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("unshare({kinds:#x})"))),
    }
}

/// Arguments or an environment for execve(2).
#[derive(Debug)]
pub struct Strings {
    owned: Vec<CString>,
}

impl Strings {
    /// `None` when one of the strings contains a zero byte.
    #[must_use]
    pub fn new<'a>(strings: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let owned = strings.into_iter().map(CString::new).collect::<std::result::Result<_, _>>().ok()?;
        Some(Self { owned })
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        self.owned.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    }
}

/// Replaces the program of the process; returns only when that failed.
pub fn execute(path: &CStr, arguments: &Strings, environment: &Strings) -> Error {
    let (argv, envp) = (arguments.pointers(), environment.pointers());
    // SAFETY: both are arrays of C strings that end with a null pointer and live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Error::last(format!("execve({path:?})"))
}

/// Replaces the program of the process by the one that is open; returns only when that failed.
pub fn execute_file(file: impl AsFd, arguments: &Strings, environment: &Strings) -> Error {
    let (argv, envp) = (arguments.pointers(), environment.pointers());
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: as in `execute`; the empty path with AT_EMPTY_PATH names the open file.
    unsafe {
        libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), argv.as_ptr(), envp.as_ptr(), libc::AT_EMPTY_PATH)
    };
    Error::last(format!("execveat({fd}, \"\", AT_EMPTY_PATH)"))
}

/// Sets close-on-exec on every descriptor from `first` on.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: only flags of descriptors change.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match done {
        0 => Ok(()),
        _ => Err(Error::last(format!("close_range({first}, ~0, CLOSE_RANGE_CLOEXEC)"))),
    }
}

/// The number of the calling process.
#[must_use]
pub fn own_pid() -> u32 {
    std::process::id()
}

/// Makes a terminal the controlling one of the calling session leader.
pub fn set_controlling_terminal(terminal: impl AsFd) -> Result<()> {
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCSCTTY takes a number.
    match unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("ioctl({fd}, TIOCSCTTY)"))),
    }
}

/// Makes the calling process the leader of a group of its own, and that the foreground group of its terminal, if it has one.
pub fn foreground_group() -> Result<()> {
    // SAFETY: plain numbers; the group is the caller's own.
    let (grouped, group) = unsafe { (libc::setpgid(0, 0), libc::getpgrp()) };
    if grouped != 0 {
        return Err(Error::last("setpgid(0, 0)"));
    }
    // SAFETY: a descriptor and a number. SIGTTOU, which the kernel would send, is blocked or ignored by callers; without
    // a controlling terminal nothing happens.
    unsafe { libc::tcsetpgrp(0, group) };
    Ok(())
}

/// Restores what a program expects of its signals: nothing blocked, everything at its default.
pub fn reset_signals() -> Result<()> {
    // SAFETY: an empty set and default actions are plain data; SIGKILL, SIGSTOP and the C library's own refuse, which
    // is what should happen.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) != 0 {
            return Err(Error::last("rt_sigprocmask(SIG_SETMASK, [])"));
        }
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
    Ok(())
}

/// Whether the process may run the file, with its effective ids (faccessat2(2)).
pub fn may_execute(path: &std::path::Path) -> Result<()> {
    let flags = rustix::fs::AtFlags::EACCESS;
    rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::EXEC_OK, flags)
        .map_err(|errno| Error::new(format!("faccessat2({path:?}, X_OK, AT_EACCESS)"), errno.raw_os_error()))
}

/// Leaves a descriptor open for programs that are started from now on.
pub fn leave_open(fd: impl AsFd) -> Result<()> {
    let number = fd.as_fd().as_raw_fd();
    // SAFETY: only the flag of a descriptor changes.
    match unsafe { libc::fcntl(number, libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(Error::last(format!("fcntl({number}, F_SETFD, 0)"))),
    }
}
