//! Links, addresses, firewall rules and address leases of containers, over netlink.
//!
//! Plans are values ([`plan`]), facts come from one place ([`Network::gather_facts`]), and applying decides nothing.
//! This crate starts no program, opens no client socket, keeps no state between calls, and knows no container: names,
//! leases and rules are values that the engine keeps.

mod address;
mod apply;
mod conntrack;
pub mod dns;
mod endpoint;
mod facts;
pub mod files;
pub mod firewall;
#[cfg(test)]
mod fuzz;
mod interface;
pub mod ipam;
pub mod netlink;
mod network;
pub mod plan;
pub mod ports;
mod removal;
mod resolver;
mod rtnetlink;
mod shape;
mod sysctl;
mod unpaced;

pub use address::{MacAddress, ParseError, Prefix};
pub use conntrack::Connections;
pub use endpoint::{Attachment, BridgeConfig, Endpoint, Route};
pub use facts::{EndpointFacts, Facts};
pub use firewall::{
    Answer, BridgePort, GatewayMode, Guard, HostInput, Knock, NetworkRules, Passage, Protocol, PublishedPort,
    Refused, Ruleset,
};
pub use interface::{InterfaceName, InvalidName};
pub use network::{Error, Network, Result};
pub use ports::{PortAllocator, PortError, PortLease, PortRequest};
pub use resolver::{RESOLVER_ADDRESS, ResolverSockets};
pub use rtnetlink::{IpvlanFlag, IpvlanMode, Link, LinkChanges, LinkWatch, MacvlanMode};
pub use shape::{InvalidShape, Shape, Shaping};
pub use sysctl::{EndpointSysctl, InvalidSysctl, Sysctl};
pub use unpaced::UnpacedPorts;
