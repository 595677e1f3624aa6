//! One process and everything connected to it: outputs, input, attached streams.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use linux::epoll::{Epoll, Interest};
use linux::fd::{self, Read};
use linux::socket::Received;

use super::attachment::{Attachment, Chunk, HEADER, PENDING_LIMIT};
use super::flow::{self, Flow};
use super::token::Token;
use crate::log::{Stream, Writer};
use crate::protocol::{Attach, Exit, Io};
use crate::timestamp::Timestamp;

/// How much output is read at once.
pub(super) const READ: usize = 64 * 1024;
/// How many times in a row one output is read before others get their turn.
const TURNS: usize = 4;
/// How much input is taken from a stream at once, and so the most that waits for a process.
const INPUT: usize = 16 * 1024;

/// What processes share: the epoll set, one buffer, the log.
pub(super) struct Shared<'a> {
    pub(super) epoll: &'a Epoll,
    /// Allocated while there is something to do.
    pub(super) buffer: &'a mut Vec<u8>,
    /// The container's log; processes of `exec` have none.
    pub(super) writer: Option<&'a mut Writer>,
}

/// Our ends of a process' input and output.
pub(super) struct Ends {
    pub(super) outputs: [Option<OwnedFd>; 2],
    pub(super) input: Option<OwnedFd>,
    /// The controlling end of the terminal, for its size.
    pub(super) console: Option<OwnedFd>,
    /// The program's end of the terminal: while we have it open, a program may close and open its own at will.
    pub(super) terminal: Option<OwnedFd>,
}

struct Output {
    fd: OwnedFd,
    registered: bool,
    flow: Flow,
    /// What the pipe holds.
    room: usize,
}

/// What came of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Took {
    /// So many bytes; there may be more.
    Much(usize),
    /// So many bytes, and nothing is left now.
    Rest(usize),
}

struct Input {
    fd: OwnedFd,
    /// What the process has not taken yet, from `written` on.
    pending: Vec<u8>,
    written: usize,
    closing: bool,
    registered: bool,
}

/// A process with its streams.
pub(super) struct Managed {
    pub(super) key: u32,
    /// `None` for the container's own process.
    pub(super) exec_id: Option<String>,
    pub(super) pid: u32,
    pub(super) exit: Option<Exit>,
    /// When to kill the process and its group.
    pub(super) kill_at: Option<Instant>,
    /// When to stop waiting for the end of the outputs of a process that has ended.
    pub(super) give_up_at: Option<Instant>,
    pub(super) attachments: Vec<Attachment>,
    stdin_once: bool,
    outputs: [Option<Output>; 2],
    input: Option<Input>,
    console: Option<OwnedFd>,
    _terminal: Option<OwnedFd>,
    paused: bool,
}

impl Managed {
    pub(super) fn new(key: u32, exec_id: Option<String>, io: &Io) -> Self {
        Self {
            key,
            exec_id,
            pid: 0,
            exit: None,
            kill_at: None,
            give_up_at: None,
            attachments: Vec::new(),
            stdin_once: io.stdin_once,
            outputs: [None, None],
            input: None,
            console: None,
            _terminal: None,
            paused: false,
        }
    }

    /// Connects the process' streams: from now on its output is read.
    pub(super) fn connect(&mut self, ends: Ends, epoll: &Epoll) -> linux::Result<()> {
        for (slot, end) in self.outputs.iter_mut().zip(ends.outputs) {
            if let Some(end) = end {
                fd::set_nonblocking(&end)?;
                let (flow, room) = (Flow::default(), flow::USUAL_ROOM);
                *slot = Some(Output { fd: end, registered: false, flow, room });
            }
        }
        if let Some(end) = ends.input {
            fd::set_nonblocking(&end)?;
            self.input =
                Some(Input { fd: end, pending: Vec::new(), written: 0, closing: false, registered: false });
        }
        self.console = ends.console;
        self._terminal = ends.terminal;
        self.register(epoll)
    }

