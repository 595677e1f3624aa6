//! An attached stream: output towards it, input from it.

use std::os::fd::{AsFd, OwnedFd};

use linux::epoll::{Epoll, Interest};
use linux::socket::{self, Received};

use crate::log::Stream;
use crate::protocol::{Attach, Framing};

/// Room before the payload of a [`Chunk`] for Docker's frame header.
pub(super) const HEADER: usize = 8;
/// Bytes that may wait for a slow stream before the process has to wait, as in Docker.
pub(super) const PENDING_LIMIT: usize = 1024 * 1024;

/// Output that was read: the payload with room before it.
pub(super) struct Chunk<'a> {
    bytes: &'a mut [u8],
    stream: Stream,
}

impl<'a> Chunk<'a> {
    /// `bytes` holds [`HEADER`] bytes of room and then the payload.
    pub(super) fn new(bytes: &'a mut [u8], stream: Stream) -> Self {
        let length = u32::try_from(bytes.len() - HEADER).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&[stream.number(), 0, 0, 0]);
        bytes[4..HEADER].copy_from_slice(&length.to_be_bytes());
        Self { bytes, stream }
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }

    fn framed(&self, framing: Framing) -> &[u8] {
        match framing {
            Framing::Mux => self.bytes,
            Framing::Raw => self.payload(),
        }
    }
}

/// One attached stream.
pub(super) struct Attachment {
    pub(super) id: u32,
    socket: OwnedFd,
    /// Which outputs are wanted, by [`Stream::index`].
    outputs: [bool; 2],
    framing: Framing,
    /// Output that did not fit, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    /// Whether bytes are still expected from it.
    pub(super) gives_input: bool,
    /// The other end is closed; what it wrote before is still to be read.
    pub(super) hung_up: bool,
    /// It ends as soon as nothing is pending.
    pub(super) finishing: bool,
    registered: Option<Interest>,
}

impl Attachment {
    pub(super) fn new(id: u32, socket: OwnedFd, attach: &Attach) -> Self {
        Self {
            id,
            socket,
            outputs: [attach.stdout, attach.stderr],
            framing: attach.framing,
            pending: Vec::new(),
            sent: 0,
            gives_input: attach.stdin,
            hung_up: false,
            finishing: false,
            registered: None,
        }
    }

    /// Passes output on, or keeps what does not fit. An error means that the stream is gone.
    pub(super) fn deliver(&mut self, chunk: &Chunk<'_>) -> linux::Result<()> {
        if !self.outputs[chunk.stream.index()] || self.hung_up || self.finishing {
            return Ok(());
        }
        let bytes = chunk.framed(self.framing);
        let count = if self.pending.is_empty() { socket::send(&self.socket, bytes, &[])? } else { 0 };
        self.pending.extend_from_slice(&bytes[count..]);
        Ok(())
    }

    /// Sends what fits of what is pending. An error means that the stream is gone.
    pub(super) fn flush(&mut self) -> linux::Result<()> {
        while self.sent < self.pending.len() {
            match socket::send(&self.socket, &self.pending[self.sent..], &[])? {
                0 => break,
                count => self.sent += count,
            }
        }
        if self.sent == self.pending.len() {
            (self.pending, self.sent) = (Vec::new(), 0);
        } else if self.sent > PENDING_LIMIT / 2 {
            self.pending.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// How many bytes of output wait.
    pub(super) fn pending(&self) -> usize {
        self.pending.len() - self.sent
    }

    /// Whether it is over: nothing more to send, and nothing more to read from it.
    pub(super) fn is_over(&self) -> bool {
        (self.finishing && self.pending() == 0) || (self.hung_up && !self.gives_input)
    }

    /// Receives bytes of input.
    pub(super) fn receive(&self, bytes: &mut [u8]) -> linux::Result<Received> {
        let mut descriptors = Vec::new();
        socket::receive(&self.socket, bytes, &mut descriptors)
    }

    /// Tells epoll what is waited for; input only while there is room for it.
    pub(super) fn register(&mut self, epoll: &Epoll, token: u64, room_for_input: bool) -> linux::Result<()> {
        let wanted = (!self.hung_up).then_some(Interest {
            readable: self.gives_input && room_for_input,
            writable: self.pending() > 0,
            priority: false,
        });
        match (self.registered, wanted) {
            (before, after) if before == after => {}
            (None, Some(interest)) => epoll.add(&self.socket, token, interest)?,
            (Some(_), Some(interest)) => epoll.modify(&self.socket, token, interest)?,
            // A closed stream would be reported for ever.
            (_, None) => epoll.remove(&self.socket)?,
        }
        self.registered = wanted;
        Ok(())
    }

    /// Ends the stream: the other side reads an end of file.
    pub(super) fn close(self) {
        // Unread input would turn the end of file into a connection reset.
        let mut bytes = [0; 4096];
        for _ in 0..256 {
            match self.receive(&mut bytes) {
                Ok(Received::Bytes(_)) => {}
                _ => break,
            }
        }
        // A stream that is gone needs no goodbye.
        let _ = socket::finish_writing(self.socket.as_fd());
    }
}
