//! A control connection: a daemon, or whoever may ask (root).

use std::os::fd::OwnedFd;

use linux::epoll::{Epoll, Interest};

use super::token::Token;
use crate::protocol::frame::{Filled, FrameError};
use crate::protocol::{FromShim, Inbox, Outbox, ToShim};

/// Bytes that may wait for a daemon that does not read; after that it is cut off and has to connect anew.
const OUTBOX_LIMIT: usize = 4 * 1024 * 1024;

/// One connection.
pub(super) struct Connection {
    pub(super) id: u32,
    socket: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    registered: Interest,
}

/// What came in.
pub(super) enum Incoming {
    /// A request with its descriptors.
    Request(ToShim, Vec<OwnedFd>),
    /// Nothing more now.
    Nothing,
    /// The other side is gone.
    Closed,
}

impl Connection {
    pub(super) fn new(id: u32, socket: OwnedFd, epoll: &Epoll) -> linux::Result<Self> {
        epoll.add(&socket, Token::Connection { id }.pack(), Interest::READ)?;
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        Ok(Self { id, socket, inbox, outbox, registered: Interest::READ })
    }

    /// The next request.
    pub(super) fn take(&mut self) -> Result<Incoming, FrameError> {
        loop {
            if let Some((request, descriptors)) = self.inbox.take()? {
                return Ok(Incoming::Request(request, descriptors));
            }
            match self.inbox.fill(&self.socket)? {
                Filled::Bytes => {}
                Filled::Nothing => return Ok(Incoming::Nothing),
                Filled::End => return Ok(Incoming::Closed),
            }
        }
    }

    /// Sends a message, or as much as fits now.
    pub(super) fn send(
        &mut self,
        message: &FromShim,
        descriptors: Vec<OwnedFd>,
        epoll: &Epoll,
    ) -> Result<(), FrameError> {
        self.outbox.push(message, descriptors)?;
        if self.outbox.len() > OUTBOX_LIMIT {
            return Err(FrameError::TooLong(self.outbox.len()));
        }
        self.flush(epoll)
    }

    /// Sends what fits of what waits.
    pub(super) fn flush(&mut self, epoll: &Epoll) -> Result<(), FrameError> {
        let wanted = Interest { writable: !self.outbox.flush(&self.socket)?, ..Interest::READ };
        if wanted != self.registered {
            epoll.modify(&self.socket, Token::Connection { id: self.id }.pack(), wanted)?;
            self.registered = wanted;
        }
        Ok(())
    }

    /// Whether everything has been sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Forgets the connection. The peer reads an end of file.
    pub(super) fn close(self, epoll: &Epoll) -> linux::Result<()> {
        epoll.remove(&self.socket)
    }
}
