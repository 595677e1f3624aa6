//! `create`, `run` and `start`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cgroup::{Hierarchy, Limits};
use linux::procfs::Procfs;
use linux::socket;
use oci::runtime::Spec;

use super::arguments::{Flag, Given, switch, value};
use super::record::{Brief, Home, Record, Status, place, read_spec};
use super::{Globals, log, relay};
use crate::error::While;
use crate::group::{Frozen, Group, Place};
use crate::request::{Create, Created, Gate, Rootfs};
use crate::{Error, Kind, Result, Stdio, hooks};

/// Flags of `create`.
pub(super) const CREATE: &[Flag] = &[
    value("bundle").or('b'),
    value("console-socket"),
    value("pidfd-socket"),
    value("pid-file"),
    switch("no-pivot"),
    switch("no-new-keyring"),
    value("preserve-fds"),
];

/// Flags of `run`.
pub(super) const RUN: &[Flag] = &[
    value("bundle").or('b'),
    value("console-socket"),
    value("pidfd-socket"),
    value("pid-file"),
    switch("no-pivot"),
    switch("no-new-keyring"),
    value("preserve-fds"),
    switch("detach").or('d'),
    switch("keep"),
    switch("no-subreaper"),
];

/// `create ID`: makes the container and leaves it waiting.
pub(super) fn create(globals: &Globals, given: &Given) -> Result<i32> {
    let id = given.only("the container's id")?;
    let home = Home::make(&globals.root, id)?;
    let listener = socket::listen(&home.start_socket(), 1);
    let made = listener
        .map_err(Error::from)
        .and_then(|listener| make(globals, given, id, &home, Gate::Listener(listener)));
    match made {
        Ok(_) => Ok(0),
        Err(error) => {
            home.remove()?;
            Err(error)
        }
    }
}

/// `start ID`: runs the program of a created container.
pub(super) fn start(globals: &Globals, given: &Given) -> Result<i32> {
    let id = given.only("the container's id")?;
    let home = Home::of(&globals.root, id)?;
    let record = home.record()?;
    match home.status(&record, &Procfs::open()?)? {
        Status::Created => {}
        Status::Stopped => return Err(Error::new(Kind::State, "cannot start a container that has stopped")),
        Status::Running | Status::Paused => {
            return Err(Error::new(Kind::State, "cannot start an already running container"));
        }
    }
    let started = crate::start_at(&home.start_socket());
    std::fs::remove_file(home.start_socket())
        .map_err(|error| Error::new(Kind::System, format!("unlink({:?}): {error}", home.start_socket())))?;
    started?;
    after_start(&home, &record)?;
    Ok(0)
}

fn after_start(home: &Home, record: &Record) -> Result<()> {
    if !home.brief(record)?.poststart {
        return Ok(());
    }
    let spec = home.spec()?;
    let Some(poststart) = spec.hooks.as_ref().map(|hooks| &hooks.poststart).filter(|hooks| !hooks.is_empty())
    else {
        return Ok(());
    };
    hooks::run("poststart", poststart, &super::state::state(record, &spec, Status::Running))
}

/// `run ID`: both, and waits for the program unless it is to be left alone.
pub(super) fn run(globals: &Globals, given: &Given) -> Result<i32> {
    let id = given.only("the container's id")?;
    let detach = given.on("detach");
    let home = Home::make(&globals.root, id)?;
    let signals = if detach { None } else { Some(relay::prepare()?) };
    let finish = |result: Result<i32>| -> Result<i32> {
        if detach && result.is_ok() || given.on("keep") && result.is_ok() {
            return result;
        }
        let deleted = super::state::delete_home(&home, true);
        let code = result?;
        deleted?;
        Ok(code)
    };
    let (created, record) = match make(globals, given, id, &home, Gate::Held) {
        Ok(made) => made,
        Err(error) => {
            home.remove()?;
            return Err(error);
        }
    };
    let Created { pidfd, console, gate, .. } = created;
    let started = match gate {
        Some(gate) => crate::start(gate),
        None => Err(Error::new(Kind::System, "the container has no gate")),
    };
    finish(started.and_then(|()| {
        after_start(&home, &record)?;
        match &signals {
            Some(signals) => relay::stand_in(pidfd, console, signals),
            None => Ok(0),
        }
    }))
}