    /// Whether the process has a terminal.
    pub(super) fn has_terminal(&self) -> bool {
        self.console.is_some()
    }

    /// Sets the size of the terminal; `None` when there is none.
    pub(super) fn resize(&self, rows: u16, columns: u16) -> Option<linux::Result<()>> {
        let console = self.console.as_ref()?;
        Some(linux::pty::set_size(console, linux::pty::Size { rows, columns }))
    }

    /// Connects one more stream.
    pub(super) fn attach(
        &mut self,
        id: u32,
        socket: OwnedFd,
        attach: &Attach,
        epoll: &Epoll,
    ) -> linux::Result<()> {
        self.attachments.push(Attachment::new(id, socket, attach));
        let result = self.register(epoll);
        if result.is_err() {
            self.attachments.pop();
        }
        result
    }

    /// Closes the input after what is on its way. A terminal has no end of input.
    pub(super) fn close_input(&mut self, epoll: &Epoll) -> linux::Result<()> {
        if let Some(input) = &mut self.input
            && self.console.is_none()
        {
            input.closing = true;
        }
        self.push_input();
        self.register(epoll)
    }

    /// An output can be read.
    pub(super) fn output_ready(&mut self, stream: usize, shared: &mut Shared<'_>) -> linux::Result<()> {
        let mut total = 0;
        for _ in 0..TURNS {
            match self.read_output(stream, shared)? {
                Took::Much(count) => total += count,
                Took::Rest(count) => {
                    self.flows(stream, total + count);
                    break;
                }
            }
            if self.is_congested() {
                break;
            }
        }
        self.sweep(shared.epoll)
    }

    /// Notes that an output was read to its end for now; one that is read often gathers from now on.
    fn flows(&mut self, stream: usize, bytes: usize) {
        // A terminal holds little, and somebody sits in front of it.
        let has_terminal = self.has_terminal();
        let Some(output) = self.outputs[stream].as_mut().filter(|_| !has_terminal) else { return };
        output.flow.read(bytes, output.room, Instant::now());
        if output.flow.is_dense() && output.room == flow::USUAL_ROOM {
            // One that may not grow gathers less.
            output.room = fd::set_pipe_capacity(&output.fd, flow::ROOM).unwrap_or(flow::USUAL_ROOM);
        }
    }

