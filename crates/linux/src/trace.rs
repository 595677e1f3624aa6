//! Watching every system call of another process and ending it just before one of them (ptrace(2)): how the fault
//! harness crashes a program at each of its steps without a word about it in the program.

use std::collections::HashSet;
use std::marker::PhantomData;

use crate::{Error, Result};

/// A system call about to be made by a thread of the traced process.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The thread that makes it.
    pub thread: u32,
    /// Its number on this machine.
    pub number: u64,
    /// Its six arguments; those it does not take are whatever the registers held.
    pub arguments: [u64; 6],
}

/// What becomes of the process at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The call is made.
    Continue,
    /// The process ends by SIGKILL, and the call is not made.
    Kill,
}

/// A process whose system calls are watched. Bound to the thread that seized it, as ptrace is.
#[derive(Debug)]
pub struct Tracer {
    process: i32,
    threads: HashSet<i32>,
    bound: PhantomData<*const ()>,
}

const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE;
/// How a stop at a system call is told from a real SIGTRAP (PTRACE_O_TRACESYSGOOD).
const CALL_STOP: i32 = libc::SIGTRAP | 0x80;

impl Tracer {
    /// Takes hold of all threads of a process. Its children are left alone.
    pub fn seize(process: u32) -> Result<Self> {
        let process = i32::try_from(process)
            .map_err(|_| Error::new(format!("ptrace(PTRACE_SEIZE, {process})"), libc::ESRCH))?;
        let mut tracer = Self { process, threads: HashSet::new(), bound: PhantomData };
        // A thread may be born while its siblings are being taken: until a look finds no new one.
        loop {
            let mut found = false;
            for thread in tasks(process)? {
                if tracer.threads.insert(thread) {
                    found = true;
                    tracer.take(thread)?;
                }
            }
            if !found {
                return Ok(tracer);
            }
        }
    }

    fn take(&mut self, thread: i32) -> Result<()> {
        // SAFETY: numbers only; the tracee is stopped and resumed by the kernel.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, 0_usize, OPTIONS as usize) };
        // A new thread of a thread that is held already is held by the kernel itself.
        if seized != 0 && std::io::Error::last_os_error().raw_os_error() != Some(libc::EPERM) {
            return Err(Error::last(format!("ptrace(PTRACE_SEIZE, {thread})")));
        }
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0_usize, 0_usize) };
        Ok(())
    }

    /// Lets the process run to its end, asking `decide` at every system call. Returns when it has ended: by a decision,
    /// by itself, or because somebody else killed it. Its exit status stays there for whoever started it.
    pub fn run(self, mut decide: impl FnMut(&Entry) -> Decision) -> Result<()> {
        while let Some(thread) = self.next_change()? {
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            if unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL | libc::WNOHANG) } <= 0 {
                continue;
            }
            if !libc::WIFSTOPPED(status) {
                continue;
            }
            let signal = libc::WSTOPSIG(status);
            let is_event = status >> 16 != 0;
            if signal == CALL_STOP
                && let Some(entry) = entry(thread)
                && decide(&entry) == Decision::Kill
            {
                // SAFETY: numbers only; the process is held, so its number cannot mean another one.
                unsafe { libc::kill(self.process, libc::SIGKILL) };
                continue;
            }
            let deliver = if is_event || signal == CALL_STOP { 0 } else { signal };
            // SAFETY: numbers only. It fails when the thread was killed meanwhile, which the next wait tells.
            unsafe { libc::ptrace(libc::PTRACE_SYSCALL, thread, 0_usize, deliver as usize) };
        }
        Ok(())
    }

    /// The next thread that has stopped or ended; `None` when the process as a whole has ended.
    fn next_change(&self) -> Result<Option<i32>> {
        let what = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
        loop {
            // SAFETY: plain data for which zero is a value.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: `info` outlives the call.
            if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, what) } == 0 {
                // SAFETY: waitid fills in the members of SIGCHLD.
                let thread = unsafe { info.si_pid() };
                let is_stop = matches!(info.si_code, libc::CLD_STOPPED | libc::CLD_TRAPPED);
                return Ok((is_stop || thread != self.process).then_some(thread));
            }
            let error = Error::last("waitid(P_ALL, __WALL|__WNOTHREAD)");
            match error.errno() {
                libc::ECHILD => return Ok(None),
                libc::EINTR => {}
                _ => return Err(error),
            }
        }
    }
}

