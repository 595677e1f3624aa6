//! The loop: waits, hands each event to its handler, and leaves when there is nothing left to own.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux::epoll::{self, Epoll, Interest};
use linux::signalfd::SignalFd;
use linux::{child, credentials, heap, socket};

use super::connection::{Connection, Incoming};
use super::held::Held;
use super::launch::Launch;
use super::process::{Managed, Shared};
use super::token::{MASK, Token};
use crate::log::Writer;
use crate::protocol::{Event, ExecStatus, Exit, FromShim, LogStatus, State};
use crate::recovery;

/// Events taken from the kernel at once.
const BATCH: usize = 32;
/// How long buffers are kept after the last output.
const IDLE: Duration = Duration::from_millis(200);
/// The key of the container's own process.
pub(super) const CONTAINER: u32 = 0;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;

/// The container, from `Create` on.
pub(super) struct Container {
    pub(super) id: String,
    pub(super) data_dir: PathBuf,
    pub(super) pid: u32,
    pub(super) start_time_ticks: u64,
    pub(super) pidfd: OwnedFd,
    pub(super) started: bool,
    pub(super) exit: Option<Exit>,
    /// How many processes were known to be killed for lack of memory.
    pub(super) memory_kills: u64,
    /// Nothing of it need survive a loss of power.
    pub(super) volatile: bool,
}

/// Why and until when the shim is still there after the end of the container.
#[derive(Default)]
pub(super) struct Farewell {
    /// A daemon has asked us to leave, or has confirmed that it knows.
    pub(super) confirmed: bool,
    /// Those who wait for the answer to `Shutdown`: connection and serial number.
    pub(super) waiting: Vec<(u32, u64)>,
    /// The exit is on record: nothing but goodbyes is left to do.
    pub(super) recorded: bool,
    /// When to stop waiting for daemons that do not confirm.
    pub(super) daemons_until: Option<Instant>,
    /// When to stop waiting for attached streams that are not read; put off whenever one is.
    pub(super) streams_until: Option<(Instant, usize)>,
}

