//! A connection to a shim for callers that may wait: every call has a limit, whatever state the shim is in.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::protocol::frame::{Filled, FrameError};
use crate::protocol::{self, Event, FromShim, Inbox, Outbox, Reply, Request, ToShim};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shim cannot be reached.
    #[error("cannot reach the shim: {0}")]
    Connect(linux::Error),
    /// The shim did not answer in time: it may be stopped, or the machine overloaded.
    #[error("the shim did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The shim closed the connection.
    #[error("the shim has gone away")]
    Gone,
    /// The connection cannot go on.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The shim refused.
    #[error(transparent)]
    Refused(#[from] protocol::Error),
}

/// A connection to one shim.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    serial: u64,
    events: VecDeque<Event>,
    netns: Option<OwnedFd>,
}

impl Client {
    /// Uses a connected socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            serial: 0,
            events: VecDeque::new(),
            netns: None,
        }
    }

    /// Connects to the shim of an exec directory.
    pub fn connect(exec_dir: &Path, limit: Duration) -> Result<Self, Error> {
        crate::recovery::connect(exec_dir, limit).map(Self::new).map_err(Error::Connect)
    }

    /// Sends a request and waits for its reply, which is never [`Reply::Error`].
    ///
    /// After an error other than `Refused` the connection is of no use any more.
    pub fn call(
        &mut self,
        request: Request,
        descriptors: Vec<OwnedFd>,
        limit: Duration,
    ) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let deadline = Instant::now() + limit;
        self.serial += 1;
        self.outbox.push(&ToShim { serial: self.serial, request }, descriptors)?;
        while !self.outbox.flush(&self.socket).map_err(gone)? {
            self.wait(true, deadline, limit)?;
        }
        loop {
            match self.take()? {
                Some((FromShim::Event(event), _)) => self.events.push_back(event),
                Some((FromShim::Reply { reply: Reply::Netns { .. }, .. }, descriptors)) => {
                    self.netns = descriptors.into_iter().next();
                }
                Some((FromShim::Reply { serial, reply }, descriptors)) if serial == self.serial => {
                    return match reply {
                        Reply::Error(error) => Err(error.into()),
                        reply => Ok((reply, descriptors)),
                    };
                }
                Some((FromShim::Reply { .. }, _)) => {}
                None => self.wait(false, deadline, limit)?,
            }
        }
    }

    /// The network namespace that a creation told of before its answer, once.
    pub fn take_netns(&mut self) -> Option<OwnedFd> {
        self.netns.take()
    }

    /// The next event, one that came during a call included; `None` when none comes within the limit.
    pub fn event(&mut self, limit: Duration) -> Result<Option<Event>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match self.take()? {
                Some((FromShim::Event(event), _)) => return Ok(Some(event)),
                Some(_) => {}
                None => match self.wait(false, deadline, limit) {
                    Err(Error::TimedOut(_)) => return Ok(None),
                    other => other?,
                },
            }
        }
    }

    /// The next message that is there now.
    fn take(&mut self) -> Result<Option<(FromShim, Vec<OwnedFd>)>, Error> {
        loop {
            if let Some(message) = self.inbox.take()? {
                return Ok(Some(message));
            }
            match self.inbox.fill(&self.socket).map_err(gone)? {
                Filled::Bytes => {}
                Filled::Nothing => return Ok(None),
                Filled::End => return Err(Error::Gone),
            }
        }
    }

    fn wait(&self, write: bool, deadline: Instant, limit: Duration) -> Result<(), Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        match linux::socket::ready(self.socket.as_fd(), write, Some(left)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::TimedOut(limit)),
            Err(error) => Err(FrameError::from(error).into()),
        }
    }
}

/// A closed connection is one case for callers, whichever call noticed it.
fn gone(error: FrameError) -> Error {
    match error {
        FrameError::Socket(call) if matches!(call.name(), Some("EPIPE" | "ECONNRESET")) => Error::Gone,
        other => Error::Frame(other),
    }
}
