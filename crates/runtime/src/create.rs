//! Makes a container: gathers facts, plans, opens what is the host's, makes the process, and talks to it until
//! everything is there but the program.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux::mount;
use linux::process::{self as kernel, Child, namespace};
use linux::procfs::Procfs;
use linux::{credentials, exe};
use oci::runtime::{Hooks, Spec, State};

use crate::apply::{self, Inside};
use crate::channel::{self, Channel, Message};
use crate::error::While;
use crate::plan::{Input, Op, Plan, RootMount, plan_start};
use crate::request::{Create, Created, Gate, StartGate};
use crate::sources::{open_id_maps, open_sources, write_maps};
use crate::{Error, Facts, Kind, Result, hooks, net_devices, notify, seccomp};

/// Makes a container up to the point where only its program is missing.
///
/// Only for a process with one thread: it makes a copy of itself. When this fails, nothing of the container is left but
/// its control group, which is the caller's.
pub fn create(request: Create<'_>) -> Result<Created> {
    create_and_tell(request, &mut |_| {})
}

/// The same, and calls `on_process` with the number of the container's first process as soon as that is there, in all its
/// namespaces, which it is still furnishing: their network can be furnished meanwhile. The container may yet fail to come
/// to be.
pub fn create_and_tell(request: Create<'_>, on_process: &mut dyn FnMut(u32)) -> Result<Created> {
    let procfs = Procfs::open()?;
    let facts = Facts::gather(&procfs, request.hierarchy)?;
    make(request, procfs, &facts, on_process)
}

/// The same as [`create`] with facts that are known already.
pub fn create_with(request: Create<'_>, procfs: Procfs, facts: &Facts) -> Result<Created> {
    make(request, procfs, facts, &mut |_| {})
}

fn make(
    mut request: Create<'_>,
    procfs: Procfs,
    facts: &Facts,
    on_process: &mut dyn FnMut(u32),
) -> Result<Created> {
    let plan = plan_start(
        Input {
            id: request.id,
            spec: request.spec,
            bundle: request.bundle,
            rootfs: &request.rootfs,
            init: request.init,
            preserve_fds: request.preserve_fds,
            no_pivot: request.no_pivot,
            no_new_keyring: request.no_new_keyring,
            has_cgroup: request.cgroup.is_some(),
        },
        facts,
    )?;
    if facts.mounts {
        credentials::set_dumpable(false)?;
    }
    let filter = filter(request.spec)?;
    let mut told = request.told.take();
    if let Some(told) = told.as_deref_mut() {
        *told = plan.to_string();
        if let Some(filter) = &filter {
            told.push_str(&format!("seccomp filter flags: {}\n", filter.flags.bits()));
        }
    }
    let state = state(request.id, request.spec, request.bundle);
    let root_on_host = root_on_host(&plan)?;
    let (here, there) = Channel::pair()?;
    let here = Cell::new(Some(here));
    let held = matches!(request.gate, Gate::Held);
    let joins = open_joins(&plan)?;
    let id_maps = open_id_maps(&plan, &joins, &procfs)?;
    let inside = Inside {
        sources: if facts.mounts { open_sources(&plan, request.cgroup, &id_maps)? } else { Vec::new() },
        unopened: if facts.mounts { &[] } else { &plan.sources },
        cgroup: request.cgroup,
        root_mount: root_mount(&plan, &id_maps)?,
        id_maps,
        listener_metadata: crate::notify::metadata(request.spec),
        agents: agents(request.spec, filter.as_ref(), true)?,
        own_binary: if request.init { Some(exe::read_only()?) } else { None },
        gate: Some(request.gate),
        stdio: give(duplicate(&request.stdio)?, plan.stream_owner)?,
        plain_newlines: request.stdio.plain_newlines,
        hooks: request.spec.hooks.as_ref(),
        filter: filter.as_ref(),
        makes_working_dir: true,
        entrance: entrance(request.cgroup)?,
        host_end: Some(&here),
        reports: told.is_some(),
        ..Inside::new(there, process(request.spec)?, state.clone())
    };
    let child = make_process(&plan, joins, &procfs, request.cgroup, inside)?;
    let here = here.take().ok_or_else(channel::unexpected)?;
    on_process(child.pid);
    let finished = host_side(&plan, &procfs, &here, &child, request.spec.hooks.as_ref(), state, told)
        .and_then(|console| {
            let start_time_ticks = procfs.start_time_ticks(child.pid)?;
            let separate =
                (plan.new | plan.joins.iter().fold(0, |all, join| all | join.kind)) & namespace::NETWORK;
            // Who may not mount may not look into the process either, by now.
            let netns = (separate != 0 && facts.mounts).then(|| procfs.namespace(child.pid, "net"));
            let netns = netns.transpose()?;
            Ok((console, start_time_ticks, netns))
        });
    match finished {
        Ok((console, start_time_ticks, netns)) => Ok(Created {
            pid: child.pid,
            pidfd: child.pidfd,
            start_time_ticks,
            netns,
            console,
            gate: held.then_some(StartGate(here.0)),
        }),
        Err(error) => {
            end(child)?;
            if let Some(root) = root_on_host {
                // Why the container did not come to be is what is reported.
                let _ = detach_from_host(root);
            }
            Err(error)
        }
    }
}

