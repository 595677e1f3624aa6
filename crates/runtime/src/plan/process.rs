//! What a process needs between its namespaces and its program.

use std::path::{Path, PathBuf};

use linux::credentials::{self, CapabilitySets, Scheduling};
use oci::runtime::{Capabilities, Process, Scheduler};

use super::op::Op;
use crate::facts::Facts;
use crate::{Error, Result, capability};

/// How the program is run, beyond what its configuration says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Whether our own init is pid 1.
    pub init: bool,
    /// How many descriptors from 3 on stay open.
    pub preserve_fds: u32,
    /// Whether a filter of system calls is loaded.
    pub filter: bool,
    /// Whether the program waits for `start`.
    pub waits: bool,
    /// Whether there are `startContainer` hooks.
    pub start_hooks: bool,
}

/// The steps from the finished root to the running program.
pub fn plan_process(process: &Process, manner: Manner, facts: &Facts) -> Result<Vec<Op>> {
    check(process, facts)?;
    let mut ops = limits(process)?;
    let user = &process.user;
    ops.push(Op::Stdio { terminal: process.terminal, uid: user.uid });
    if !process.apparmor_profile.is_empty() {
        ops.push(Op::AppArmor(process.apparmor_profile.clone()));
    }
    if !process.selinux_label.is_empty() {
        ops.push(Op::SeLinux(process.selinux_label.clone()));
    }
    ops.push(Op::WorkingDir(PathBuf::from(&process.cwd)));
    let none = Capabilities::default();
    let wanted = process.capabilities.as_ref().unwrap_or(&none);
    let set = |names: &[String]| capability::set(names, facts.last_capability);
    ops.push(Op::Bound(set(&wanted.bounding), facts.last_capability));
    ops.push(Op::Ids(user.uid, user.gid, groups(user.gid, &user.additional_gids)));
    let (permitted, inheritable) = (set(&wanted.permitted), set(&wanted.inheritable));
    let sets = CapabilitySets { effective: set(&wanted.effective) & permitted, permitted, inheritable };
    // Without no_new_privs only who has CAP_SYS_ADMIN may load a filter, which comes last: it may forbid what we still do.
    let holds = manner.filter && !process.no_new_privileges;
    let held = CapabilitySets { permitted: permitted | SYS_ADMIN, ..sets };
    ops.push(Op::Capabilities(if holds { held } else { sets }));
    ops.push(Op::Ambient(set(&wanted.ambient) & permitted & inheritable));
    ops.push(Op::Umask(user.umask.unwrap_or(USUAL_UMASK)));
    if !manner.init {
        ops.push(Op::FindProgram);
    }
    if manner.waits {
        ops.push(Op::AwaitStart { preserve_fds: manner.preserve_fds });
    }
    let no_new_privileges = process.no_new_privileges.then_some(Op::NoNewPrivileges);
    let mut loading = Vec::new();
    if manner.filter {
        let loader = CapabilitySets { effective: held.effective | SYS_ADMIN, ..held };
        loading.extend(holds.then_some(Op::Capabilities(loader)));
        loading.push(Op::Filter);
        loading.extend(holds.then_some(Op::Capabilities(sets)));
    }
    if manner.start_hooks {
        let before = no_new_privileges.iter().filter(|_| manner.filter);
        ops.push(Op::StartHooks(before.chain(&loading).cloned().collect()));
    }
    ops.extend(no_new_privileges);
    ops.push(Op::Ready { preserve_fds: manner.preserve_fds });
    ops.extend(loading);
    ops.push(Op::Execute { init: manner.init });
    Ok(ops)
}

/// What a program that says nothing keeps from others of the files it makes, as with runc: they may not write to them.
const USUAL_UMASK: u32 = 0o022;

/// CAP_SYS_ADMIN (capabilities(7)).
const SYS_ADMIN: u64 = 1 << 21;

