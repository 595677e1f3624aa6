//! Runs one more process in a container.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::credentials;
use linux::process::{self as kernel, namespace};
use linux::procfs::Procfs;
use linux::root::Root;

use crate::apply::Inside;
use crate::channel::{self, Channel};
use crate::create::{agents, duplicate, end, entrance, filter, give, raise_limits, state, through_another};
use crate::error::While;
use crate::plan::{Manner, Op, Plan, bit, domain, hard_limits, list, plan_process, stream_owner};
use crate::request::{Exec, Executed};
use crate::{Error, Facts, Result};

/// Runs a process in a container; returns when its execve(2) has succeeded or failed. The process is a child of the
/// caller, which must have one thread.
pub fn exec(mut request: Exec<'_>) -> Result<Executed> {
    let procfs = Procfs::open()?;
    let facts = Facts::gather(&procfs, request.hierarchy)?;
    let plan = plan_exec(&request, &facts)?;
    let mut told = request.told.take();
    if let Some(told) = told.as_deref_mut() {
        *told = plan.to_string();
    }
    if facts.mounts {
        credentials::set_dumpable(false)?;
    }
    let filter = filter(request.spec)?;
    let (here, there) = Channel::pair()?;
    let here = Cell::new(Some(here));
    let own_pid_namespace = procfs.namespace(kernel::own_pid(), "pid")?;
    let kinds = namespaces(&request);
    // One that has the host's mounts has a root in them.
    let root = match kinds & namespace::MOUNT {
        0 => Some(procfs.root_of(container_pid(&procfs, request.container)?)?),
        _ => None,
    };
    let inside = Inside {
        procfs: Some(procfs.try_clone()?),
        listener_metadata: crate::notify::metadata(request.spec),
        agents: agents(request.spec, filter.as_ref(), false)?,
        stdio: give(duplicate(&request.stdio)?, plan.stream_owner)?,
        plain_newlines: request.stdio.plain_newlines,
        filter: filter.as_ref(),
        entrance: entrance(request.cgroup)?,
        host_end: Some(&here),
        reports: told.is_some(),
        ..Inside::new(there, request.process, state(request.id, request.spec, Path::new("")))
    };
    let container = request.container;
    let child = if facts.mounts {
        if kinds & namespace::PID != 0 {
            kernel::set_namespace(container, namespace::PID).during(|| "joining the container")?;
        }
        let made = clone_in_group(&request, &procfs, &mut Some(inside), |inside| {
            inside.join_and_run(container, kinds & !namespace::PID, root.as_ref(), &plan)
        });
        if kinds & namespace::PID != 0 {
            kernel::set_namespace(&own_pid_namespace, namespace::PID)?;
        }
        made?
    } else {
        clone_unprivileged(&request, &procfs, inside, kinds, &plan)?
    };
    let here = here.take().ok_or_else(channel::unexpected)?;
    let adjustment = plan.oom_score_adj.filter(|_| facts.mounts);
    let raised = raise_limits(&plan, child.pid);
    match raised.and_then(|()| host_side(&procfs, &here, child.pid, adjustment, told)) {
        Ok(console) => Ok(Executed { pid: child.pid, pidfd: child.pidfd, console }),
        Err(error) => {
            end(child)?;
            Err(error)
        }
    }
}

/// Makes the process for who may not mount: such a one may join nothing but the user namespace of its own container, and
/// has all rights over the others once it has. Nobody comes back from there, so somebody else makes our child and ends.
fn clone_unprivileged(
    request: &Exec<'_>,
    procfs: &Procfs,
    inside: Inside<'_>,
    kinds: u64,
    plan: &Plan,
) -> Result<kernel::Child> {
    through_another(|| {
        if let Some(adjustment) = plan.oom_score_adj {
            let text = adjustment.to_string();
            procfs.write("self/oom_score_adj", text.as_bytes()).during(|| "oomScoreAdj")?;
        }
        credentials::set_dumpable(false)?;
        // From inside a namespace of groups nobody is moved whose group is not in it: the child joins that one.
        let later = kinds & namespace::CGROUP;
        kernel::set_namespace(request.container, kinds & !later).during(|| "joining the container")?;
        let into = request.cgroup.and_then(cgroup::Cgroup::clone_fd);
        let as_root = kinds & namespace::USER != 0;
        Ok(kernel::clone_sibling_into(0, into, || {
            inside.run_joined(request.container, later, as_root, plan)
        })?)
    })
}

/// Makes the process in the container's group; or, where the container's init has handed controllers down, so that the
/// group itself takes none, in the group of init (EBUSY: cgroups(7), "no internal processes"; EOPNOTSUPP: threads only).
fn clone_in_group<'a>(
    request: &Exec<'_>,
    procfs: &Procfs,
    inside: &mut Option<Inside<'a>>,
    run: impl Fn(Inside<'a>) -> i32,
) -> Result<kernel::Child> {
    const NOT_HERE: [i32; 2] = [16, 95];
    let into = request.cgroup.and_then(cgroup::Cgroup::clone_fd);
    // The child has a copy of everything: what it takes is still here when there is no child.
    let refused = match kernel::clone_into(0, into, || inside.take().map_or(1, &run)) {
        Err(error) if into.is_some() && NOT_HERE.contains(&error.errno()) => error,
        made => return Ok(made?),
    };
    if let Some(group) = request.cgroup.filter(|_| !request.or_beside_init) {
        let file = format!("{}/cgroup.procs", group.path());
        let words = format!("error adding pid to cgroups {file}: device or resource busy: {refused}");
        return Err(Error::new(crate::Kind::State, words));
    }
    let init = container_pid(procfs, request.container)?;
    let below = request.cgroup.map(|group| group.beside(request.hierarchy, init)).transpose()?.flatten();
    let Some(below) = below else { return Err(refused.into()) };
    Ok(kernel::clone_into(0, Some(below.as_fd()), || inside.take().map_or(1, &run))?)
}

