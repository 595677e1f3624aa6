//! `state`, `list`, `kill`, `delete`, `pause`, `resume` and `ps`.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use linux::pidfd::PidFd;
use linux::procfs::Procfs;
use linux::watch::{self, Interest};
use oci::runtime::{Spec, State};

use super::Globals;
use super::arguments::{Flag, Given, switch, value};
use super::record::{Home, Record, Status};
use super::signal;
use crate::{Error, Kind, Result, hooks};

/// Flags of `kill`.
pub(super) const KILL: &[Flag] = &[switch("all").or('a')];
/// Flags of `delete`.
pub(super) const DELETE: &[Flag] = &[switch("force").or('f')];
/// Flags of `list`.
pub(super) const LIST: &[Flag] = &[value("format").or('f'), switch("quiet").or('q')];
/// Flags of `ps`.
pub(super) const PS: &[Flag] = &[value("format").or('f')];

/// How long a killed process may take to end.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// The state in the specification's form.
pub(super) fn state(record: &Record, spec: &Spec, status: Status) -> State {
    State {
        oci_version: oci::runtime::VERSION.to_owned(),
        id: record.id.clone(),
        status: status.word().to_owned(),
        pid: if status == Status::Stopped { 0 } else { i32::try_from(record.pid).unwrap_or_default() },
        bundle: record.bundle.display().to_string(),
        annotations: spec.annotations.clone(),
    }
}

/// What `state` and `list` print: the specification's state and what runc adds.
fn description(home: &Home) -> Result<serde_json::Value> {
    let record = home.record()?;
    let status = home.status(&record, &Procfs::open()?)?;
    let pid = if status == Status::Stopped { 0 } else { record.pid };
    let mut description = serde_json::json!({
        "ociVersion": oci::runtime::VERSION,
        "id": record.id,
        "pid": pid,
        "status": status.word(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
    });
    if home.brief(&record)?.annotations {
        description["annotations"] = serde_json::json!(home.spec()?.annotations);
    }
    description["owner"] = "".into();
    Ok(description)
}

/// `state ID`.
pub(super) fn print(globals: &Globals, given: &Given) -> Result<i32> {
    let home = Home::of(&globals.root, given.only("the container's id")?)?;
    println!("{:#}", description(&home)?);
    Ok(0)
}

/// `list`.
pub(super) fn list(globals: &Globals, given: &Given) -> Result<i32> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(&globals.root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        other => Some(
            other
                .map_err(|error| Error::new(Kind::System, format!("readdir({:?}): {error}", globals.root)))?,
        ),
    };
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // One that is being made or deleted, or is broken, does not hide the others.
        if let Ok(home) = Home::of(&globals.root, &name)
            && let Ok(description) = description(&home)
        {
            found.push(description);
        }
    }
    found.sort_by_key(|one| one["created"].to_string());
    let field = |one: &serde_json::Value, name: &str| match &one[name] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match (given.on("quiet"), given.get("format").unwrap_or("table")) {
        (true, _) => found.iter().for_each(|one| println!("{}", field(one, "id"))),
        (_, "json") if found.is_empty() => println!("null"),
        (_, "json") => println!("{}", serde_json::Value::Array(found)),
        (_, "table") => {
            let names = ["id", "pid", "status", "bundle", "created", "owner"];
            let mut rows = vec![names.map(str::to_uppercase)];
            rows.extend(found.iter().map(|one| names.map(|name| field(one, name))));
            let width =
                |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(8) + 4;
            for row in &rows {
                let cells: String =
                    (0..5).map(|column| format!("{:<1$}", row[column], width(column))).collect();
                println!("{}{}", cells, row[5]);
            }
        }
        (_, other) => return Err(Error::invalid(format!("invalid format option {other:?}"))),
    }
    Ok(0)
}

/// `kill ID [SIGNAL]`.
pub(super) fn kill(globals: &Globals, given: &Given) -> Result<i32> {
    let (id, signal) = match given.rest.as_slice() {
        [id] => (id, "TERM"),
        [id, signal] => (id, signal.as_str()),
        _ => return Err(Error::invalid("kill needs a container's id and may have a signal")),
    };
    let number =
        signal::number(signal).ok_or_else(|| Error::invalid(format!("unknown signal {signal:?}")))?;
    let home = Home::of(&globals.root, id)?;
    let record = home.record()?;
    // With pids of its own, a container ends with its first process; else nothing ends the others but this.
    let own_pids = home.brief(&record)?.own_pids;
    if (given.on("all") || number == 9 && !own_pids)
        && let Some(group) = record.cgroup()?
    {
        group.signal(number)?;
        return Ok(0);
    }
    match record.process(&Procfs::open()?)? {
        Some(process) if process.send(number)? => Ok(0),
        // All of nobody, as with runc.
        _ if given.on("all") => Ok(0),
        _ => Err(Error::new(Kind::State, "container not running")),
    }
}

