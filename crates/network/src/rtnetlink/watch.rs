//! Watching links and addresses for changes that could take a network apart.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use linux::netlink::{Family, Socket};

use super::address::{RTM_DELADDR, parse_address};
use super::link::{RTM_DELLINK, RTM_NEWLINK, parse_link};
use crate::address::Prefix;
use crate::netlink::{Connection, Result, messages};

/// RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR and RTNLGRP_IPV6_IFADDR.
const GROUPS: [u32; 3] = [1, 5, 9];

/// Notifications about links and addresses.
#[derive(Debug)]
pub struct LinkWatch {
    socket: Socket,
}

/// What may have been taken apart. Our own doings are among it: whoever is told looks at what is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkChanges {
    /// Links that have gone, are down, or have left their bridge, by name.
    pub links: BTreeSet<String>,
    /// Addresses that some link has lost.
    pub addresses: BTreeSet<Prefix>,
    /// Notifications were lost: it may be anything.
    pub anything: bool,
}

impl LinkChanges {
    /// Whether there is nothing to look at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        self.links.extend(others.links);
        self.addresses.extend(others.addresses);
        self.anything |= others.anything;
    }
}

impl LinkWatch {
    pub(crate) fn open() -> Result<Self> {
        let [first, others @ ..] = GROUPS;
        let socket = Connection::open(Family::Route)?.listen(first)?;
        for group in others {
            socket.join(group)?;
        }
        Ok(Self { socket })
    }

    /// Waits until something may have been taken apart.
    ///
    /// # Errors
    /// A system call that failed.
    pub fn wait(&self) -> Result<LinkChanges> {
        loop {
            let changes = read(self.socket.receive())?;
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }
}

impl LinkWatch {
    /// What has been told already; nothing when nothing has.
    pub(crate) fn look(&self) -> Result<LinkChanges> {
        match self.socket.try_receive() {
            Ok(None) => Ok(LinkChanges::default()),
            Ok(Some(datagram)) => read(Ok(datagram)),
            Err(error) => read(Err(error)),
        }
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a datagram tells. One that cannot be read may tell of anything, and so may those that were lost.
fn read(received: linux::Result<Vec<u8>>) -> Result<LinkChanges> {
    const ENOBUFS: i32 = 105;
    let anything = || LinkChanges { anything: true, ..LinkChanges::default() };
    let datagram = match received {
        Ok(datagram) => datagram,
        Err(error) if error.errno() == ENOBUFS => return Ok(anything()),
        Err(error) => return Err(error.into()),
    };
    Ok(parse(&datagram).unwrap_or_else(anything))
}

fn parse(datagram: &[u8]) -> Option<LinkChanges> {
    let mut changes = LinkChanges::default();
    for message in messages(datagram)? {
        let dumped = (message.kind, message.payload);
        match message.kind {
            RTM_DELLINK => {
                changes.links.insert(parse_link(dumped)?.name);
            }
            RTM_NEWLINK => {
                let link = parse_link(dumped)?;
                let is_port = link.kind.as_deref() == Some("veth");
                if link.ours && (!link.up || (is_port && link.master.is_none())) {
                    changes.links.insert(link.name);
                }
            }
            RTM_DELADDR => {
                changes.addresses.insert(parse_address(dumped)?.1);
            }
            _ => {}
        }
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_or_was_lost_may_be_anything() {
        assert!(read(Err(linux::Error::new("recvfrom(NETLINK_ROUTE)", 105))).unwrap().anything);
        assert!(read(Ok(vec![200, 0, 0, 0, 17, 0])).unwrap().anything);
        assert!(read(Err(linux::Error::new("recvfrom(NETLINK_ROUTE)", 9))).is_err());
        assert!(read(Ok(Vec::new())).unwrap().is_empty());
    }
}