/// The root that a container without a mount namespace mounts where the host sees it, and what is mounted there before.
fn root_on_host(plan: &Plan) -> Result<Option<(&Path, u64)>> {
    let root = plan.ops.iter().find_map(|op| match op {
        Op::AttachRoot(RootMount::Bind(_, path), _) => Some(path.as_path()),
        _ => None,
    });
    let root = root.filter(|_| plan.ops.contains(&Op::ChangeRoot));
    Ok(root.map(|path| mount_at(path).map(|id| (path, id))).transpose()?)
}

fn mount_at(path: &Path) -> linux::Result<u64> {
    linux::mount_table::id_of(linux::root::Root::open(path)?)
}

/// What such a container has mounted goes with it when it does not come to be.
fn detach_from_host((path, before): (&Path, u64)) -> linux::Result<()> {
    if mount_at(path)? == before { Ok(()) } else { mount::detach(path) }
}

/// Runs the program of a container that was created; returns when execve(2) has succeeded or failed.
pub fn start(gate: StartGate) -> Result<()> {
    let channel = Channel(gate.0);
    channel.go()?;
    channel.until_executed(None).map(drop)
}

/// The same for a container that listens: connects to its socket first.
pub fn start_at(socket: &Path) -> Result<()> {
    start(StartGate(linux::socket::connect(socket, std::time::Duration::from_secs(10))?))
}

/// The state that hooks and agents are told.
pub(crate) fn state(id: &str, spec: &Spec, bundle: &Path) -> State {
    State {
        oci_version: oci::runtime::VERSION.to_owned(),
        id: id.to_owned(),
        status: "creating".to_owned(),
        pid: 0,
        bundle: bundle.display().to_string(),
        annotations: spec.annotations.clone(),
    }
}

fn process(spec: &Spec) -> Result<&oci::runtime::Process> {
    spec.process.as_ref().ok_or_else(|| Error::invalid("the configuration has no process"))
}

pub(crate) fn filter(spec: &Spec) -> Result<Option<seccomp::Program>> {
    let Some(config) = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) else { return Ok(None) };
    seccomp::compile(config).map(Some).map_err(|error| Error::invalid(error.to_string()))
}

/// The way into a control group that the process cannot be made inside of.
pub(crate) fn entrance(cgroup: Option<&cgroup::Cgroup>) -> Result<Option<cgroup::Entrance>> {
    Ok(cgroup.map(cgroup::Cgroup::entrance).transpose()?.flatten())
}

/// Connections to the agent of a filter's listener: one for each `startContainer` hook, which is under a filter of its own
/// and comes before the program, and one for the program. Agents close theirs once they have a listener.
pub(crate) fn agents(
    spec: &Spec,
    filter: Option<&seccomp::Program>,
    with_hooks: bool,
) -> Result<Vec<OwnedFd>> {
    let config = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let (Some(config), true) = (config, filter.is_some_and(|filter| filter.flags.listener)) else {
        return Ok(Vec::new());
    };
    let hooks = spec.hooks.as_ref().filter(|_| with_hooks).map_or(0, |hooks| hooks.start_container.len());
    (0..=hooks).map(|_| notify::connect(&config.listener_path)).collect()
}

pub(crate) fn duplicate(stdio: &crate::Stdio<'_>) -> Result<[Option<OwnedFd>; 3]> {
    let copy = |fd: Option<std::os::fd::BorrowedFd<'_>>| fd.map(copy_of).transpose();
    Ok([copy(stdio.input)?, copy(stdio.output)?, copy(stdio.error)?])
}

/// Gives pipes to a user, so that a program in a user namespace can open its streams again through /proc/self/fd: there
/// nobody else may.
pub(crate) fn give(stdio: [Option<OwnedFd>; 3], owner: Option<u32>) -> Result<[Option<OwnedFd>; 3]> {
    let Some(owner) = owner else { return Ok(stdio) };
    for stream in stdio.iter().flatten() {
        let stat = linux::file::stat(stream)?;
        if stat.kind == linux::file::Kind::Fifo && stat.uid != owner {
            linux::file::set_owner(stream, owner, stat.gid)?;
        }
    }
    Ok(stdio)
}