/// The number of the process behind a pidfd (proc_pid_fdinfo(5)).
fn container_pid(procfs: &Procfs, container: BorrowedFd<'_>) -> Result<u32> {
    let path = format!("self/fdinfo/{}", container.as_raw_fd());
    let text = procfs.read(&path, 4096)?;
    let text = String::from_utf8_lossy(&text);
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.ok_or_else(|| Error::new(crate::Kind::State, "the container has ended"))
}

/// The steps of a process that joins a container.
fn plan_exec(request: &Exec<'_>, facts: &Facts) -> Result<Plan> {
    let process = request.process;
    let mut plan = Plan { oom_score_adj: process.oom_score_adj, ..Plan::default() };
    plan.ops.push(Op::AwaitHost);
    if let Some(affinity) = &process.exec_cpu_affinity {
        // Both are set once the process is in its groups: no instruction of the program runs before either.
        for cpus in [&affinity.initial, &affinity.last].into_iter().filter(|cpus| !cpus.is_empty()) {
            let cpus = list(cpus).ok_or_else(|| {
                Error::invalid(format!("process.execCPUAffinity: {cpus:?} is not a list of CPUs"))
            })?;
            plan.ops.push(Op::Affinity(cpus));
        }
    } else {
        plan.ops.push(Op::AnyCpu);
    }
    if process.terminal {
        let size = process
            .console_size
            .and_then(|size| Some((u16::try_from(size.height).ok()?, u16::try_from(size.width).ok()?)));
        plan.ops.push(Op::OpenTerminal(size));
    }
    if let Some(personality) = request.spec.linux.as_ref().and_then(|linux| linux.personality.as_ref()) {
        plan.ops.push(Op::Personality(domain(&personality.domain)?));
    }
    let manner = Manner {
        preserve_fds: request.preserve_fds,
        filter: request.spec.linux.as_ref().is_some_and(|linux| linux.seccomp.is_some()),
        ..Manner::default()
    };
    let ops = plan_process(process, manner, facts)?;
    if namespaces(request) & namespace::USER != 0 && facts.mounts {
        let linux = request.spec.linux.as_ref();
        plan.raised = hard_limits(&ops);
        plan.stream_owner = linux.and_then(|linux| stream_owner(process, linux));
    }
    plan.ops.extend(ops);
    Ok(plan)
}

/// The kinds of namespaces that the container does not share with the host.
fn namespaces(request: &Exec<'_>) -> u64 {
    let namespaces = request.spec.linux.iter().flat_map(|linux| &linux.namespaces);
    namespaces.fold(0, |all, namespace| all | bit(namespace.kind))
}

fn host_side(
    procfs: &Procfs,
    channel: &Channel,
    pid: u32,
    oom_score_adj: Option<i32>,
    told: Option<&mut String>,
) -> Result<Option<OwnedFd>> {
    if let Some(adjustment) = oom_score_adj {
        procfs
            .write(&format!("{pid}/oom_score_adj"), adjustment.to_string().as_bytes())
            .during(|| "oomScoreAdj")?;
    }
    channel.go()?;
    channel.until_executed(told)
}

impl Inside<'_> {
    /// Joins a container and takes all steps; returns only when one failed.
    fn join_and_run(mut self, container: impl AsFd, kinds: u64, root: Option<&OwnedFd>, plan: &Plan) -> i32 {
        let joined = self
            .enter()
            .and_then(|()| if kinds == 0 { Ok(()) } else { Ok(kernel::set_namespace(&container, kinds)?) })
            .and_then(|()| root.map_or(Ok(()), |root| Ok(linux::mount::change_root(root)?)))
            .and_then(|()| self.take_root(kinds & namespace::USER != 0))
            .during(|| format!("joining the container by descriptor {}", container.as_fd().as_raw_fd()));
        if let Err(error) = joined {
            let _ = self.channel.failed(&error);
            return 1;
        }
        self.run(plan)
    }

    /// The same for one that was made inside the container, but for the namespaces of `kinds`.
    fn run_joined(mut self, container: impl AsFd, kinds: u64, as_root: bool, plan: &Plan) -> i32 {
        let joined = self
            .enter()
            .and_then(|()| if kinds == 0 { Ok(()) } else { Ok(kernel::set_namespace(&container, kinds)?) })
            .and_then(|()| self.take_root(as_root));
        if let Err(error) = joined {
            let _ = self.channel.failed(&error);
            return 1;
        }
        self.run(plan)
    }

    fn take_root(&mut self, as_root: bool) -> Result<()> {
        if as_root {
            credentials::set_ids(0, 0)?;
        }
        self.root = Some(Root::open(Path::new("/"))?);
        Ok(())
    }
}
