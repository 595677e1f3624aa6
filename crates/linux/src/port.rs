//! Sockets that hold a host port without serving it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{set_ipv6_v6only, set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

use crate::error::{Named, Result};

/// The transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP; kernels without it answer EPROTONOSUPPORT or ESOCKTNOSUPPORT.
    Sctp,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "IPPROTO_TCP",
            Self::Udp => "IPPROTO_UDP",
            Self::Sctp => "IPPROTO_SCTP",
        }
    }
}

/// Binds a socket to `address` in the calling thread's network namespace and does not listen on it: as long as the
/// descriptor is open, no other process can bind and listen there, and a connection that reaches it is refused.
/// An IPv6 address is bound for IPv6 only. TCP ports that merely have connections in TIME_WAIT can be bound.
///
/// # Errors
/// The call that failed: EADDRINUSE, EADDRNOTAVAIL, EACCES from `bind`; what is unsupported from `socket`.
pub fn hold(transport: Transport, address: SocketAddr) -> Result<OwnedFd> {
    hold_with(transport, address, transport != Transport::Udp)
}

/// Like [`hold`], for a port that [`let_go`] was called for a moment ago: another process that was being started then
/// may have the old socket for a moment more, which is no obstacle.
///
/// # Errors
/// As for [`hold`].
pub fn hold_again(transport: Transport, address: SocketAddr) -> Result<OwnedFd> {
    hold_with(transport, address, true)
}

/// Closes a socket of [`hold`]. Processes that are being started have a copy of it until they execute their program;
/// it does not keep others from the port meanwhile.
///
/// # Errors
/// The `setsockopt` call that failed; the socket is closed all the same.
pub fn let_go(socket: OwnedFd) -> Result<()> {
    set_socket_reuseaddr(&socket, true).named(|| "setsockopt(SO_REUSEADDR, 1)")
}

fn hold_with(transport: Transport, address: SocketAddr, reuse: bool) -> Result<OwnedFd> {
    let (domain, domain_name) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, "AF_INET"),
        SocketAddr::V6(_) => (AddressFamily::INET6, "AF_INET6"),
    };
    let (kind, protocol) = match transport {
        Transport::Tcp => (SocketType::STREAM, ipproto::TCP),
        Transport::Udp => (SocketType::DGRAM, ipproto::UDP),
        Transport::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = rustix::net::socket_with(domain, kind, SocketFlags::CLOEXEC, Some(protocol))
        .named(|| format!("socket({domain_name}, {})", transport.name()))?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true).named(|| "setsockopt(IPV6_V6ONLY, 1)")?;
    }
    // Reuse is on only while binding: it lets TIME_WAIT pass, and a socket that has it off is one that no other
    // process may share the port with.
    if reuse {
        set_socket_reuseaddr(&socket, true).named(|| "setsockopt(SO_REUSEADDR, 1)")?;
    }
    rustix::net::bind(&socket, &address).named(|| format!("bind({}, {address})", transport.name()))?;
    if reuse {
        set_socket_reuseaddr(&socket, false).named(|| "setsockopt(SO_REUSEADDR, 0)")?;
    }
    if transport == Transport::Udp {
        set_socket_recv_buffer_size(&socket, 0).named(|| "setsockopt(SO_RCVBUF, 0)")?;
    }
    Ok(socket)
}
