//! Programs run in a container beside its own: made, started, inspected, resized.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::exec::{ExecCreateRequest, ExecInspect, ExecProcessConfig, ExecStartRequest};
use shim::protocol::{self, ErrorKind, Exec as ExecRequest, Framing, Io, Reply, Request, Target};

use super::attach::{Attached, stream_pair};
use super::launch::console_size;
use super::owner::with;
use super::plan;
use super::record::Record;
use super::registry::Handle;
use super::resize::cells;
use super::spec::ProcessSpec;
use super::state::State;
use crate::engine::Engine;
use crate::{Error, Result, id};

/// Execs kept; beyond it the oldest that have ended are forgotten.
const MAX_EXECS: usize = 10_000;
/// An exec that has ended is remembered this long.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// One exec.
#[derive(Debug, Clone)]
struct Exec {
    container_id: String,
    request: ExecCreateRequest,
    phase: Phase,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Made,
    Starting,
    Running { pid: i32 },
    Ended { code: i32, pid: i32, at: Instant },
}

/// All execs, by identifier.
#[derive(Debug, Default)]
pub struct Execs {
    all: Mutex<HashMap<String, Exec>>,
    /// Their identifiers, the oldest first. Locked before `all`.
    order: Mutex<VecDeque<String>>,
    /// Told whenever one has ended or is forgotten.
    ended: tokio::sync::Notify,
}

impl Execs {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Exec>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, exec_id: &str) -> Result<Exec> {
        let missing = || Error::not_found(format!("No such exec instance: {exec_id}"));
        self.lock().get(exec_id).cloned().ok_or_else(missing)
    }

    fn set(&self, exec_id: &str, phase: Phase) {
        if let Some(exec) = self.lock().get_mut(exec_id)
            && !matches!(exec.phase, Phase::Ended { .. })
        {
            exec.phase = phase;
        }
    }

    /// Living execs of a container.
    pub(crate) fn of_container(&self, container_id: &str) -> Vec<String> {
        let all = self.lock();
        let living = all.iter().filter(|(_, exec)| {
            exec.container_id == container_id && !matches!(exec.phase, Phase::Ended { .. })
        });
        let mut ids: Vec<String> = living.map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }

    /// Forgets what belongs to a removed container.
    pub(crate) fn forget_container(&self, container_id: &str) {
        self.lock().retain(|_, exec| exec.container_id != container_id);
        self.ended.notify_waiters();
    }

    /// The shim says that one has ended.
    pub(crate) fn ended(&self, engine: &Engine, exec_id: &str, code: i32) {
        let ended = {
            let mut all = self.lock();
            let Some(exec) = all.get_mut(exec_id) else { return };
            let pid = match exec.phase {
                Phase::Running { pid } => pid,
                Phase::Ended { .. } => return,
                _ => 0,
            };
            exec.phase = Phase::Ended { code, pid, at: Instant::now() };
            exec.clone()
        };
        self.ended.notify_waiters();
        if let Ok(handle) = engine.containers.find(&ended.container_id) {
            let attributes = with(handle.view().record.attributes(), "execID", exec_id);
            let attributes = with(attributes, "exitCode", &code.to_string());
            engine.events.publish("container", "exec_die", &ended.container_id, attributes);
        }
    }

    /// The container's own program has ended, and every other one with it.
    pub(crate) fn container_ended(&self, container_id: &str) {
        let at = Instant::now();
        for exec in self.lock().values_mut().filter(|exec| exec.container_id == container_id) {
            if let Phase::Running { pid } = exec.phase {
                exec.phase = Phase::Ended { code: 137, pid, at };
            }
        }
        self.ended.notify_waiters();
    }

    fn insert(&self, exec_id: &str, exec: Exec) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.lock();
        forget_old(&mut order, &mut all);
        order.push_back(exec_id.to_owned());
        all.insert(exec_id.to_owned(), exec);
    }
}