/// The system call that a stopped thread is about to make; `None` when it stands at the end of one.
fn entry(thread: i32) -> Option<Entry> {
    // SAFETY: plain data for which zero is a value.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the size given.
    let written =
        unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size_of_val(&info), &raw mut info) };
    if written <= 0 || info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that this member was written.
    let call = unsafe { info.u.entry };
    Some(Entry { thread: u32::try_from(thread).unwrap_or_default(), number: call.nr, arguments: call.args })
}

fn tasks(process: i32) -> Result<Vec<i32>> {
    let path = format!("/proc/{process}/task");
    let failed = |error: std::io::Error| {
        Error::new(format!("getdents({path:?})"), error.raw_os_error().unwrap_or(libc::EIO))
    };
    let mut threads = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        threads.extend(entry.map_err(failed)?.file_name().to_string_lossy().parse::<i32>().ok());
    }
    Ok(threads)
}

impl Entry {
    /// The name of the call when it can change something outside of the process's memory: files, other processes,
    /// the kernel's tables, what others read from a socket. `None` for calls that only look or wait.
    #[must_use]
    pub fn effect(&self) -> Option<&'static str> {
        let number = i64::try_from(self.number).ok()?;
        let (name, _) = EFFECTS.iter().chain(OLD_EFFECTS).find(|(_, known)| *known == number)?;
        let creates = |flags: u64| flags & libc::O_CREAT as u64 != 0;
        // A thread is nothing that others see.
        let makes_process = |flags: u64| flags & libc::CLONE_THREAD as u64 == 0;
        let has_effect = match number {
            libc::SYS_openat => creates(self.arguments[2]),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => creates(self.arguments[1]),
            libc::SYS_clone => makes_process(self.arguments[0]),
            libc::SYS_clone3 => self.word(self.arguments[0]).is_some_and(makes_process),
            libc::SYS_write | libc::SYS_writev => self.writes_outside(),
            _ => true,
        };
        has_effect.then_some(name)
    }

    /// Eight bytes of the process's memory.
    fn word(&self, address: u64) -> Option<u64> {
        use std::os::unix::fs::FileExt;
        let memory = std::fs::File::open(format!("/proc/{}/mem", self.thread)).ok()?;
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }

    /// Whether the descriptor of a write belongs to a file or a socket; pipes and eventfds wake the process's own threads.
    fn writes_outside(&self) -> bool {
        let path = format!("/proc/{}/fd/{}", self.thread, self.arguments[0]);
        std::fs::read_link(path).is_ok_and(|target| {
            let target = target.to_string_lossy();
            target.starts_with('/') || target.starts_with("socket:")
        })
    }
}

macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name as i64)),*] };
}

/// The calls that change something others can see.
const EFFECTS: &[(&str, i64)] = calls! {
    SYS_openat SYS_mkdirat SYS_unlinkat SYS_renameat SYS_renameat2 SYS_linkat SYS_symlinkat SYS_mknodat SYS_pwrite64
    SYS_pwritev SYS_pwritev2 SYS_write SYS_writev SYS_fsync SYS_fdatasync SYS_sync SYS_syncfs SYS_sync_file_range SYS_ftruncate SYS_truncate
    SYS_fallocate SYS_sendmsg SYS_sendmmsg SYS_sendto SYS_sendfile SYS_splice SYS_copy_file_range SYS_mount SYS_umount2
    SYS_move_mount SYS_fsconfig SYS_mount_setattr SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_fchmod SYS_fchmodat
    SYS_fchown SYS_fchownat SYS_utimensat SYS_clone SYS_clone3 SYS_kill SYS_tgkill SYS_pidfd_send_signal SYS_bind
    SYS_listen SYS_setns
};

/// The forms of them that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLD_EFFECTS: &[(&str, i64)] = calls! {
    SYS_open SYS_creat SYS_mkdir SYS_unlink SYS_rmdir SYS_rename SYS_link SYS_symlink SYS_mknod SYS_chmod SYS_chown
    SYS_lchown SYS_fork SYS_vfork
};
#[cfg(not(target_arch = "x86_64"))]
const OLD_EFFECTS: &[(&str, i64)] = &[];