    /// When the first output that gathers is to be looked at again.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.outputs.iter().flatten().filter_map(|output| output.flow.until()).min()
    }

    /// Reads the outputs that have gathered long enough; whether there were any.
    pub(super) fn take_gathered(&mut self, now: Instant, shared: &mut Shared<'_>) -> linux::Result<bool> {
        let mut found = false;
        for stream in 0..self.outputs.len() {
            let Some(output) = &mut self.outputs[stream] else { continue };
            if output.flow.until().is_none_or(|until| until > now) {
                continue;
            }
            found = true;
            if self.paused {
                output.flow.wake();
            } else {
                self.output_ready(stream, shared)?;
            }
        }
        Ok(found)
    }

    /// Gives back what pipes hold beyond what they need while little flows.
    pub(super) fn calm(&mut self) {
        for output in self.outputs.iter_mut().flatten() {
            if output.room > flow::USUAL_ROOM {
                // What is still in it may not fit; the next time is soon enough.
                output.room = fd::set_pipe_capacity(&output.fd, flow::USUAL_ROOM).unwrap_or(output.room);
            }
        }
    }

    /// Reads all there is of all outputs, however slow attached streams are: the process has ended.
    ///
    /// Bounded by what pipes hold; `limit` bounds it for pipes that an outsider keeps writing to.
    pub(super) fn drain(&mut self, shared: &mut Shared<'_>, limit: Instant) -> linux::Result<()> {
        for stream in 0..self.outputs.len() {
            while self.read_output(stream, shared)? != Took::Rest(0) && Instant::now() < limit {}
        }
        self.sweep(shared.epoll)
    }

    /// Stops reading output, hands the rest of a line to the log, and ends attached streams when they are flushed.
    pub(super) fn finish(&mut self, shared: &mut Shared<'_>) -> linux::Result<()> {
        for (index, stream) in Stream::ALL.into_iter().enumerate() {
            self.end_output(index, shared.epoll)?;
            if let Some(writer) = shared.writer.as_deref_mut() {
                writer.finish(stream, Timestamp::now());
            }
        }
        self.end_input(shared.epoll)?;
        (self.console, self._terminal) = (None, None);
        for attachment in &mut self.attachments {
            (attachment.finishing, attachment.gives_input) = (true, false);
        }
        self.sweep(shared.epoll)
    }

    /// Whether all outputs have come to their end.
    pub(super) fn outputs_ended(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// The input can take more, or nobody reads it any more.
    pub(super) fn input_ready(&mut self, epoll: &Epoll) -> linux::Result<()> {
        self.push_input();
        self.take_leftovers(epoll)?;
        self.sweep(epoll)
    }

    /// An attached stream can be read or written, or is closed.
    pub(super) fn attachment_ready(&mut self, id: u32, hung_up: bool, epoll: &Epoll) -> linux::Result<()> {
        let Some(index) = self.attachments.iter().position(|attachment| attachment.id == id) else {
            return Ok(());
        };
        self.attachments[index].hung_up |= hung_up;
        if self.attachments[index].flush().is_err() {
            self.attachments[index].hung_up = true;
        }
        self.read_input(index);
        self.sweep(epoll)
    }

    /// Reads an output once and passes it on.
    fn read_output(&mut self, index: usize, shared: &mut Shared<'_>) -> linux::Result<Took> {
        let Some(output) = &self.outputs[index] else { return Ok(Took::Rest(0)) };
        if shared.buffer.is_empty() {
            shared.buffer.resize(HEADER + READ, 0);
        }
        let stream = Stream::ALL[index];
        match fd::read(&output.fd, &mut shared.buffer[HEADER..])? {
            Read::Bytes(count) => {
                let chunk = Chunk::new(&mut shared.buffer[..HEADER + count], stream);
                for attachment in &mut self.attachments {
                    if attachment.deliver(&chunk).is_err() {
                        attachment.hung_up = true;
                    }
                }
                if let Some(writer) = shared.writer.as_deref_mut() {
                    writer.append(stream, chunk.payload(), Timestamp::now());
                }
                // A terminal hands out little at a time, a pipe what is in it.
                let is_rest = count < READ && self.console.is_none();
                Ok(if is_rest { Took::Rest(count) } else { Took::Much(count) })
            }
            Read::Nothing => Ok(Took::Rest(0)),
            Read::End => {
                self.end_output(index, shared.epoll)?;
                Ok(Took::Rest(0))
            }
        }
    }

    fn end_output(&mut self, index: usize, epoll: &Epoll) -> linux::Result<()> {
        match self.outputs[index].take() {
            Some(output) if output.registered => epoll.remove(&output.fd),
            _ => Ok(()),
        }
    }

    fn end_input(&mut self, epoll: &Epoll) -> linux::Result<()> {
        match self.input.take() {
            Some(input) if input.registered => epoll.remove(&input.fd),
            _ => Ok(()),
        }
    }

    /// Whether a stream is so far behind that the process has to wait.
    fn is_congested(&self) -> bool {
        self.attachments.iter().any(|attachment| attachment.pending() > PENDING_LIMIT)
    }

    /// Takes input from an attached stream until there is none, or the process does not keep up.
    fn read_input(&mut self, index: usize) {
        let mut bytes = [0; INPUT];
        loop {
            let attachment = &mut self.attachments[index];
            let room = self.input.as_ref().is_some_and(|input| input.pending.is_empty() && !input.closing);
            if !attachment.gives_input || (!room && self.input.is_some()) {
                return;
            }
            if self.input.is_none() {
                // Nobody reads it: neither do we, and the writer has to wait, unless it is gone.
                attachment.gives_input &= !attachment.hung_up;
                return;
            }
            match attachment.receive(&mut bytes) {
                Ok(Received::Bytes(count)) => {
                    if let Some(input) = &mut self.input {
                        input.pending.extend_from_slice(&bytes[..count]);
                    }
                    self.push_input();
                }
                Ok(Received::Nothing) => return,
                Ok(Received::End) => {
                    attachment.gives_input = false;
                    if !attachment.hung_up {
                        self.input_ended(index);
                    }
                    return;
                }
                Err(_) => {
                    (attachment.gives_input, attachment.hung_up) = (false, true);
                    return;
                }
            }
        }
    }

    /// The writing side of a stream was closed by somebody who still listens.
    fn input_ended(&mut self, index: usize) {
        match &mut self.input {
            Some(input) if self.stdin_once && self.console.is_none() => {
                input.closing = true;
                self.push_input();
            }
            _ => self.attachments[index].finishing = true,
        }
    }

    /// Writes what the process takes of its pending input; closes it when that is asked for and nothing is left.
    fn push_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        while input.written < input.pending.len() {
            match fd::write(&input.fd, &input.pending[input.written..]) {
                Ok(0) => return,
                Ok(count) => input.written += count,
                Err(_) => {
                    // EPIPE: the process has closed its input, or is gone.
                    (input.closing, input.written) = (true, input.pending.len());
                }
            }
        }
        (input.pending, input.written) = (Vec::new(), 0);
    }

    /// Reads on from the streams that had to wait.
    fn take_leftovers(&mut self, epoll: &Epoll) -> linux::Result<()> {
        for index in 0..self.attachments.len() {
            self.read_input(index);
        }
        self.register(epoll)
    }

    /// Drops the streams that are over, lets the process go on or wait, and tells epoll.
    fn sweep(&mut self, epoll: &Epoll) -> linux::Result<()> {
        let mut index = 0;
        while index < self.attachments.len() {
            if self.attachments[index].hung_up && self.input.is_none() {
                self.attachments[index].gives_input = false;
            }
            if self.attachments[index].is_over() {
                let mut attachment = self.attachments.swap_remove(index);
                attachment.hung_up = true;
                attachment.register(epoll, 0, false)?;
                attachment.close();
            } else {
                index += 1;
            }
        }
        let slowest = self.attachments.iter().map(Attachment::pending).max().unwrap_or(0);
        self.paused = slowest > if self.paused { PENDING_LIMIT / 2 } else { PENDING_LIMIT };
        self.register(epoll)
    }

    /// Brings the epoll set up to date.
    fn register(&mut self, epoll: &Epoll) -> linux::Result<()> {
        for (stream, output) in self.outputs.iter_mut().enumerate() {
            let Some(output) = output else { continue };
            let wanted = !self.paused && output.flow.until().is_none();
            if output.registered != wanted {
                let token = Token::Output { process: self.key, stream }.pack();
                match wanted {
                    true => epoll.add(&output.fd, token, Interest::READ)?,
                    false => epoll.remove(&output.fd)?,
                }
                output.registered = wanted;
            }
        }
        self.register_input(epoll)?;
        let room = self.input.as_ref().is_some_and(|input| input.pending.is_empty() && !input.closing);
        for attachment in &mut self.attachments {
            let token = Token::Attachment { process: self.key, id: attachment.id }.pack();
            attachment.register(epoll, token, room)?;
        }
        Ok(())
    }

    fn register_input(&mut self, epoll: &Epoll) -> linux::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let waiting = !input.pending.is_empty();
        if input.closing && !waiting {
            return self.end_input(epoll);
        }
        if waiting != input.registered {
            let token = Token::Input { process: self.key }.pack();
            match waiting {
                true => epoll.add(input.fd.as_fd(), token, Interest::WRITE)?,
                false => epoll.remove(input.fd.as_fd())?,
            }
            input.registered = waiting;
        }
        Ok(())
    }
}