/// The primary group is always among the supplementary ones: a program that leaves it cannot come back by a file's
/// group permissions alone (CVE-2022-36109).
fn groups(primary: u32, additional: &[u32]) -> Vec<u32> {
    let mut groups = vec![primary];
    for group in additional {
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    groups
}

fn check(process: &Process, facts: &Facts) -> Result<()> {
    let refuse = |words: String| Err(Error::invalid(words));
    if process.args.is_empty() {
        return refuse("process.args is empty: there is no program to run".into());
    }
    if !Path::new(&process.cwd).is_absolute() {
        return refuse(format!("process.cwd {:?} is not an absolute path", process.cwd));
    }
    let ids =
        [process.user.uid, process.user.gid].into_iter().chain(process.user.additional_gids.iter().copied());
    if let Some(id) = ids.into_iter().find(|id| *id > i32::MAX.unsigned_abs()) {
        return refuse(format!("id {id} is out of range: uids and gids must be in range 0-{}", i32::MAX));
    }
    if !facts.mounts && !process.user.additional_gids.is_empty() {
        return refuse("cannot set any additional groups in a rootless container".into());
    }
    let texts = process.args.iter().chain(&process.env);
    if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
        return refuse(format!("argument or variable {text:?} contains a zero byte"));
    }
    if let Some(variable) =
        process.env.iter().find(|variable| !variable.contains('=') || variable.starts_with('='))
    {
        return refuse(format!("environment variable {variable:?} is not of the form NAME=value"));
    }
    if !process.apparmor_profile.is_empty() && !facts.apparmor {
        return refuse(format!(
            "apparmor profile {:?} requested, but AppArmor is not enabled",
            process.apparmor_profile
        ));
    }
    if !process.selinux_label.is_empty() && !facts.selinux {
        return refuse(format!(
            "selinux label {:?} requested, but SELinux is not enabled",
            process.selinux_label
        ));
    }
    Ok(())
}

fn limits(process: &Process) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    for limit in &process.rlimits {
        let number = credentials::resource(&limit.kind)
            .ok_or_else(|| Error::invalid(format!("process.rlimits: type {:?} is not known", limit.kind)))?;
        if ops.iter().any(|op| matches!(op, Op::Limit(_, known, _, _) if *known == number)) {
            return Err(Error::invalid(format!("process.rlimits: type {:?} is given twice", limit.kind)));
        }
        ops.push(Op::Limit(limit.kind.clone(), number, limit.soft, limit.hard));
    }
    if let Some(scheduler) = &process.scheduler {
        ops.push(Op::Scheduler(scheduling(scheduler)?));
    }
    if let Some(priority) = &process.io_priority {
        let class = match priority.class.as_str() {
            "IOPRIO_CLASS_RT" => 1,
            "IOPRIO_CLASS_BE" => 2,
            "IOPRIO_CLASS_IDLE" => 3,
            other => return Err(Error::invalid(format!("process.ioPriority: class {other:?} is not known"))),
        };
        let level = u32::try_from(priority.priority).ok().filter(|level| *level < 8).ok_or_else(|| {
            Error::invalid(format!("process.ioPriority: priority {} is not 0 to 7", priority.priority))
        })?;
        ops.push(Op::IoPriority(class, level));
    }
    Ok(ops)
}

fn scheduling(scheduler: &Scheduler) -> Result<Scheduling> {
    let policy = match scheduler.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(Error::invalid(format!("process.scheduler: policy {other:?} is not known"))),
    };
    let mut flags = 0;
    for flag in &scheduler.flags {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x1,
            "SCHED_FLAG_RECLAIM" => 0x2,
            "SCHED_FLAG_DL_OVERRUN" => 0x4,
            "SCHED_FLAG_KEEP_POLICY" => 0x8,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            other => return Err(Error::invalid(format!("process.scheduler: flag {other:?} is not known"))),
        };
    }
    let priority = u32::try_from(scheduler.priority).map_err(|_| {
        Error::invalid(format!("process.scheduler: priority {} is negative", scheduler.priority))
    })?;
    let &Scheduler { nice, runtime, deadline, period, .. } = scheduler;
    Ok(Scheduling { policy, flags, nice, priority, runtime, deadline, period })
}