/// Everything that `create` and `run` share.
fn make(globals: &Globals, given: &Given, id: &str, home: &Home, gate: Gate) -> Result<(Created, Record)> {
    let bundle = bundle(given)?;
    let spec = read_spec(&bundle.join("config.json"))?;
    let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    let detached = matches!(gate, Gate::Listener(_)) || given.on("detach");
    let console_socket = console_socket(given, terminal, detached)?;
    let rootfs = spec.root.as_ref().map(|root| bundle.join(&root.path));
    let rootfs = rootfs.ok_or_else(|| Error::invalid("config.json has no root"))?;
    let mut hierarchy = Hierarchy::detect()?;
    let preserve_fds = given.number("preserve-fds")?.unwrap_or(0);
    let linux = spec.linux.as_ref();
    let cgroups_path = linux.map_or("", |linux| linux.cgroups_path.as_str());
    let manager = if globals.systemd_cgroup { user_manager()? } else { None };
    let place = place(globals.systemd_cgroup, manager.as_deref(), cgroups_path, id)?;
    let mut limits = crate::limits(linux.and_then(|linux| linux.resources.as_ref()))?;
    if globals.rootless {
        hierarchy = for_rootless(hierarchy, &place, &mut limits)?;
    }
    let mut group = group(globals, &place, &hierarchy, id, &limits, cgroups_path)?;
    let alone = group.is_none() && !has_pids(&spec);
    for words in warnings(&spec).into_iter().chain(alone.then(|| ALONE.to_owned())) {
        globals.log.warning(&words);
    }
    let mut plan = String::new();
    let made = crate::create(Create {
        id,
        spec: &spec,
        bundle: &bundle,
        rootfs: Rootfs::Path(rootfs.clone()),
        stdio: Stdio { plain_newlines: !detached, ..Stdio::default() },
        cgroup: group.as_ref().map(Group::cgroup),
        hierarchy: &hierarchy,
        gate,
        init: false,
        preserve_fds,
        no_pivot: given.on("no-pivot"),
        no_new_keyring: given.on("no-new-keyring"),
        told: globals.log.debug.then_some(&mut plan),
    });
    plan.lines().for_each(|line| globals.log.debug(line.trim_start()));
    let made = made.and_then(|created| {
        group.as_mut().map_or(Ok(()), |group| group.settle(&hierarchy, &limits))?;
        Ok(created)
    });
    let mut created = match made {
        Ok(created) => created,
        Err(error) => {
            // The reason for giving up is what is reported.
            let _ = group.map(Group::remove);
            return Err(error);
        }
    };
    let finished = publish(given, &mut created, console_socket).and_then(|()| {
        let record = Record {
            id: id.to_owned(),
            pid: created.pid,
            start_time_ticks: created.start_time_ticks,
            bundle: bundle.clone(),
            rootfs,
            created: log::now(),
            cgroup: group.as_ref().map(|group| group.cgroup().path().to_string()),
            unit: globals.systemd_cgroup.then(|| cgroups_path.to_owned()),
            manager,
            brief: Some(Brief::of(&spec)),
        };
        home.save_spec(&spec)?;
        home.save_record(&record)?;
        Ok(record)
    });
    match finished {
        Ok(record) => Ok((created, record)),
        Err(error) => {
            let _ = group.map(Group::remove);
            Err(error)
        }
    }
}

/// Where the manager of the user who is not root listens; none for root, whose is the system's.
fn user_manager() -> Result<Option<PathBuf>> {
    if linux::credentials::effective_uid() == 0 {
        return Ok(None);
    }
    let directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    directory.map(|directory| Some(PathBuf::from(directory))).ok_or_else(|| {
        Error::invalid("--systemd-cgroup: XDG_RUNTIME_DIR is not set, so the user's systemd cannot be found")
    })
}

/// What is left of the trees and the limits for who is not root: access to devices is not theirs to give, and where groups
/// of v1 were delegated, those of the v2 tree beside them need not have been.
fn for_rootless(hierarchy: Hierarchy, place: &Place, limits: &mut Limits) -> Result<Hierarchy> {
    if super::rootless("auto")? {
        limits.devices.clear();
    }
    let path = place.path()?;
    let alone = hierarchy.clone().without_beside();
    Ok(if path.may_be_made(&hierarchy).is_err() && path.may_be_made(&alone).is_ok() {
        alone
    } else {
        hierarchy
    })
}