/// `delete ID`.
pub(super) fn delete(globals: &Globals, given: &Given) -> Result<i32> {
    let home = Home::of(&globals.root, given.only("the container's id")?)?;
    let force = given.on("force");
    if force && !home.exists() {
        return Ok(0);
    }
    delete_home(&home, force)?;
    Ok(0)
}

/// Ends what is left when that is wanted, takes down the control group, runs the hooks and forgets the container.
pub(super) fn delete_home(home: &Home, force: bool) -> Result<()> {
    let record = match home.record() {
        // Its making was cut off before it was a container.
        Err(error) if force && error.kind() == Kind::NoContainer => return home.remove(),
        other => other?,
    };
    let procfs = Procfs::open()?;
    let status = home.status(&record, &procfs)?;
    if !force && !matches!(status, Status::Stopped) {
        return Err(Error::new(
            Kind::State,
            format!("cannot delete container {} that is not stopped: {}", record.id, status.word()),
        ));
    }
    let process = record.process(&procfs)?;
    if let Some(process) = &process {
        process.send(9)?;
    }
    match (record.place()?, &process) {
        (Some(place), _) => place.remove(&cgroup::Hierarchy::detect()?)?,
        (None, Some(process)) => until_ended(&record.id, process)?,
        (None, None) => {}
    }
    let spec = if home.brief(&record)?.poststop { Some(home.spec()?) } else { None };
    home.remove()?;
    match spec.as_ref().and_then(|spec| spec.hooks.as_ref().map(|hooks| (spec, hooks))) {
        Some((spec, after)) => {
            hooks::run("poststop", &after.poststop, &state(&record, spec, Status::Stopped))
        }
        None => Ok(()),
    }
}

/// Waits for a process that was killed: what it had mounted and held is free once it has ended.
fn until_ended(id: &str, process: &PidFd) -> Result<()> {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if watch::wait(&[(process.as_fd(), Interest::Readable)], left)?.contains(&true) {
            return Ok(());
        }
        if left.is_zero() {
            let words = format!("container {id} is killed, but has not ended after {GONE_WITHIN:?}");
            return Err(Error::new(Kind::State, words));
        }
    }
}

fn group_of(globals: &Globals, given: &Given) -> Result<(Home, Record, cgroup::Cgroup)> {
    let home = Home::of(&globals.root, given.only("the container's id")?)?;
    let record = home.record()?;
    let group = record.cgroup()?;
    let group = group.ok_or_else(|| Error::new(Kind::State, "the container has no control group"))?;
    Ok((home, record, group))
}

/// `pause ID`.
pub(super) fn pause(globals: &Globals, given: &Given) -> Result<i32> {
    let (home, record, group) = group_of(globals, given)?;
    match home.status(&record, &Procfs::open()?)? {
        Status::Running | Status::Created => group.freeze()?,
        status => return Err(Error::new(Kind::State, format!("container not running: {}", status.word()))),
    }
    Ok(0)
}

/// `resume ID`.
pub(super) fn resume(globals: &Globals, given: &Given) -> Result<i32> {
    let (home, record, group) = group_of(globals, given)?;
    match home.status(&record, &Procfs::open()?)? {
        Status::Paused => group.thaw()?,
        status => return Err(Error::new(Kind::State, format!("container not paused: {}", status.word()))),
    }
    Ok(0)
}

/// `ps ID [ps options]`: the host's ps(1), filtered.
pub(super) fn processes(globals: &Globals, given: &Given) -> Result<i32> {
    let [id, options @ ..] = given.rest.as_slice() else {
        return Err(Error::invalid("ps needs a container's id"));
    };
    let record = Home::of(&globals.root, id)?.record()?;
    let pids = match record.cgroup()? {
        Some(group) => group.pids()?,
        None => vec![record.pid],
    };
    if given.get("format") == Some("json") {
        println!("{}", serde_json::json!(pids));
        return Ok(0);
    }
    let options: Vec<&str> =
        if options.is_empty() { vec!["-ef"] } else { options.iter().map(String::as_str).collect() };
    let output = std::process::Command::new(Path::new("ps")).args(options).output();
    let output = output.map_err(|error| Error::new(Kind::System, format!("ps: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    let column = title.split_ascii_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Error::invalid("couldn't find PID field in ps output"))?;
    println!("{title}");
    for line in lines {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|field| field.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            println!("{line}");
        }
    }
    Ok(0)
}
