//! What a process may do: ids, capabilities, prctl(2), limits, scheduling, keyrings, labels of execution.

use std::ffi::CString;

use crate::{Error, Result};

fn check(result: i64, call: impl FnOnce() -> String) -> Result<()> {
    if result < 0 { Err(Error::last(call())) } else { Ok(()) }
}

fn prctl(name: &str, option: i32, arguments: [u64; 4]) -> Result<()> {
    let [a, b, c, d] = arguments;
    // SAFETY: only options that take numbers are passed.
    let done = unsafe { libc::prctl(option, a, b, c, d) };
    check(done.into(), || format!("prctl({name}, {a})"))
}

/// Makes the process unreadable to others: no ptrace, no `/proc/<pid>/…` for those without privileges over it.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl("PR_SET_DUMPABLE", libc::PR_SET_DUMPABLE, [dumpable.into(), 0, 0, 0])
}

/// Gives up gaining privileges by execve(2), for good.
pub fn set_no_new_privileges() -> Result<()> {
    prctl("PR_SET_NO_NEW_PRIVS", libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0])
}

/// Asks for a signal when the parent ends.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl("PR_SET_PDEATHSIG", libc::PR_SET_PDEATHSIG, [signal.unsigned_abs().into(), 0, 0, 0])
}

/// Keeps the permitted capabilities over a change of user, until execve(2).
pub fn set_keep_capabilities(keep: bool) -> Result<()> {
    prctl("PR_SET_KEEPCAPS", libc::PR_SET_KEEPCAPS, [keep.into(), 0, 0, 0])
}

/// Takes a capability, by its number, out of the bounding set.
pub fn drop_bounding(capability: u8) -> Result<()> {
    prctl("PR_CAPBSET_DROP", libc::PR_CAPBSET_DROP, [capability.into(), 0, 0, 0])
}

/// Raises one capability in the ambient set; it must be permitted and inheritable.
pub fn raise_ambient(capability: u8) -> Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as u64;
    prctl("PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE", libc::PR_CAP_AMBIENT, [raise, capability.into(), 0, 0])
}

/// Empties the ambient set.
pub fn clear_ambient() -> Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as u64;
    prctl("PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL", libc::PR_CAP_AMBIENT, [clear, 0, 0, 0])
}

/// Three capability sets, one bit for each number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What counts now.
    pub effective: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What may survive execve(2).
    pub inheritable: u64,
}

/// The layout of capset(2): a header, then the low and the high 32 bits of the three sets.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Sets the capabilities of the process.
pub fn set_capabilities(sets: CapabilitySets) -> Result<()> {
    let header = [CAPABILITY_VERSION_3, 0];
    let half =
        |shift: u32| [sets.effective, sets.permitted, sets.inheritable].map(|set| (set >> shift) as u32);
    let data = [half(0), half(32)];
    // SAFETY: both arrays have the kernel's layout for version 3.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    check(done, || format!("capset({:#x}, {:#x}, {:#x})", sets.effective, sets.permitted, sets.inheritable))
}

/// The capabilities of the process.
pub fn capabilities() -> Result<CapabilitySets> {
    let mut header = [CAPABILITY_VERSION_3, 0];
    let mut data = [[0_u32; 3]; 2];
    // SAFETY: both arrays have the kernel's layout for version 3.
    let done = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) };
    check(done, || "capget(0)".to_owned())?;
    let [effective, permitted, inheritable] =
        std::array::from_fn(|set| u64::from(data[0][set]) | u64::from(data[1][set]) << 32);
    Ok(CapabilitySets { effective, permitted, inheritable })
}

/// Sets the supplementary groups.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: pointer and length are of the same slice. The raw call changes this thread only; there is no other.
    let done = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(done, || format!("setgroups({groups:?})"))
}

/// Sets real, effective and saved group and user.
pub fn set_ids(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: plain numbers. The raw calls change this thread only; there is no other.
    let group = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    check(group, || format!("setresgid({gid})"))?;
    // SAFETY: as above.
    let user = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    check(user, || format!("setresuid({uid})"))
}

/// The effective user.
#[must_use]
pub fn effective_uid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The effective group.
#[must_use]
pub fn effective_gid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getegid() }
}

/// The file mode mask of the calling thread (proc_pid_status(5)); asking by umask(2) would change it for a moment.
pub fn umask() -> Result<u32> {
    let failed =
        |errno: Option<i32>| Error::new("read(/proc/thread-self/status)", errno.unwrap_or(libc::EIO));
    let text =
        std::fs::read_to_string("/proc/thread-self/status").map_err(|error| failed(error.raw_os_error()))?;
    let mask = text.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).ok_or_else(|| failed(None))
}

/// Sets the file mode mask.
pub fn set_umask(mask: u32) {
    // SAFETY: takes a number and cannot fail.
    unsafe { libc::umask(mask & 0o777) };
}

/// The number of a resource of setrlimit(2) by its name, for example `RLIMIT_NOFILE`.
#[must_use]
pub fn resource(name: &str) -> Option<u32> {
    Some(match name {
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        _ => return None,
    })
}

/// Sets one resource limit of the process; `resource` as from [`resource`].
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the structure lives through the call; no old limits are asked for.
    let done = unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, std::ptr::null::<libc::rlimit64>())
    };
    check(done, || format!("prlimit64(0, {resource}, {{{soft}, {hard}}})"))
}