/// Everything a shim owns.
pub(super) struct Supervisor<'a> {
    pub(super) exec_dir: PathBuf,
    pub(super) epoll: Epoll,
    signals: SignalFd,
    listener: Option<OwnedFd>,
    pub(super) launch: &'a mut dyn Launch,
    pub(super) connections: Vec<Connection>,
    pub(super) processes: Vec<Managed>,
    pub(super) container: Option<Container>,
    pub(super) writer: Option<Writer>,
    /// The log's status after the writer was closed.
    pub(super) log_status: LogStatus,
    /// Ends of `exec` processes that no daemon was there to hear of.
    pub(super) unheard: Vec<ExecStatus>,
    pub(super) farewell: Farewell,
    buffer: Vec<u8>,
    /// When memory was last needed; `None` while none is held.
    busy_since: Option<Instant>,
    next_id: u32,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        exec_dir: &Path,
        first: OwnedFd,
        listener: OwnedFd,
        launch: &'a mut dyn Launch,
    ) -> linux::Result<Self> {
        let epoll = Epoll::new(BATCH)?;
        // Those that would end us are taken and ignored: we go when the container is gone.
        let signals = SignalFd::block(&[SIGCHLD, SIGHUP, SIGINT, SIGTERM])?;
        epoll.add(&signals, Token::Signals.pack(), Interest::READ)?;
        epoll.add(&listener, Token::Listener.pack(), Interest::READ)?;
        let mut supervisor = Self {
            exec_dir: exec_dir.to_owned(),
            epoll,
            signals,
            listener: Some(listener),
            launch,
            connections: Vec::new(),
            processes: Vec::new(),
            container: None,
            writer: None,
            log_status: LogStatus::default(),
            unheard: Vec::new(),
            farewell: Farewell::default(),
            buffer: Vec::new(),
            busy_since: None,
            next_id: CONTAINER,
        };
        supervisor.adopt(first)?;
        Ok(supervisor)
    }

    /// Works until there is nothing left to own.
    pub(super) fn run(&mut self) -> linux::Result<()> {
        let mut events = Vec::with_capacity(BATCH);
        while !self.may_leave() {
            events.clear();
            let timeout = self.timeout();
            self.epoll.wait(&mut events, timeout)?;
            if events.is_empty() {
                self.rest();
            }
            for event in &events {
                self.dispatch(event)?;
            }
            self.tend()?;
        }
        Ok(())
    }

    /// Stops listening and removes our files, once: later ones may be those of a later shim.
    ///
    /// Whoever comes now is told by exit.json.
    pub(super) fn stop_listening(&mut self) {
        if self.listener.take().is_some() {
            let files =
                [recovery::socket_path, recovery::pid_path, recovery::started_path, crate::spawn::log_path];
            for path in files.map(|path| path(&self.exec_dir)) {
                // The whole directory may be gone already.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn dispatch(&mut self, event: &epoll::Event) -> linux::Result<()> {
        let Some(token) = Token::unpack(event.token) else { return Ok(()) };
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.take_signals(),
            Token::Memory => {
                self.look_at_memory(false);
                Ok(())
            }
            Token::Connection { id } => self.connection_ready(id),
            Token::Output { process, stream } => {
                self.busy_since = Some(Instant::now());
                self.with_process(process, |managed, shared| managed.output_ready(stream, shared))
            }
            Token::Input { process } => {
                self.with_process(process, |managed, shared| managed.input_ready(shared.epoll))
            }
            Token::Attachment { process, id } => {
                let hung_up = event.hung_up;
                self.with_process(process, |managed, shared| {
                    managed.attachment_ready(id, hung_up, shared.epoll)
                })
            }
        }
    }

    /// Calls `work` with a process and what processes share; a process that is gone is passed over.
    pub(super) fn with_process(
        &mut self,
        key: u32,
        work: impl FnOnce(&mut Managed, &mut Shared<'_>) -> linux::Result<()>,
    ) -> linux::Result<()> {
        let Some(managed) = self.processes.iter_mut().find(|managed| managed.key == key) else {
            return Ok(());
        };
        let writer = if managed.key == CONTAINER { self.writer.as_mut() } else { None };
        work(managed, &mut Shared { epoll: &self.epoll, buffer: &mut self.buffer, writer })
    }

    /// A number that no process, connection or stream has had for a very long time.
    pub(super) fn fresh_id(&mut self) -> u32 {
        self.next_id = (self.next_id + 1) & MASK;
        self.next_id = self.next_id.max(1);
        self.next_id
    }

    fn accept(&mut self) -> linux::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        while let Some(socket) = socket::accept(listener)? {
            let uid = socket::peer_uid(&socket)?;
            if uid == 0 || uid == credentials::effective_uid() {
                return self.adopt(socket);
            }
        }
        Ok(())
    }

    fn adopt(&mut self, socket: OwnedFd) -> linux::Result<()> {
        let id = self.fresh_id();
        self.connections.push(Connection::new(id, socket, &self.epoll)?);
        Ok(())
    }

    fn connection_ready(&mut self, id: u32) -> linux::Result<()> {
        loop {
            let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id) else {
                return Ok(());
            };
            let taken = connection.flush(&self.epoll).and_then(|()| connection.take());
            match taken {
                Ok(Incoming::Request(message, descriptors)) => {
                    self.request(id, message, descriptors)?;
                    self.busy_since = Some(Instant::now());
                }
                Ok(Incoming::Nothing) => return Ok(()),
                // Whoever breaks the protocol is cut off like one who went away.
                Ok(Incoming::Closed) | Err(_) => return self.disconnect(id),
            }
        }
    }

    pub(super) fn disconnect(&mut self, id: u32) -> linux::Result<()> {
        self.farewell.waiting.retain(|(connection, _)| *connection != id);
        match self.connections.iter().position(|connection| connection.id == id) {
            Some(index) => self.connections.swap_remove(index).close(&self.epoll),
            None => Ok(()),
        }
    }

    /// Sends to one connection; one that cannot be sent to is cut off.
    pub(super) fn send(
        &mut self,
        id: u32,
        message: &FromShim,
        descriptors: Vec<OwnedFd>,
    ) -> linux::Result<()> {
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id) else {
            return Ok(());
        };
        match connection.send(message, descriptors, &self.epoll) {
            Ok(()) => Ok(()),
            Err(_) => self.disconnect(id),
        }
    }

    /// Tells everybody; `false` when nobody is there.
    pub(super) fn announce(&mut self, event: Event) -> linux::Result<bool> {
        let ids: Vec<u32> = self.connections.iter().map(|connection| connection.id).collect();
        let message = FromShim::Event(event);
        for id in ids {
            self.send(id, &message, Vec::new())?;
        }
        Ok(!self.connections.is_empty())
    }

    fn take_signals(&mut self) -> linux::Result<()> {
        while self.signals.take()?.is_some() {}
        let mut ended = Vec::new();
        while let Some(child) = child::reap()? {
            ended.push(child);
        }
        // The container's own process comes last: the others ended because of it, or before.
        let init = self.container.as_ref().map(|container| container.pid);
        ended.sort_by_key(|child| Some(child.pid) == init);
        for child in ended {
            self.child_ended(child.pid, child.how)?;
        }
        Ok(())
    }

    /// How long nothing needs to be done.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let ends = self.processes.iter().flat_map(|managed| [managed.give_up_at, managed.kill_at]).flatten();
        let farewell = [self.farewell.daemons_until, self.farewell.streams_until.map(|(until, _)| until)];
        let farewell = farewell.into_iter().flatten().filter(|until| *until > now);
        let idle = self.busy_since.map(|since| since + IDLE);
        let gathering = self.processes.iter().filter_map(Managed::wake_at);
        ends.chain(farewell)
            .chain(idle)
            .chain(gathering)
            .min()
            .map(|next| next.saturating_duration_since(now))
    }

    /// Nothing has happened for a while: gives memory back.
    fn rest(&mut self) {
        if self.busy_since.is_some_and(|since| since.elapsed() >= IDLE) {
            self.busy_since = None;
            self.give_back();
        }
    }

    /// Returns all memory that is not needed while nothing happens.
    pub(super) fn give_back(&mut self) {
        self.buffer = Vec::new();
        self.processes.iter_mut().for_each(Managed::calm);
        if let Some(writer) = &mut self.writer {
            writer.release();
        }
        heap::trim();
        // Memory that cannot be given back is no reason to stop.
        let _ = heap::trim_stack();
    }

    /// What is done between events: compressing, and processes that have ended.
    fn tend(&mut self) -> linux::Result<()> {
        if let Some(writer) = &mut self.writer
            && writer.work()
        {
            // There is more to compress: come back at once, after whatever has happened meanwhile.
            self.busy_since = Some(Instant::now() - IDLE);
        }
        self.take_gathered()?;
        self.kill_overdue();
        self.finish_processes()
    }

    /// Reads outputs that were left to gather.
    fn take_gathered(&mut self) -> linux::Result<()> {
        let now = Instant::now();
        let is_due = |managed: &Managed| managed.wake_at().is_some_and(|at| at <= now);
        let due: Vec<u32> =
            self.processes.iter().filter(|managed| is_due(managed)).map(|managed| managed.key).collect();
        for key in due {
            self.busy_since = Some(now);
            self.with_process(key, |managed, shared| managed.take_gathered(now, shared).map(drop))?;
        }
        Ok(())
    }

    /// How far the container has come.
    pub(super) fn state(&self) -> State {
        match &self.container {
            None => State::Empty,
            Some(container) if container.exit.is_some() => State::Stopped,
            Some(container) if container.started => State::Running,
            Some(_) => State::Created,
        }
    }

    /// Watches the container's memory, when that is possible.
    pub(super) fn watch_memory(&mut self) -> linux::Result<()> {
        match self.launch.held().and_then(Held::memory_watch) {
            Some(watch) => self.epoll.add(watch.as_fd(), Token::Memory.pack(), Interest::READ),
            None => Ok(()),
        }
    }
}
