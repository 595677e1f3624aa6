//! Answers to what a daemon asks for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use linux::epoll::Epoll;
use linux::pidfd::PidFd;
use oci::runtime::{NamespaceKind, Spec};

use super::connection::Connection;
use super::launch::{Launched, Stdio};
use super::process::{Ends, Managed};
use super::supervisor::{CONTAINER, Container, Supervisor};
use crate::log::Writer;
use crate::protocol::{
    Attach, Create, Descriptor, Error, ErrorKind, Exec, ExecStatus, FromShim, Io, Reply, Request, State,
    Status, Target, ToShim,
};
use crate::{exit_record, recovery};

const SIGKILL: i32 = 9;

type Answer = Result<(Reply, Vec<OwnedFd>), Error>;

/// Tells who asked for a container that its network namespace is there.
struct NetnsTeller<'a> {
    asker: Option<&'a mut Connection>,
    epoll: &'a Epoll,
    serial: u64,
    is_own: bool,
}

impl NetnsTeller<'_> {
    /// It comes again with the answer: who is not told now loses nothing but time.
    fn tell(&mut self, pid: u32) {
        let (true, Some(asker)) = (self.is_own, &mut self.asker) else { return };
        let Some(netns) = netns_of(pid) else { return };
        let reply = Reply::Netns { descriptors: vec![Descriptor::Netns] };
        let message = FromShim::Reply { serial: self.serial, reply };
        // A connection that takes nothing any more is found out with the answer.
        let _ = asker.send(&message, vec![netns], self.epoll);
    }
}

fn has_own_network(spec: &Spec) -> bool {
    let namespaces = spec.linux.as_ref().map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
    namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Network && namespace.path.is_none())
}

/// The network namespace of a process that nobody but us can reap: its number is certain.
fn netns_of(pid: u32) -> Option<OwnedFd> {
    File::open(format!("/proc/{pid}/ns/net")).ok().map(OwnedFd::from)
}