/// Does `work` with another user and group for files (setfsuid(2)), and all capabilities that the calling thread has: what it
/// makes is theirs, and it may do what it may do otherwise. The thread is itself again afterwards.
///
/// # Errors
/// What keeps the thread from changing; then `work` was not done.
pub fn with_file_ids<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> Result<T> {
    let before = capabilities()?;
    let own = set_file_ids(uid, gid)?;
    // The change took those away that are about files.
    let done = set_capabilities(before).map(|()| work());
    set_file_ids(own.0, own.1)?;
    set_capabilities(before)?;
    done
}

/// Sets user and group for files of the thread; those before.
fn set_file_ids(uid: u32, gid: u32) -> Result<(u32, u32)> {
    // SAFETY: plain numbers. The raw calls change this thread only, and answer with the number before; the group comes
    // first, while the thread has every right.
    let change = |call, id: u32| unsafe { libc::syscall(call, id) } as u32;
    let group = change(libc::SYS_setfsgid, gid);
    let user = change(libc::SYS_setfsuid, uid);
    // A number that nobody has changes nothing, and answers with what it is now.
    let is = (change(libc::SYS_setfsuid, u32::MAX), change(libc::SYS_setfsgid, u32::MAX));
    if is == (uid, gid) {
        Ok((user, group))
    } else {
        Err(Error::new(format!("setfsuid({uid}), setfsgid({gid})"), libc::EPERM))
    }
}

/// Raises the hard limit of a process to `hard` at least, and changes nothing else.
pub fn raise_hard_limit(pid: u32, resource: u32, hard: u64) -> Result<()> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives through the call; no new limits are given.
    let asked = unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, std::ptr::null::<libc::rlimit64>(), &raw mut limit)
    };
    check(asked, || format!("prlimit64({pid}, {resource}, NULL)"))?;
    if limit.rlim_max >= hard {
        return Ok(());
    }
    limit.rlim_max = hard;
    // SAFETY: the structure lives through the call; no old limits are asked for.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &raw const limit,
            std::ptr::null::<libc::rlimit64>(),
        )
    };
    check(done, || format!("prlimit64({pid}, {resource}, {{{}, {hard}}})", limit.rlim_cur))
}

/// Policy of [`set_scheduler`], in the kernel's numbers (sched_setattr(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of struct sched_attr under their own names")]
pub struct Scheduling {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Sets the CPU scheduling of the process.
pub fn set_scheduler(scheduling: &Scheduling) -> Result<()> {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: scheduling.policy,
        sched_flags: scheduling.flags,
        sched_nice: scheduling.nice,
        sched_priority: scheduling.priority,
        sched_runtime: scheduling.runtime,
        sched_deadline: scheduling.deadline,
        sched_period: scheduling.period,
    };
    // SAFETY: the structure carries its size.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    check(done, || format!("sched_setattr(0, {scheduling:?})"))
}

/// Sets the I/O priority of the process: class 1 (real time), 2 (best effort) or 3 (idle), and 0 to 7.
pub fn set_io_priority(class: u32, priority: u32) -> Result<()> {
    // SAFETY: plain numbers: IOPRIO_WHO_PROCESS, this process, class and priority as one number.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, 1, 0, class << 13 | priority) };
    check(done, || format!("ioprio_set(IOPRIO_WHO_PROCESS, 0, {class}:{priority})"))
}

/// Sets the execution domain; 0 is Linux and 8 is 32-bit Linux.
pub fn set_personality(domain: u64) -> Result<()> {
    // SAFETY: a plain number.
    check(unsafe { libc::personality(domain) }.into(), || format!("personality({domain:#x})"))
}

/// Runs on these CPUs only.
pub fn set_affinity(cpus: impl IntoIterator<Item = usize>) -> Result<()> {
    let mut mask = [0_u64; 128];
    for cpu in cpus {
        if let Some(word) = mask.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
        }
    }
    // SAFETY: length in bytes and pointer are of the same array.
    let done = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&mask), mask.as_ptr()) };
    check(done, || "sched_setaffinity(0)".to_owned())
}

/// The CPUs below 64 that the caller may run on, one bit for each.
pub fn affinity() -> Result<u64> {
    let mut mask = [0_u64; 128];
    // SAFETY: length in bytes and pointer are of the same array, which the kernel writes.
    let done =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&mask), mask.as_mut_ptr()) };
    check(done, || "sched_getaffinity(0)".to_owned()).map(|()| mask[0])
}

/// Sets the NUMA memory policy in the kernel's numbers; `nodes` one bit for each node.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads as many bits as are said.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), nodes.len() * 64) };
    check(done, || format!("set_mempolicy({mode:#x}, {nodes:x?})"))
}

/// Joins a new session keyring of this name; `false` when the kernel has no keyrings or none is left.
pub fn new_session_keyring(name: &str) -> Result<bool> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    let call = || format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name:?})");
    let text = CString::new(name).map_err(|_| Error::new(call(), libc::EINVAL))?;
    // SAFETY: a number and a C string.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, text.as_ptr()) };
    if done >= 0 {
        return Ok(true);
    }
    match Error::last(call()) {
        error if [libc::ENOSYS, libc::EDQUOT].contains(&error.errno()) => Ok(false),
        error => Err(error),
    }
}

/// Sets the host name of the uts namespace.
pub fn set_host_name(name: &str) -> Result<()> {
    // SAFETY: pointer and length are of the same string.
    let done = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
    check(done.into(), || format!("sethostname({name:?})"))
}

/// Sets the NIS domain name of the uts namespace.
pub fn set_domain_name(name: &str) -> Result<()> {
    // SAFETY: pointer and length are of the same string.
    let done = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    check(done.into(), || format!("setdomainname({name:?})"))
}
