//! `exec`.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use cgroup::Hierarchy;
use linux::procfs::Procfs;
use linux::socket;
use oci::runtime::{Capabilities, Process, Spec, User};

use super::arguments::{Flag, Given, switch, value};
use super::create::{hand_over, write_pid};
use super::record::{Home, Status, read};
use super::{Globals, relay};
use crate::error::While;
use crate::{Error, Exec, Kind, Result, Stdio};

/// Flags of `exec`.
pub(super) const EXEC: &[Flag] = &[
    value("console-socket"),
    value("pidfd-socket"),
    value("cwd"),
    value("env").or('e'),
    switch("tty").or('t'),
    value("user").or('u'),
    value("additional-gids").or('g'),
    value("process").or('p'),
    switch("detach").or('d'),
    value("pid-file"),
    value("process-label"),
    value("apparmor"),
    switch("no-new-privs"),
    value("cap").or('c'),
    value("preserve-fds"),
    value("cgroup"),
    switch("ignore-paused"),
];

/// The largest file of a process.
const PROCESS_LIMIT: u64 = 16 << 20;

/// `exec ID COMMAND [ARGUMENTS]`, or `exec --process FILE ID`.
pub(super) fn exec(globals: &Globals, given: &Given) -> Result<i32> {
    let [id, command @ ..] = given.rest.as_slice() else {
        return Err(Error::invalid("exec needs a container's id and a command"));
    };
    let home = Home::of(&globals.root, id)?;
    let (record, spec, procfs) = (home.record()?, home.spec()?, Procfs::open()?);
    match home.status(&record, &procfs)? {
        Status::Stopped => return Err(Error::new(Kind::State, "cannot exec in a stopped container")),
        Status::Paused if !given.on("ignore-paused") => {
            return Err(Error::new(
                Kind::State,
                "cannot exec in a paused container (use --ignore-paused to override)",
            ));
        }
        Status::Created | Status::Running | Status::Paused => {}
    }
    let container = record.process(&procfs)?;
    let container = container.ok_or_else(|| Error::new(Kind::State, "cannot exec in a stopped container"))?;
    let process = process(given, command, &spec)?;
    let (detach, socket) = (given.on("detach"), given.get("console-socket"));
    if process.terminal && detach && socket.is_none() {
        return Err(Error::invalid("cannot allocate tty if exec is detached without setting console socket"));
    }
    let group = group(given, &record)?;
    let signals = if detach { None } else { Some(relay::prepare()?) };
    let mut plan = String::new();
    let executed = crate::exec(Exec {
        id,
        container: container.as_fd(),
        hierarchy: &Hierarchy::detect()?,
        spec: &spec,
        process: &process,
        stdio: Stdio { plain_newlines: socket.is_none(), ..Stdio::default() },
        cgroup: group.as_ref(),
        or_beside_init: given.get("cgroup").is_none(),
        preserve_fds: given.number("preserve-fds")?.unwrap_or(0),
        told: globals.log.debug.then_some(&mut plan),
    });
    plan.lines().for_each(|line| globals.log.debug(line.trim_start()));
    let executed = executed?;
    let mut console = executed.console;
    if let (Some(path), Some(terminal)) = (socket, console.as_ref()) {
        let socket = socket::connect(Path::new(path), Duration::from_secs(10)).during(|| "console socket")?;
        hand_over(&socket, b"/dev/ptmx", terminal).during(|| "console socket")?;
        console = None;
    }
    if let Some(path) = given.get("pidfd-socket").filter(|path| !path.is_empty()) {
        let socket = socket::connect(Path::new(path), Duration::from_secs(10)).during(|| "pidfd socket")?;
        hand_over(&socket, b"pidfd", &executed.pidfd).during(|| "pidfd socket")?;
    }
    if let Some(path) = given.get("pid-file") {
        write_pid(Path::new(path), executed.pid)?;
    }
    match &signals {
        Some(signals) => relay::stand_in(executed.pidfd, console, signals),
        None => Ok(0),
    }
}