impl Supervisor<'_> {
    /// Does what a request asks for, and answers it.
    pub(super) fn request(
        &mut self,
        connection: u32,
        message: ToShim,
        mut descriptors: Vec<OwnedFd>,
    ) -> linux::Result<()> {
        let answer = match message.request {
            Request::Hello => self.hello(),
            Request::Create(create) => self.create(*create, connection, message.serial),
            Request::Start => self.start(),
            Request::Exec(exec) => self.exec(*exec, descriptors.pop()),
            Request::Attach(attach) => self.attach(&attach, descriptors.pop()),
            Request::Resize { target, height, width } => self.resize(&target, height, width),
            Request::CloseStdin { target } => self.close_stdin(&target),
            Request::Shutdown => match self.shutdown() {
                // The answer comes when the end is on record.
                Ok(false) => {
                    self.farewell.waiting.push((connection, message.serial));
                    return Ok(());
                }
                Ok(true) => Ok((Reply::Done, Vec::new())),
                Err(error) => Err(error),
            },
        };
        let (reply, descriptors) = answer.unwrap_or_else(|error| (Reply::Error(error), Vec::new()));
        self.send(connection, &FromShim::Reply { serial: message.serial, reply }, descriptors)
    }

    fn hello(&mut self) -> Answer {
        let (names, descriptors) = self.handles();
        let running = self.processes.iter().filter_map(|managed| {
            let exec_id = managed.exec_id.clone()?;
            Some(ExecStatus {
                exec_id,
                pid: managed.pid,
                running: managed.exit.is_none(),
                exit: managed.exit.clone(),
            })
        });
        let execs = running.chain(self.unheard.drain(..)).collect();
        let status = Status {
            state: self.state(),
            pid: self.container.as_ref().map(|container| container.pid),
            start_time_ticks: self.container.as_ref().map(|container| container.start_time_ticks),
            exit: self.container.as_ref().and_then(|container| container.exit.clone()),
            execs,
            log: self
                .writer
                .as_ref()
                .map_or_else(|| self.log_status.clone(), |writer| writer.status().clone()),
            descriptors: names,
        };
        Ok((Reply::Status(Box::new(status)), descriptors))
    }

    /// The pidfd and the network namespace of a container that lives.
    fn handles(&self) -> (Vec<Descriptor>, Vec<OwnedFd>) {
        let Some(container) = self.container.as_ref().filter(|container| container.exit.is_none()) else {
            return Default::default();
        };
        let pidfd = container.pidfd.try_clone().ok().map(|fd| (Descriptor::Pidfd, fd));
        let netns = netns_of(container.pid).map(|netns| (Descriptor::Netns, netns));
        pidfd.into_iter().chain(netns).unzip()
    }

    fn create(&mut self, mut create: Create, connection: u32, serial: u64) -> Answer {
        if self.state() != State::Empty {
            return Err(Error::new(ErrorKind::Invalid, "this shim already has a container"));
        }
        if let Err(error) = exit_record::remove(&create.data_dir) {
            let text = format!("cannot remove the old exit record in {}: {error}", create.data_dir.display());
            return Err(Error::new(ErrorKind::Other, text));
        }
        let writer =
            Writer::open(&create.log).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let (stdio, ends) = streams(&create.io)?;
        if let Some(process) = &mut create.spec.process {
            // Ours is lower than anybody else's, and would be inherited.
            process.oom_score_adj.get_or_insert(0);
        }
        let Self { launch, connections, epoll, .. } = self;
        let asker = connections.iter_mut().find(|known| known.id == connection);
        let mut tell = NetnsTeller { asker, epoll, serial, is_own: has_own_network(&create.spec) };
        let launched = launch.create(&create, stdio.as_ref(), &mut |pid| tell.tell(pid))?;
        drop(stdio);
        let ticks = recovery::start_time_ticks(launched.pid);
        let start_time_ticks = ticks.map_err(|error| other("/proc", &error))?.unwrap_or(0);
        self.writer = Some(writer);
        let pid = launched.pid;
        let pidfd = launched.pidfd.try_clone().map_err(|error| other("pidfd", &error))?;
        let mut managed = Managed::new(CONTAINER, None, &create.io);
        connect(&mut managed, launched, ends, &create.io, self)?;
        self.processes.push(managed);
        self.container = Some(Container {
            id: create.id,
            data_dir: create.data_dir,
            pid,
            start_time_ticks,
            pidfd,
            started: false,
            exit: None,
            memory_kills: 0,
            volatile: create.volatile,
        });
        self.watch_memory()?;
        // The configuration is large, and nobody needs it any more.
        drop(create.spec);
        self.give_back();
        let (descriptors, handles) = self.handles();
        Ok((Reply::Created { pid, start_time_ticks, descriptors }, handles))
    }

    fn start(&mut self) -> Answer {
        match (self.state(), &mut self.container) {
            (State::Created, Some(container)) => {
                self.launch.start()?;
                container.started = true;
                // Should we be killed, a daemon must know that this was a run, and no start that failed.
                let path = recovery::started_path(&self.exec_dir);
                File::create(&path).map_err(|error| other(&path.display().to_string(), &error))?;
                Ok((Reply::Started, Vec::new()))
            }
            (state, _) => Err(wrong_state("start", state)),
        }
    }

    fn exec(&mut self, mut exec: Exec, socket: Option<OwnedFd>) -> Answer {
        if self.state() != State::Running {
            return Err(wrong_state("exec", self.state()));
        }
        if self.processes.iter().any(|managed| managed.exec_id.as_deref() == Some(&exec.exec_id)) {
            return Err(Error::new(ErrorKind::Invalid, format!("exec {} exists already", exec.exec_id)));
        }
        exec.process.oom_score_adj.get_or_insert(0);
        let (stdio, ends) = streams(&exec.io)?;
        let launched = self.launch.exec(&exec, stdio.as_ref())?;
        drop(stdio);
        let pid = launched.pid;
        let mut managed = Managed::new(self.fresh_id(), Some(exec.exec_id.clone()), &exec.io);
        managed.pid = pid;
        managed.kill_at = exec.time_limit_ms.map(|limit| Instant::now() + Duration::from_millis(limit));
        if let (Some(attach), Some(socket)) = (&exec.attach, socket) {
            // Before its output is read, so that none is missed.
            managed.attach(self.fresh_id(), socket, attach, &self.epoll)?;
        }
        connect(&mut managed, launched, ends, &exec.io, self)?;
        self.processes.push(managed);
        Ok((Reply::ExecStarted { pid }, Vec::new()))
    }

    fn attach(&mut self, attach: &Attach, socket: Option<OwnedFd>) -> Answer {
        let socket = socket.ok_or_else(|| Error::new(ErrorKind::Invalid, "attach needs a stream socket"))?;
        let id = self.fresh_id();
        let key = self.key(&attach.target)?;
        let ended = match &attach.target {
            Target::Container => self.state() == State::Stopped,
            Target::Exec(_) => {
                self.processes.iter().any(|managed| managed.key == key && managed.exit.is_some())
            }
        };
        if ended {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("cannot attach: {} has ended", attach.target),
            ));
        }
        self.with_process(key, |managed, shared| managed.attach(id, socket, attach, shared.epoll))?;
        Ok((Reply::Attached, Vec::new()))
    }

    fn resize(&mut self, target: &Target, height: u16, width: u16) -> Answer {
        let key = self.key(target)?;
        let managed = self.processes.iter().find(|managed| managed.key == key);
        // Without a terminal there is nothing to resize; containerd's shim, and so Docker, calls that done.
        match managed.and_then(|managed| managed.resize(height, width)) {
            Some(Ok(())) | None => Ok((Reply::Done, Vec::new())),
            Some(Err(error)) => Err(error.into()),
        }
    }

    fn close_stdin(&mut self, target: &Target) -> Answer {
        let key = self.key(target)?;
        self.with_process(key, |managed, shared| managed.close_input(shared.epoll))?;
        Ok((Reply::Done, Vec::new()))
    }

    /// Makes the container end; `true` when there is nothing to wait for.
    fn shutdown(&mut self) -> Result<bool, Error> {
        self.farewell.confirmed = true;
        match &self.container {
            Some(container) if container.exit.is_none() => {
                PidFd::from(container.pidfd.try_clone().map_err(|error| other("pidfd", &error))?)
                    .send(SIGKILL)?;
                self.launch.kill_all()?;
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// The key of a process that is there.
    fn key(&self, target: &Target) -> Result<u32, Error> {
        let wanted = match target {
            Target::Container => None,
            Target::Exec(exec_id) => Some(exec_id.as_str()),
        };
        let found = self.processes.iter().find(|managed| managed.exec_id.as_deref() == wanted);
        found
            .map(|managed| managed.key)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{target} is not there")))
    }
}

/// The program's ends of its streams (`None` with a terminal) and ours.
fn streams(io: &Io) -> Result<(Option<Stdio>, Ends), Error> {
    let none = Ends { outputs: [None, None], input: None, console: None, terminal: None };
    if io.terminal {
        return Ok((None, none));
    }
    let pipe = || io::pipe().map_err(|error| other("pipe", &error));
    let ((stdout, output), (stderr, error)) = (pipe()?, pipe()?);
    let (input, stdin) = match io.stdin {
        true => {
            let (input, stdin) = pipe()?;
            (OwnedFd::from(input), Some(OwnedFd::from(stdin)))
        }
        false => (File::open("/dev/null").map_err(|error| other("/dev/null", &error))?.into(), None),
    };
    let ends = Ends { outputs: [Some(stdout.into()), Some(stderr.into())], input: stdin, ..none };
    Ok((Some(Stdio { input, output: output.into(), error: error.into() }), ends))
}

/// Connects a new process to its ends; its terminal, if any, gets its size.
fn connect(
    managed: &mut Managed,
    launched: Launched,
    mut ends: Ends,
    io: &Io,
    supervisor: &Supervisor<'_>,
) -> Result<(), Error> {
    managed.pid = launched.pid;
    if let Some(console) = launched.console {
        let clone = || console.try_clone().map_err(|error| other("terminal", &error));
        ends.outputs[0] = Some(clone()?);
        ends.input = if io.stdin { Some(clone()?) } else { None };
        ends.terminal = Some(linux::pty::other_end(console.as_fd())?);
        if let Some(size) = io.console_size {
            linux::pty::set_size(&console, linux::pty::Size { rows: size.height, columns: size.width })?;
        }
        ends.console = Some(console);
    }
    Ok(managed.connect(ends, &supervisor.epoll)?)
}

fn wrong_state(action: &str, state: State) -> Error {
    let state = match state {
        State::Empty => "not created",
        State::Created => "not running",
        State::Running => "already running",
        State::Stopped => "stopped",
    };
    Error::new(ErrorKind::Invalid, format!("cannot {action}: the container is {state}"))
}

fn other(what: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Other, format!("{what}: {error}"))
}

impl From<linux::Error> for Error {
    fn from(error: linux::Error) -> Self {
        Self::new(ErrorKind::Other, error.to_string())
    }
}
