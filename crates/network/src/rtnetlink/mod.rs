//! rtnetlink(7) requests and answers: links, addresses, routes, neighbours.

mod address;
mod link;
mod queue;
mod route;
mod watch;

pub(crate) use address::{add_address, delete_address, list_addresses, parse_address};
pub use link::{IpvlanFlag, IpvlanMode, Link, MacvlanMode};
pub(crate) use link::{
    NewLink, OUR_GROUP, create, delete, get, list_links, parse_link, rename, set_master, set_mtu, set_port,
    set_up,
};
pub(crate) use queue::{shape, unshape};
pub(crate) use route::{
    accept_localhost, add_route, delete_neighbour, list_routes, parse_route, unpace_route,
};
pub use watch::{LinkChanges, LinkWatch};

use crate::address::octets;
use std::net::IpAddr;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The address family of an address, as rtnetlink headers have it.
fn family(address: IpAddr) -> u8 {
    if address.is_ipv6() { AF_INET6 } else { AF_INET }
}

/// Adds an address attribute.
fn push_address(attributes: &mut crate::netlink::Attributes, kind: u16, address: IpAddr) {
    attributes.bytes(kind, &octets(address));
}