/// Makes the container's control group. Who may make none does without, if nothing of it was asked for.
fn group(
    globals: &Globals,
    place: &Place,
    hierarchy: &Hierarchy,
    id: &str,
    limits: &Limits,
    cgroups_path: &str,
) -> Result<Option<Group>> {
    if !globals.rootless || globals.systemd_cgroup {
        return place.make(hierarchy, id, limits, Frozen::IsRefused).map(Some);
    }
    match place.path()?.may_be_made(hierarchy) {
        Ok(()) => place.make(hierarchy, id, limits, Frozen::IsRefused).map(Some),
        // Access to devices is not for who has no rights over them to give.
        Err(_)
            if cgroups_path.is_empty()
                && Limits { devices: Vec::new(), ..limits.clone() } == Limits::default() =>
        {
            Ok(None)
        }
        Err(error) => Err(error).during(|| {
            "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: \
             unable to apply cgroup configuration: permission denied"
        }),
    }
}

/// What runc says of such a container.
const ALONE: &str = "Creating a rootless container with no cgroup and no private pid namespace. Such configuration is \
                     strongly discouraged (as it is impossible to properly kill all container's processes)";

fn has_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    namespaces.into_iter().any(|namespace| namespace.kind == oci::runtime::NamespaceKind::Pid)
}

/// What is asked for, cannot be, and is no reason to give up.
fn warnings(spec: &Spec) -> Vec<String> {
    let Some(sets) = spec.process.as_ref().and_then(|process| process.capabilities.as_ref()) else {
        return Vec::new();
    };
    let has = |set: &[String], name: &String| set.contains(name);
    sets.ambient
        .iter()
        .filter(|name| !has(&sets.inheritable, name) || !has(&sets.permitted, name))
        .map(|name| {
            format!("can't raise ambient capability {name}: it must be permitted and inheritable as well")
        })
        .collect()
}

fn bundle(given: &Given) -> Result<PathBuf> {
    let path = Path::new(given.get("bundle").unwrap_or("."));
    path.canonicalize().map_err(|error| Error::invalid(format!("bundle: realpath({path:?}): {error}")))
}

fn console_socket(given: &Given, terminal: bool, detached: bool) -> Result<Option<OwnedFd>> {
    let path = given.get("console-socket").filter(|path| !path.is_empty());
    match (path, terminal) {
        (Some(_), false) => {
            Err(Error::invalid("cannot use console socket if the container is not created with a terminal"))
        }
        (None, true) if detached => Err(Error::invalid(
            "cannot allocate tty if the container is detached without setting console socket",
        )),
        (Some(path), true) => {
            socket::connect(Path::new(path), Duration::from_secs(10)).map(Some).during(|| "console socket")
        }
        (None, _) => Ok(None),
    }
}

/// Hands out the terminal, the pidfd and the pid.
fn publish(given: &Given, created: &mut Created, console_socket: Option<OwnedFd>) -> Result<()> {
    if let (Some(socket), Some(console)) = (console_socket, created.console.as_ref()) {
        hand_over(&socket, b"/dev/ptmx", console).during(|| "console socket")?;
        created.console = None;
    }
    if let Some(path) = given.get("pidfd-socket").filter(|path| !path.is_empty()) {
        let socket = socket::connect(Path::new(path), Duration::from_secs(10)).during(|| "pidfd socket")?;
        hand_over(&socket, b"pidfd", &created.pidfd).during(|| "pidfd socket")?;
    }
    if let Some(path) = given.get("pid-file") {
        write_pid(Path::new(path), created.pid)?;
    }
    Ok(())
}

pub(super) fn hand_over(socket: &OwnedFd, text: &[u8], fd: &OwnedFd) -> Result<()> {
    match socket::send(socket, text, &[fd.as_fd()])? {
        sent if sent == text.len() => Ok(()),
        _ => Err(Error::new(Kind::System, "nobody takes the descriptor")),
    }
}

/// Writes a pid file: it appears with its whole content.
pub(super) fn write_pid(path: &Path, pid: u32) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::invalid(format!("pid file {path:?} has no name")))?;
    let new = path.with_file_name(format!(".{}", name.to_string_lossy()));
    let failed = |call: String| move |error| Error::new(Kind::System, format!("pid file: {call}: {error}"));
    std::fs::write(&new, pid.to_string()).map_err(failed(format!("write({new:?})")))?;
    std::fs::rename(&new, path).map_err(failed(format!("rename({new:?}, {path:?})")))
}