/// Forgets the oldest execs when they have ended long ago, or when there are too many. Looks at a few and not at all: this
/// is done for each exec.
fn forget_old(order: &mut VecDeque<String>, all: &mut HashMap<String, Exec>) {
    for _ in 0..4 {
        let is_full = all.len() >= MAX_EXECS || order.len() >= 2 * MAX_EXECS;
        let Some(oldest) = order.front() else { return };
        match all.get(oldest).map(|exec| exec.phase) {
            None => {}
            Some(Phase::Ended { at, .. }) if is_full || at.elapsed() > KEPT => {}
            Some(Phase::Made) if is_full => {}
            // What runs for long stands in nobody's way.
            Some(Phase::Starting | Phase::Running { .. }) => {
                order.rotate_left(1);
                continue;
            }
            Some(Phase::Ended { .. } | Phase::Made) => return,
        }
        if let Some(oldest) = order.pop_front() {
            all.remove(&oldest);
        }
    }
}

/// The container of an exec, when programs can be run in it.
fn running(engine: &Engine, reference: &str) -> Result<Handle> {
    let handle = engine.containers.find(reference)?;
    let id = &handle.id;
    match handle.view().state() {
        State::Running(_) | State::Stopping { .. } => Ok(handle),
        State::Paused(_) => {
            Err(Error::conflict(format!("container {id} is paused, unpause the container before exec")))
        }
        State::Restarting { .. } => {
            Err(Error::conflict(format!("Container {id} is restarting, wait until the container is running")))
        }
        _ => Err(Error::conflict(format!("container {id} is not running"))),
    }
}

/// Makes an exec; it does nothing until it is started. Answers with its identifier.
pub async fn create(engine: &Engine, reference: &str, request: ExecCreateRequest) -> Result<String> {
    let handle = running(engine, reference)?;
    let command = request.cmd.clone().unwrap_or_default();
    if command.is_empty() || command == [String::new()] {
        return Err(Error::invalid("No exec command specified"));
    }
    for entry in request.env.iter().flatten() {
        if entry.is_empty() || entry.starts_with('=') {
            return Err(Error::invalid(format!("invalid environment variable: {entry}")));
        }
    }
    if !request.working_dir.is_empty() && !request.working_dir.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            request.working_dir
        )));
    }
    let exec_id = id::new_id()?;
    let action = format!("exec_create: {}", words(&command));
    let attributes = with(handle.view().record.attributes(), "execID", &exec_id);
    let exec = Exec { container_id: handle.id.to_string(), request, phase: Phase::Made };
    engine.execs.insert(&exec_id, exec);
    engine.events.publish("container", &action, &handle.id, attributes);
    Ok(exec_id)
}

/// A command as events print it: the program, a space, and its arguments, of which there may be none.
fn words(command: &[String]) -> String {
    let (program, arguments) =
        command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    format!("{program} {}", arguments.join(" "))
}

/// What an exec runs: the container's rights and environment, with what its request changes.
fn process_of(record: &Record, request: &ExecCreateRequest, known: &[&'static str]) -> ProcessSpec {
    let own = &record.spec.process;
    let mut env = own.env.clone();
    env.extend(request.env.iter().flatten().filter(|entry| entry.contains('=')).cloned());
    ProcessSpec {
        args: request.cmd.clone().unwrap_or_default(),
        env,
        cwd: if request.working_dir.is_empty() { own.cwd.clone() } else { request.working_dir.clone() },
        user: if request.user.is_empty() { own.user.clone() } else { request.user.clone() },
        tty: request.tty,
        console_size: request.console_size.unwrap_or_default(),
        capabilities: if request.privileged || record.spec.privileged {
            known.iter().map(|name| (*name).to_owned()).collect()
        } else {
            own.capabilities.clone()
        },
        ..own.clone()
    }
}

/// What an exec's starter wants beyond the API.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    /// Output comes without frames, both streams as one.
    pub(crate) raw: bool,
    /// After this time it is killed.
    pub(crate) time_limit: Option<Duration>,
}

/// Starts an exec. With an attachment, the stream is connected before the program runs; `None` when detached.
pub async fn start(engine: &Engine, exec_id: &str, start: ExecStartRequest) -> Result<Option<Attached>> {
    start_as(engine, exec_id, start, How::default()).await
}