/// The container's own group; or those below it that `--cgroup` names, for all trees (`PATH`) or for those of some
/// controllers (`memory:PATH`, `cpu,cpuacct:PATH`).
fn group(given: &Given, record: &super::record::Record) -> Result<Option<cgroup::Cgroup>> {
    let (mut group, asked) = (record.cgroup()?, given.all("cgroup"));
    let refuse = |one: &str, why: &str| Err(Error::invalid(format!("invalid --cgroup argument: {one}{why}")));
    let mut seen: Vec<&str> = Vec::new();
    for one in &asked {
        let own =
            group.take().ok_or_else(|| Error::invalid("--cgroup: the container has no control group"))?;
        let (controllers, below) = match one.split_once(':') {
            Some((_, below)) if below.contains(':') => return refuse(one, ""),
            Some((names, below)) => (names.split(',').map(Some).collect(), below),
            None if asked.len() == 1 => (vec![None], one.as_str()),
            None => return refuse(one, " (missing <controller>: prefix)"),
        };
        let mut narrowed = own;
        for controller in controllers {
            match controller {
                Some("") => return refuse(one, " (empty <controller> prefix)"),
                Some(name) if seen.contains(&name) => {
                    return refuse(one, &format!(": duplicate controller {name}"));
                }
                name => seen.extend(name),
            }
            let path = narrowed.path().to_string();
            narrowed = narrowed.narrow(controller, below).map_err(|error| nowhere(&path, below, error))?;
        }
        group = Some(narrowed);
    }
    Ok(group)
}

/// In runc's words, that a group is not there.
fn nowhere(path: &str, below: &str, error: cgroup::Error) -> Error {
    if error.is(2) {
        let file = format!("{path}/{}/cgroup.procs", below.trim_matches('/'));
        return Error::new(Kind::State, format!("error adding pid to {file}: no such file or directory"));
    }
    error.into()
}

/// The process from a file, or the container's own with what the flags say.
fn process(given: &Given, command: &[String], spec: &Spec) -> Result<Process> {
    if let Some(path) = given.get("process") {
        let text = read(Path::new(path), PROCESS_LIMIT)?;
        return serde_json::from_slice(&text).map_err(|error| Error::invalid(format!("{path}: {error}")));
    }
    if command.is_empty() {
        return Err(Error::invalid("process args cannot be empty"));
    }
    let mut process = spec.process.clone().unwrap_or_default();
    process.args = command.to_vec();
    process.terminal = given.on("tty");
    process.console_size = None;
    process.env.extend(given.all("env"));
    if let Some(cwd) = given.get("cwd") {
        cwd.clone_into(&mut process.cwd);
    }
    if let Some(user) = given.get("user") {
        let (uid, gid) = user.split_once(':').unwrap_or((user, ""));
        let id = |text: &str| {
            text.parse().map_err(|_| Error::invalid(format!("invalid user {user:?}: not UID[:GID]")))
        };
        let gid = if gid.is_empty() { 0 } else { id(gid)? };
        process.user = User { uid: id(uid)?, gid, ..User::default() };
    }
    for group in given.all("additional-gids") {
        let number = group.parse().map_err(|_| Error::invalid(format!("invalid group {group:?}")))?;
        process.user.additional_gids.push(number);
    }
    let capabilities = given.all("cap");
    if !capabilities.is_empty() {
        let sets = process.capabilities.get_or_insert_with(Capabilities::default);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(capabilities.iter().cloned());
        }
        // Ambient ones must be inheritable, which this flag does not make them.
        if !sets.inheritable.is_empty() {
            sets.ambient.extend(capabilities.iter().cloned());
        }
    }
    if given.get("no-new-privs").is_some() {
        process.no_new_privileges = given.on("no-new-privs");
    }
    if let Some(profile) = given.get("apparmor") {
        profile.clone_into(&mut process.apparmor_profile);
    }
    if let Some(label) = given.get("process-label") {
        label.clone_into(&mut process.selinux_label);
    }
    Ok(process)
}