/// Raises what the process may only lower.
pub(crate) fn raise_limits(plan: &Plan, pid: u32) -> Result<()> {
    for (name, number, hard) in &plan.raised {
        credentials::raise_hard_limit(pid, *number, *hard).during(|| format!("process.rlimits: {name}"))?;
    }
    Ok(())
}

pub(crate) fn copy_of(fd: impl AsFd) -> Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned().map_err(|error| {
        linux::Error::new("fcntl(F_DUPFD_CLOEXEC)", error.raw_os_error().unwrap_or_default()).into()
    })
}

fn open_joins(plan: &Plan) -> Result<Vec<OwnedFd>> {
    let open = |join: &crate::plan::Join| -> Result<OwnedFd> {
        let file = std::fs::File::open(&join.path).map_err(|error| {
            let call = format!("open({:?})", join.path);
            linux::Error::new(call, error.raw_os_error().unwrap_or_default())
        })?;
        let kind =
            linux::file::namespace_kind(&file).during(|| format!("namespace {}", join.path.display()))?;
        if kind != join.kind {
            return Err(Error::invalid(format!("{} is a namespace of another kind", join.path.display())));
        }
        Ok(file.into())
    };
    plan.joins.iter().map(open).collect()
}

fn root_mount(plan: &Plan, id_maps: &[OwnedFd]) -> Result<Option<OwnedFd>> {
    let root =
        plan.ops.iter().find_map(|op| if let Op::AttachRoot(root, _) = op { Some(root) } else { None });
    match root {
        Some(RootMount::Overlay { lower, upper, work, volatile }) => {
            apply::overlay(lower, upper, work, *volatile).map(Some).during(|| "root file system")
        }
        Some(root @ RootMount::OverlayMapped { map, .. }) => {
            let users = id_maps.get(*map).ok_or_else(|| Error::invalid("there is no such id map"))?;
            apply::overlay_mapped(root, users).map(Some).during(|| "root file system")
        }
        Some(RootMount::Bind(..) | RootMount::OverlayByOptions { .. }) | None => Ok(None),
    }
}

/// Existing namespaces that the new process is to be in, and those that only children get: joined for the length of the
/// clone, as they may belong to the host while the new process may not, then left again.
struct ForChildren(Vec<(OwnedFd, u64)>);

impl ForChildren {
    /// `joins` are those of the plan but the user and the mount namespace.
    fn take(plan: &Plan, joins: &[OwnedFd], procfs: &Procfs) -> Result<Self> {
        let mut back = Self(Vec::new());
        let own = kernel::own_pid();
        let apart = namespace::USER | namespace::MOUNT;
        let others = plan.joins.iter().filter(|join| join.kind & apart == 0);
        for (join, file) in others.zip(joins) {
            let name = match join.kind {
                namespace::PID => "pid",
                namespace::TIME => "time",
                namespace::NETWORK => "net",
                namespace::IPC => "ipc",
                namespace::UTS => "uts",
                namespace::CGROUP => "cgroup",
                _ => return Err(Error::invalid(format!("{} cannot be joined", join.path.display()))),
            };
            back.0.push((procfs.namespace(own, name)?, join.kind));
            kernel::set_namespace(file, join.kind).during(|| format!("namespace {}", join.path.display()))?;
        }
        if !plan.time_offsets.is_empty() {
            back.0.push((procfs.namespace(own, "time")?, namespace::TIME));
            kernel::unshare(namespace::TIME)?;
            for offset in &plan.time_offsets {
                procfs.write("self/timens_offsets", offset.as_bytes()).during(|| "linux.timeOffsets")?;
            }
        }
        Ok(back)
    }
}

impl Drop for ForChildren {
    fn drop(&mut self) {
        for (own, kind) in &self.0 {
            // One's own namespace can always be joined again.
            let _ = kernel::set_namespace(own, *kind);
        }
    }
}