/// [`start`], for those who want more than the API gives.
pub(crate) async fn start_as(
    engine: &Engine,
    exec_id: &str,
    start: ExecStartRequest,
    how: How,
) -> Result<Option<Attached>> {
    let exec = engine.execs.get(exec_id)?;
    match exec.phase {
        Phase::Made => {}
        Phase::Ended { .. } => {
            return Err(Error::conflict(format!("exec command {exec_id} has already run")));
        }
        _ => return Err(Error::conflict(format!("exec command {exec_id} is already running"))),
    }
    let handle = running(engine, &exec.container_id)?;
    engine.execs.set(exec_id, Phase::Starting);
    let mut request = exec.request;
    request.console_size = start.console_size.or(request.console_size);
    let launched = launch(engine, &handle, exec_id, &request, &start, how).await;
    match launched {
        Ok((pid, attached)) => {
            engine.execs.set(exec_id, Phase::Running { pid });
            Ok(attached)
        }
        Err(error) => {
            // A container that ended meanwhile has taken its namespaces along, whatever call noticed it.
            let error = running(engine, &exec.container_id).err().unwrap_or(error);
            let code = match error.kind {
                crate::Kind::InvalidParameter if error.message.contains("ermission") => 126,
                crate::Kind::InvalidParameter => 127,
                _ => 126,
            };
            engine.execs.ended(engine, exec_id, code);
            Err(error)
        }
    }
}

async fn launch(
    engine: &Engine,
    handle: &Handle,
    exec_id: &str,
    request: &ExecCreateRequest,
    start: &ExecStartRequest,
    with: How,
) -> Result<(i32, Option<Attached>)> {
    let view = handle.view();
    let not_running = || Error::conflict(format!("container {} is not running", handle.id));
    let live = view.live.as_ref().ok_or_else(not_running)?;
    let pid = view.state().running().ok_or_else(not_running)?.process.pid;
    let spec = process_of(&view.record, request, &engine.host.capabilities);
    let (owned, record) = (engine.clone(), (*view.record).clone());
    let process = crate::blocking(move || {
        let facts = super::facts::gather_exec(&owned, &record, pid, &spec.user)?;
        let mut process = plan::process(&spec, Some(&record.spec.hostname), &facts)?;
        if record.spec.privileged {
            process.no_new_privileges = false;
        }
        Ok(process)
    })
    .await?;
    let io = Io {
        terminal: request.tty,
        console_size: console_size(request.console_size.unwrap_or_default()),
        stdin: request.attach_stdin && !start.detach,
        stdin_once: true,
    };
    let (attach, stream, descriptors) = if start.detach {
        (None, None, Vec::new())
    } else {
        let (ours, theirs) = stream_pair()?;
        let how = protocol::Attach {
            target: Target::Exec(exec_id.to_owned()),
            stdin: request.attach_stdin,
            stdout: request.attach_stdout || request.tty,
            stderr: request.attach_stderr,
            // What the client expects decides, as in Docker, not what the program has.
            framing: if start.tty || with.raw { Framing::Raw } else { Framing::Mux },
        };
        (Some(how), Some(Attached { stream: ours, tty: request.tty, reader: None }), vec![theirs])
    };
    let action = format!("exec_start: {}", words(request.cmd.as_deref().unwrap_or_default()));
    engine.events.publish(
        "container",
        &action,
        &handle.id,
        super::owner::with(view.record.attributes(), "execID", exec_id),
    );
    let time_limit_ms = with.time_limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let message = ExecRequest { exec_id: exec_id.to_owned(), process, io, attach, time_limit_ms };
    let (reply, _) =
        live.link.call(Request::Exec(Box::new(message)), descriptors).await.map_err(exec_error)?;
    let Reply::ExecStarted { pid } = reply else {
        return Err(Error::system("the shim answered an exec with something else"));
    };
    Ok((i32::try_from(pid).unwrap_or(0), stream))
}

fn exec_error(error: protocol::Error) -> Error {
    let message = format!(
        "OCI runtime exec failed: exec failed: unable to start container process: {}{}",
        error.message,
        super::launch::clue(error.kind)
    );
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::IsDirectory => Error::invalid(message),
        ErrorKind::Invalid => Error::conflict(message),
        ErrorKind::Other => Error::system(message),
    }
}

/// Waits until an exec has ended, or is not known any more.
pub async fn ended(engine: &Engine, exec_id: &str) {
    loop {
        let mut told = std::pin::pin!(engine.execs.ended.notified());
        told.as_mut().enable();
        match engine.execs.get(exec_id) {
            Ok(exec) if !matches!(exec.phase, Phase::Ended { .. }) => told.await,
            Ok(_) | Err(_) => return,
        }
    }
}

