//! Watching nf_tables for changes that are not ours.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use linux::netlink::{Family, Socket};

use super::encode::SUBSYSTEM;
use crate::netlink::{Connection, Result, attributes, be32_at, find, messages};

/// NFNLGRP_NFTABLES.
const GROUP: u32 = 7;
const NEW_GENERATION: u16 = 15;
const GENERATION_PROCESS: u16 = 2;

/// Notifications about nf_tables. Its descriptor is readable when there are some.
#[derive(Debug)]
pub struct FirewallWatch {
    socket: Socket,
}

impl FirewallWatch {
    pub(crate) fn open() -> Result<Self> {
        Ok(Self { socket: Connection::open(Family::Netfilter)?.listen(GROUP)? })
    }

    /// Waits until somebody else has changed any table.
    ///
    /// # Errors
    /// A system call that failed.
    pub fn wait(&self) -> Result<()> {
        loop {
            if is_foreign(self.socket.receive())? {
                return Ok(());
            }
        }
    }

    /// Takes what has come without waiting: whether somebody else has changed any table.
    ///
    /// # Errors
    /// A system call that failed.
    pub fn changed(&self) -> Result<bool> {
        let mut changed = false;
        loop {
            match self.socket.try_receive() {
                Ok(None) => return Ok(changed),
                Ok(Some(datagram)) => changed |= is_foreign(Ok(datagram))?,
                Err(error) => changed |= is_foreign(Err(error))?,
            }
        }
    }
}

impl AsFd for FirewallWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether a datagram ends a transaction of a thread that is not one of ours. Lost notifications count as such, and so
/// does whatever cannot be read.
fn is_foreign(received: linux::Result<Vec<u8>>) -> Result<bool> {
    const ENOBUFS: i32 = 105;
    let datagram = match received {
        Ok(datagram) => datagram,
        Err(error) if error.errno() == ENOBUFS => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let Some(messages) = messages(&datagram) else { return Ok(true) };
    let mut ends = messages.iter().filter(|message| message.kind == (SUBSYSTEM << 8 | NEW_GENERATION));
    Ok(ends.any(|message| {
        let list = message.payload.get(4..).and_then(attributes).unwrap_or_default();
        let thread = find(&list, GENERATION_PROCESS).and_then(|bytes| be32_at(bytes, 0));
        thread.is_none_or(|thread| !Path::new(&format!("/proc/self/task/{thread}")).exists())
    }))
}
