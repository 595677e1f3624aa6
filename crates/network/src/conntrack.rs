//! Connection tracking: forgetting connections whose translation is out of date (linux/nfnetlink_conntrack.h).

use std::net::IpAddr;

use crate::address::from_octets;
use crate::firewall::Protocol;
use crate::netlink::{Connection, Dumped, Message, Result, attributes, find};

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;

const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Which connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// All from and to a container.
    Of(IpAddr),
    /// Those that were begun to a port of the host.
    To {
        /// The transport.
        protocol: Protocol,
        /// The host's address; 0.0.0.0 or :: for all of them.
        address: IpAddr,
        /// The port.
        port: u16,
    },
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuple {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    destination_port: Option<u16>,
}

impl Connections {
    fn is_ipv6(&self) -> bool {
        match self {
            Self::Of(address) | Self::To { address, .. } => address.is_ipv6(),
        }
    }

    fn contains(&self, original: &Tuple, reply: &Tuple) -> bool {
        match self {
            // What a container began comes from it; what was begun to it is answered by it.
            Self::Of(address) => original.source == *address || reply.source == *address,
            Self::To { protocol, address, port } => {
                original.protocol == number(*protocol)
                    && original.destination_port == Some(*port)
                    && (address.is_unspecified() || original.destination == *address)
            }
        }
    }
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// Forgets them, and returns how many there were; one that ended meanwhile is no error.
pub(crate) fn forget(connection: &mut Connection, which: &Connections) -> Result<usize> {
    let family = if which.is_ipv6() { AF_INET6 } else { AF_INET };
    let header = [family, 0, 0, 0];
    let request = Message::new(SUBSYSTEM << 8 | GET, 0, &header, "list connections");
    let deletions = connection.dump(&request, |list, dumped| {
        list.extend(deletion(dumped, which, header)?);
        Some(())
    })?;
    let mut forgotten = 0;
    for deletion in &deletions {
        match connection.request(deletion) {
            Ok(()) => forgotten += 1,
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(forgotten)
}

/// The request that deletes a connection; `Some(None)` for one that is not meant.
#[expect(clippy::option_option, reason = "a message that is skipped is not one that is malformed")]
fn deletion((_, payload): Dumped<'_>, which: &Connections, header: [u8; 4]) -> Option<Option<Message>> {
    const NESTED: u16 = 0x8000;
    let list = attributes(payload.get(4..)?)?;
    let original = find(&list, ORIGINAL)?;
    let (first, second) = (tuple(original), tuple(find(&list, REPLY)?));
    let (Some(first), Some(second)) = (first, second) else { return Some(None) };
    if !which.contains(&first, &second) {
        return Some(None);
    }
    let name = format!("forget connection from {} to {}", first.source, first.destination);
    let mut message = Message::new(SUBSYSTEM << 8 | DELETE, 0, &header, name);
    let attributes = message.attributes();
    attributes.bytes(ORIGINAL | NESTED, original);
    for kind in [ID, ZONE] {
        if let Some(value) = find(&list, kind) {
            attributes.bytes(kind, value);
        }
    }
    Some(Some(message))
}

/// Reads one direction; `None` for what has no addresses that we know.
fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let list = attributes(bytes)?;
    let addresses = attributes(find(&list, TUPLE_ADDRESSES)?)?;
    let protocol = attributes(find(&list, TUPLE_PROTOCOL)?)?;
    let address =
        |ipv4, ipv6| find(&addresses, ipv4).or_else(|| find(&addresses, ipv6)).and_then(from_octets);
    let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
    Some(Tuple {
        source: address(1, 3)?,
        destination: address(2, 4)?,
        protocol: *find(&protocol, PROTOCOL_NUMBER)?.first()?,
        destination_port: find(&protocol, DESTINATION_PORT).and_then(port),
    })
}
