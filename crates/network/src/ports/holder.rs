//! Holding a port on the host, so that no other program takes it while a container has it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use linux::port::Transport;

use super::allocator::PortLease;
use crate::firewall::Protocol;

/// Takes ports on the host. The tests put another one in its place.
pub trait PortHolder {
    /// What keeps a port as long as it exists.
    type Held;

    /// Takes a port; `again` when it was given back a moment ago.
    ///
    /// # Errors
    /// The system call that failed: EADDRINUSE when another program has the port.
    fn hold(&self, lease: &PortLease, again: bool) -> Result<Self::Held, linux::Error>;

    /// Gives a port back.
    ///
    /// # Errors
    /// The system call that failed; the port is given back all the same.
    fn let_go(&self, held: Self::Held) -> Result<(), linux::Error>;
}

/// Holds ports with sockets that are bound and do not listen.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketHolder;

/// A socket that holds a port.
#[derive(Debug)]
pub enum Held {
    /// The port is ours while this socket is open.
    Socket(OwnedFd),
    /// The kernel does not have this protocol for programs, only for forwarding: nothing can take the port.
    NotNeeded,
}

impl PortHolder for SocketHolder {
    type Held = Held;

    fn hold(&self, lease: &PortLease, again: bool) -> Result<Held, linux::Error> {
        const EPROTONOSUPPORT: i32 = 93;
        const ESOCKTNOSUPPORT: i32 = 94;
        let transport = match lease.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
            Protocol::Sctp => Transport::Sctp,
        };
        let hold = if again { linux::port::hold_again } else { linux::port::hold };
        match hold(transport, SocketAddr::new(lease.address, lease.port)) {
            Ok(socket) => Ok(Held::Socket(socket)),
            Err(error)
                if lease.protocol == Protocol::Sctp
                    && [EPROTONOSUPPORT, ESOCKTNOSUPPORT].contains(&error.errno()) =>
            {
                Ok(Held::NotNeeded)
            }
            Err(error) => Err(error),
        }
    }

    fn let_go(&self, held: Held) -> Result<(), linux::Error> {
        match held {
            Held::Socket(socket) => linux::port::let_go(socket),
            Held::NotNeeded => Ok(()),
        }
    }
}