/// The codes of detach keys, base64; empty when none were asked for.
fn shown_keys(asked: &str) -> String {
    let keys = if asked.is_empty() { None } else { api::detach_keys::parse(asked) };
    api::registry::base64_encode(&keys.unwrap_or_default())
}

/// Forgets an exec that nobody else has heard of; its exit code when it has ended.
pub(crate) fn forget(engine: &Engine, exec_id: &str) -> Option<i32> {
    match engine.execs.lock().remove(exec_id)?.phase {
        Phase::Ended { code, .. } => Some(code),
        _ => None,
    }
}

/// Inspects an exec.
pub async fn inspect(engine: &Engine, exec_id: &str) -> Result<ExecInspect> {
    let Exec { container_id, request, phase } = engine.execs.get(exec_id)?;
    let (exit_code, pid) = match phase {
        Phase::Running { pid } => (None, pid),
        Phase::Ended { code, pid, .. } => (Some(i64::from(code)), pid),
        Phase::Made | Phase::Starting => (None, 0),
    };
    let command = request.cmd.unwrap_or_default();
    let (entrypoint, arguments) = command
        .split_first()
        .map_or_else(Default::default, |(program, arguments)| (program.clone(), arguments.to_vec()));
    Ok(ExecInspect {
        id: exec_id.to_owned(),
        running: matches!(phase, Phase::Running { .. }),
        exit_code,
        process_config: Some(ExecProcessConfig {
            tty: request.tty,
            entrypoint,
            arguments,
            privileged: Some(request.privileged),
            user: request.user,
        }),
        open_stdin: request.attach_stdin,
        open_stderr: request.attach_stderr,
        open_stdout: request.attach_stdout,
        can_remove: matches!(phase, Phase::Ended { .. }),
        container_id,
        detach_keys: Some(shown_keys(&request.detach_keys)),
        pid: i64::from(pid),
    })
}

/// Resizes the terminal of a running exec.
pub async fn resize(engine: &Engine, exec_id: &str, height: u32, width: u32) -> Result<()> {
    let exec = engine.execs.get(exec_id)?;
    let view = engine.containers.find(&exec.container_id)?.view();
    let live = view.live.as_ref().filter(|_| matches!(exec.phase, Phase::Running { .. }));
    let live = live.ok_or_else(|| Error::conflict(format!("exec command {exec_id} is not running")))?;
    live.link.resize(Target::Exec(exec_id.to_owned()), cells(height)?, cells(width)?).await
}

/// Tells those who listen that a client detached with its keys.
pub fn detached(engine: &Engine, exec_id: &str) {
    if let Ok(exec) = engine.execs.get(exec_id)
        && let Ok(handle) = engine.containers.find(&exec.container_id)
    {
        let attributes = with(handle.view().record.attributes(), "execID", exec_id);
        engine.events.publish("container", "exec_detach", &handle.id, attributes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(phase: Phase) -> Exec {
        Exec { container_id: "c".to_owned(), request: ExecCreateRequest::default(), phase }
    }

    fn ended() -> Phase {
        Phase::Ended { code: 0, pid: 1, at: Instant::now() }
    }

    #[test]
    fn many_are_kept_and_the_oldest_that_ended_go() {
        let execs = Execs::default();
        execs.insert("living", exec(Phase::Running { pid: 7 }));
        for number in 0..MAX_EXECS + 500 {
            execs.insert(&number.to_string(), exec(ended()));
        }
        assert!(execs.lock().len() <= MAX_EXECS + 1);
        execs.get("living").expect("what runs is never forgotten");
        execs.get(&(MAX_EXECS + 499).to_string()).expect("the last one");
        execs.get("0").expect_err("the first one");
    }

    #[test]
    fn those_of_removed_containers_leave_nothing() {
        let execs = Execs::default();
        for number in 0..3 * MAX_EXECS {
            execs.insert(&number.to_string(), exec(ended()));
            if number % 100 == 0 {
                execs.forget_container("c");
            }
        }
        let order = execs.order.lock().expect("not poisoned").len();
        assert!(order <= 2 * MAX_EXECS + 1, "{order}");
    }
}
