//! Netlink sockets: opened with extended acknowledgements, bounded in time, answers from the kernel only.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force, set_socket_timeout,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::error::{Error, Named, Result};

/// The kernel subsystem that a netlink socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes, neighbours, queueing (rtnetlink(7)).
    Route,
    /// nf_tables and connection tracking (nfnetlink).
    Netfilter,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Route => "NETLINK_ROUTE",
            Self::Netfilter => "NETLINK_NETFILTER",
        }
    }
}

/// The longest wait for an answer of the kernel. A request is answered before `send` returns, except when the
/// system is out of memory; the limit only keeps a caller from hanging for ever.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Answers of a dump are at most 32 KiB per datagram; an acknowledgement repeats at most a batch's header.
const DATAGRAM_LIMIT: usize = 64 * 1024;

/// A connected netlink socket of the network namespace in which it was opened; it stays there.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    family: Family,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace (netlink(7)): close-on-exec, extended
    /// acknowledgements, acknowledgements without a copy of the request.
    ///
    /// # Errors
    /// The `socket`, `bind`, `connect` or `setsockopt` call that failed.
    pub fn open(family: Family) -> Result<Self> {
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(netlink::NETFILTER),
        };
        let name = family.name();
        let fd =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
                .named(|| format!("socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, {name})"))?;
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::bind(&fd, &kernel).named(|| format!("bind({name})"))?;
        rustix::net::connect(&fd, &kernel).named(|| format!("connect({name})"))?;
        set_option(&fd, libc::NETLINK_EXT_ACK, 1, "NETLINK_EXT_ACK")?;
        set_option(&fd, libc::NETLINK_CAP_ACK, 1, "NETLINK_CAP_ACK")?;
        set_socket_timeout(&fd, Timeout::Recv, Some(ANSWER_LIMIT))
            .named(|| format!("setsockopt({name}, SO_RCVTIMEO)"))?;
        // Both are only limits, and only needed by very long lists and batches: those say so when they do not fit.
        let _ = set_socket_recv_buffer_size_force(&fd, 1 << 20);
        let _ = set_socket_send_buffer_size_force(&fd, 16 << 20);
        Ok(Self { fd, family })
    }

    /// Joins a multicast group, so that the kernel sends its notifications to this socket without an answer
    /// limit: `receive` then waits until one comes.
    ///
    /// # Errors
    /// The `setsockopt` call that failed.
    pub fn join(&self, group: u32) -> Result<()> {
        set_option(&self.fd, libc::NETLINK_ADD_MEMBERSHIP, group, "NETLINK_ADD_MEMBERSHIP")?;
        set_socket_timeout(&self.fd, Timeout::Recv, None)
            .named(|| format!("setsockopt({}, SO_RCVTIMEO)", self.family.name()))
    }

    /// Sends one datagram, which may hold several messages.
    ///
    /// # Errors
    /// The `send` call that failed.
    pub fn send(&self, datagram: &[u8]) -> Result<()> {
        loop {
            match rustix::net::send(&self.fd, datagram, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    let call = format!("send({}, {} bytes)", self.family.name(), datagram.len());
                    return Err(Error::new(call, errno.raw_os_error()));
                }
            }
        }
    }

    /// Receives one datagram of the kernel; what other processes send is dropped.
    ///
    /// # Errors
    /// The `recv` call that failed: EAGAIN when no answer came within 20 s, ENOBUFS when notifications were
    /// lost, EMSGSIZE when a datagram is longer than 64 KiB.
    pub fn receive(&self) -> Result<Vec<u8>> {
        self.receive_with(RecvFlags::empty())
    }

    /// Like [`receive`](Self::receive), without waiting: `None` when nothing has come.
    ///
    /// # Errors
    /// As for `receive`, apart from EAGAIN.
    pub fn try_receive(&self) -> Result<Option<Vec<u8>>> {
        match self.receive_with(RecvFlags::DONTWAIT) {
            Ok(datagram) => Ok(Some(datagram)),
            Err(error) if error.errno() == libc::EAGAIN => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn receive_with(&self, flags: RecvFlags) -> Result<Vec<u8>> {
        let call = || format!("recvfrom({})", self.family.name());
        loop {
            let mut buffer = vec![0; DATAGRAM_LIMIT];
            let flags = flags | RecvFlags::TRUNC;
            let received = rustix::net::recvfrom(&self.fd, &mut buffer[..], flags);
            let (_, length, sender) = match received {
                Ok(received) => received,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(Error::new(call(), errno.raw_os_error())),
            };
            let from_kernel = sender
                .and_then(|address| SocketAddrNetlink::try_from(address).ok())
                .is_some_and(|address| address.pid() == 0);
            if !from_kernel {
                continue;
            }
            if length > DATAGRAM_LIMIT {
                return Err(Error::new(call(), libc::EMSGSIZE));
            }
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set_option(fd: &OwnedFd, option: i32, value: u32, name: &str) -> Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::last(format!("setsockopt({}, SOL_NETLINK, {name}, {value})", fd.as_raw_fd())))
}