fn make_process(
    plan: &Plan,
    mut joins: Vec<OwnedFd>,
    procfs: &Procfs,
    cgroup: Option<&cgroup::Cgroup>,
    mut inside: Inside<'_>,
) -> Result<Child> {
    let mut kinds: Vec<u64> = plan.joins.iter().map(|join| join.kind).collect();
    let mut take = |kind| {
        let number = kinds.iter().position(|known| *known == kind)?;
        kinds.remove(number);
        Some(joins.remove(number))
    };
    let user = take(namespace::USER);
    inside.mounts = take(namespace::MOUNT);
    let new = if plan.time_offsets.is_empty() { plan.new } else { plan.new & !namespace::TIME };
    let procfs_inside = procfs.try_clone()?;
    inside.procfs = Some(procfs_inside);
    if let Some(Op::AttachRoot(RootMount::Bind(source, _), _)) =
        plan.ops.iter().find(|op| matches!(op, Op::AttachRoot(..)))
    {
        inside.root_mount = inside.sources.get_mut(*source).and_then(Option::take);
    }
    let into = cgroup.and_then(cgroup::Cgroup::clone_fd);
    let Some(user) = user else {
        let for_children = ForChildren::take(plan, &joins, procfs)?;
        let child = kernel::clone_into(new, into, move || inside.run(plan))?;
        drop(for_children);
        return Ok(child);
    };
    // Who has joined a user namespace cannot come back: somebody else joins it, makes our child, and ends.
    through_another(|| {
        let join_user =
            || kernel::set_namespace(&user, namespace::USER).during(|| "joining the user namespace");
        if inside.unopened.is_empty() {
            // They may be the host's, which may not be joined from inside the user namespace.
            std::mem::forget(ForChildren::take(plan, &joins, procfs)?);
            join_user()?;
        } else {
            join_user()?;
            std::mem::forget(ForChildren::take(plan, &joins, procfs)?);
        }
        Ok(kernel::clone_sibling_into(new, into, move || inside.run(plan))?)
    })
}

/// Lets another process make the child, which is ours all the same.
pub(crate) fn through_another(make: impl FnOnce() -> Result<Child>) -> Result<Child> {
    let (here, there) = Channel::pair()?;
    let other = kernel::clone_into(0, None, move || {
        let told = match make() {
            Ok(child) => there.made(&child),
            Err(error) => there.failed(&error),
        };
        // With nobody left to tell, the code says it.
        i32::from(told.is_err())
    })?;
    let answer = here.receive();
    linux::child::wait(linux::pidfd::PidFd::from(other.pidfd))?;
    match answer? {
        Some(Message::Made(pid, pidfd)) => Ok(Child { pid, pidfd }),
        Some(Message::Failed(error)) => Err(error),
        _ => Err(channel::unexpected()),
    }
}

/// The host's side of the conversation (see [`crate::channel`]).
fn host_side(
    plan: &Plan,
    procfs: &Procfs,
    channel: &Channel,
    child: &Child,
    hooks: Option<&Hooks>,
    mut state: State,
    mut told: Option<&mut String>,
) -> Result<Option<OwnedFd>> {
    state.pid = i32::try_from(child.pid).unwrap_or_default();
    if let Some(maps) = &plan.user_maps {
        write_maps(procfs, child.pid, maps).during(|| "id maps of the user namespace")?;
    }
    if let Some(adjustment) = plan.oom_score_adj {
        let path = format!("{}/oom_score_adj", child.pid);
        procfs.write(&path, adjustment.to_string().as_bytes()).during(|| "oomScoreAdj")?;
    }
    raise_limits(plan, child.pid)?;
    if !plan.net_devices.is_empty() {
        net_devices::move_in(&plan.net_devices, procfs, child.pid).during(|| "linux.netDevices")?;
    }
    channel.go()?;
    loop {
        match channel.receive()? {
            Some(Message::Created(console)) => return Ok(console),
            Some(Message::Failed(error)) => return Err(error),
            Some(Message::Report(words)) => channel::note(told.as_deref_mut(), &words),
            Some(Message::Hooks) => {
                let hooks = hooks.ok_or_else(|| Error::new(Kind::System, "hooks without hooks"))?;
                hooks::run("prestart", &hooks.prestart, &state)?;
                hooks::run("createRuntime", &hooks.create_runtime, &state)?;
                channel.go()?;
            }
            Some(Message::MapIds { mount, users, below }) => {
                let change = mount::Change { id_map: Some(users.as_fd()), ..mount::Change::default() };
                mount::change(mount, below, &change).during(|| "mapping ids")?;
                channel.go()?;
            }
            Some(Message::Go | Message::Executing | Message::Made(..)) => return Err(channel::unexpected()),
            None => {
                return Err(Error::new(Kind::System, "the container's process ended before it was ready"));
            }
        }
    }
}

/// Ends and reaps a process that did not become a container.
pub(crate) fn end(child: Child) -> Result<()> {
    let pidfd = linux::pidfd::PidFd::from(child.pidfd);
    pidfd.send(9)?;
    linux::child::wait(&pidfd)?;
    Ok(())
}
