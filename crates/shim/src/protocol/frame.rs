//! The codec: messages to bytes and back, and the buffers of one end of a connection.
//!
//! Nothing here waits. A caller with a non-blocking loop (the shim's epoll, the daemon's `AsyncFd`) calls
//! [`Inbox::fill`] when the socket is readable and [`Outbox::flush`] when it is writable:
//!
//! ```no_run
//! # use shim::protocol::{Inbox, Outbox, ToShim, FromShim, Request, frame::Filled};
//! # fn example(socket: std::os::fd::OwnedFd) -> Result<(), shim::protocol::frame::FrameError> {
//! let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
//! outbox.push(&ToShim { serial: 1, request: Request::Hello }, Vec::new())?;
//! while !outbox.flush(&socket)? { /* wait until writable */ }
//! while let Filled::Bytes = inbox.fill(&socket)? {}
//! while let Some((message, descriptors)) = inbox.take::<FromShim>()? { /* … */ }
//! # Ok(()) }
//! ```

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use linux::socket::{self, DESCRIPTORS_PER_MESSAGE, Received};

use super::Message;

/// The longest JSON text of a frame, in bytes.
pub const LIMIT: usize = 16 * 1024 * 1024;
/// The most bytes read in one call of [`Inbox::fill`].
const READ: usize = 16 * 1024;
const HEADER: usize = 4;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A system call failed; the peer may be gone.
    #[error("the control connection failed: {0}")]
    Socket(#[from] linux::Error),
    /// A frame claims to be longer than [`LIMIT`].
    #[error("a control frame of {0} bytes is longer than the limit of {LIMIT}")]
    TooLong(usize),
    /// A frame is not a message.
    #[error("a control frame is not understood: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A message announced descriptors that did not come, or some came that nothing announced.
    #[error("a control message came with {found} descriptors instead of {expected}")]
    Descriptors {
        /// How many the message announced.
        expected: usize,
        /// How many there were.
        found: usize,
    },
}

/// What [`Inbox::fill`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Some bytes; there may be more.
    Bytes,
    /// Nothing now.
    Nothing,
    /// The peer sends nothing more; whole messages may still be there to take.
    End,
}

/// What has been received and not yet been understood. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Receives what is there now, up to 16 KiB.
    pub fn fill(&mut self, socket: impl AsFd) -> Result<Filled, FrameError> {
        let (mut buffer, mut descriptors) = ([0; READ], Vec::new());
        let received = socket::receive(socket, &mut buffer, &mut descriptors)?;
        self.descriptors.extend(descriptors);
        if self.descriptors.len() > DESCRIPTORS_PER_MESSAGE * 2 {
            return Err(FrameError::Descriptors { expected: 0, found: self.descriptors.len() });
        }
        match received {
            Received::Bytes(count) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                Ok(Filled::Bytes)
            }
            Received::Nothing => Ok(Filled::Nothing),
            Received::End => Ok(Filled::End),
        }
    }

    /// The next whole message with its descriptors; `None` when more bytes are needed.
    pub fn take<M: Message>(&mut self) -> Result<Option<(M, Vec<OwnedFd>)>, FrameError> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > LIMIT {
            return Err(FrameError::TooLong(length));
        }
        let Some(text) = rest.get(..length) else { return Ok(None) };
        let message: M = serde_json::from_slice(text)?;
        let expected = message.descriptor_count();
        if expected > self.descriptors.len() {
            return Err(FrameError::Descriptors { expected, found: self.descriptors.len() });
        }
        let descriptors = self.descriptors.drain(..expected).collect();
        if self.bytes.len() == HEADER + length {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..HEADER + length);
        }
        if self.bytes.is_empty() && !self.descriptors.is_empty() {
            return Err(FrameError::Descriptors { expected, found: expected + self.descriptors.len() });
        }
        Ok(Some((message, descriptors)))
    }
}

/// What waits to be sent. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Frame>,
    /// How much of the first frame has been sent.
    sent: usize,
}

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Outbox {
    /// Appends a message and the descriptors that go with it, as many as it announces.
    pub fn push<M: Message>(&mut self, message: &M, descriptors: Vec<OwnedFd>) -> Result<(), FrameError> {
        let expected = message.descriptor_count();
        if expected != descriptors.len() {
            return Err(FrameError::Descriptors { expected, found: descriptors.len() });
        }
        self.frames.push_back(Frame { bytes: encode(message)?, descriptors });
        Ok(())
    }

    /// Sends what fits now; `true` when nothing is left.
    pub fn flush(&mut self, socket: impl AsFd) -> Result<bool, FrameError> {
        while let Some(frame) = self.frames.front_mut() {
            let descriptors: Vec<_> = frame.descriptors.iter().map(AsFd::as_fd).collect();
            let count = socket::send(&socket, &frame.bytes[self.sent..], &descriptors)?;
            if count == 0 {
                return Ok(false);
            }
            frame.descriptors = Vec::new();
            self.sent += count;
            if self.sent == frame.bytes.len() {
                self.frames.pop_front();
                self.sent = 0;
            }
        }
        self.frames = VecDeque::new();
        Ok(true)
    }

    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many bytes wait to be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.iter().map(|frame| frame.bytes.len()).sum::<usize>() - self.sent
    }
}

/// The frame of a message: its length and its JSON text.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEADER;
    match u32::try_from(length) {
        Ok(prefix) if length <= LIMIT => bytes[..HEADER].copy_from_slice(&prefix.to_le_bytes()),
        _ => return Err(FrameError::TooLong(length)),
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
