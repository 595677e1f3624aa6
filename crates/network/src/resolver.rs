//! The door of the name server inside a container: sockets at 127.0.0.11, and port 53 leading to them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;

use linux::netlink::Family;

use crate::firewall::{self, resolver_table};
use crate::netlink::Connection;
use crate::network::{Error, Result};

/// The address of the name server in every container of a user-defined network.
pub const RESOLVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// The sockets of one container's name server. They are in the container's network namespace, on ports that the
/// kernel chose, so that the container may have a name server of its own on port 53.
#[derive(Debug)]
pub struct ResolverSockets {
    /// For queries by UDP.
    pub udp: UdpSocket,
    /// For queries by TCP.
    pub tcp: TcpListener,
}

impl ResolverSockets {
    /// Opens the sockets in the container's network namespace and leads port 53 of 127.0.0.11 to them; what leads it
    /// to the sockets of an earlier daemon is replaced. The loopback interface must be up.
    ///
    /// # Errors
    /// The socket that could not be opened, or the rules that the kernel refused.
    pub fn open(netns: BorrowedFd<'_>) -> Result<Self> {
        linux::netns::run_in(netns, || {
            let address = SocketAddr::new(IpAddr::V4(RESOLVER_ADDRESS), 0);
            let udp = UdpSocket::bind(address).map_err(|error| failed("UDP", &error))?;
            let tcp = TcpListener::bind(address).map_err(|error| failed("TCP", &error))?;
            let port = |bound: io::Result<SocketAddr>| bound.map(|address| address.port());
            let udp_port = port(udp.local_addr()).map_err(|error| failed("UDP", &error))?;
            let tcp_port = port(tcp.local_addr()).map_err(|error| failed("TCP", &error))?;
            let table = resolver_table(RESOLVER_ADDRESS, udp_port, tcp_port);
            let mut connection = Connection::open(Family::Netfilter)?;
            let observed = firewall::observe_table(&mut connection, firewall::Place::Packets)?;
            let messages = firewall::encode(&firewall::repair(&observed, &table, false));
            connection.transact(&firewall::batch_begin(), &messages, &firewall::batch_end())?;
            Ok(Self { udp, tcp })
        })?
    }
}

fn failed(transport: &str, error: &io::Error) -> Error {
    const EIO: i32 = 5;
    let call = format!("bind({transport}, {RESOLVER_ADDRESS}:0 in the container)");
    Error::System(linux::Error::new(call, error.raw_os_error().unwrap_or(EIO)))
}
