//! Plans: which links, addresses, routes and parameters a bridge or an endpoint needs, as a list of operations.

mod bridge;
mod endpoint;
mod mend;
mod parent;

use std::fmt;
use std::net::IpAddr;

use crate::address::{MacAddress, Prefix};
use crate::interface::InterfaceName;
use crate::rtnetlink::{IpvlanFlag, IpvlanMode, MacvlanMode};
use crate::shape::Shape;
use crate::sysctl::Sysctl;

pub use bridge::{plan_bridge, plan_remove_bridge, plan_sweep};
pub(crate) use endpoint::plan_unborn;
pub use endpoint::{plan_attach, plan_default_route, plan_detach, plan_loopback, plan_release, plan_shape};
pub use mend::{plan_mend_port, what_is_wrong};
pub use parent::plan_parent;

/// One operation; prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetOp {
    /// On the host: creates a bridge, down.
    CreateBridge {
        /// The bridge.
        interface: InterfaceName,
        /// Its hardware address.
        mac: MacAddress,
        /// Its MTU in bytes.
        mtu: Option<u32>,
    },
    /// On the host: creates a pair, its host end up in the bridge, its peer born in the container, down.
    CreateVeth {
        /// The host's end.
        host_interface: InterfaceName,
        /// The bridge.
        bridge: InterfaceName,
        /// The container's end.
        interface: InterfaceName,
        /// The hardware address of the container's end.
        mac: MacAddress,
        /// The MTU of both ends in bytes.
        mtu: Option<u32>,
    },
    /// On the host: makes a link a port of a bridge.
    JoinBridge {
        /// The link.
        host_interface: InterfaceName,
        /// The bridge.
        bridge: InterfaceName,
    },
    /// On the host: sets what a bridge port does.
    SetPort {
        /// The port.
        host_interface: InterfaceName,
        /// Whether it exchanges no frames with other isolated ports.
        isolated: bool,
        /// Whether it sends frames back that came in through it: a container reaches its own published port so, where
        /// frames that cross a bridge are given to the packet filter.
        reflecting: bool,
    },
    /// Creates a macvlan in the container, down.
    CreateMacvlan {
        /// The container's interface.
        interface: InterfaceName,
        /// The host's interface.
        parent: InterfaceName,
        /// The mode.
        mode: MacvlanMode,
        /// The hardware address.
        mac: MacAddress,
        /// The MTU in bytes.
        mtu: Option<u32>,
    },
    /// Creates an ipvlan in the container, down.
    CreateIpvlan {
        /// The container's interface.
        interface: InterfaceName,
        /// The host's interface.
        parent: InterfaceName,
        /// The mode.
        mode: IpvlanMode,
        /// Who sees whom.
        flag: IpvlanFlag,
        /// The MTU in bytes.
        mtu: Option<u32>,
    },
    /// On the host: creates a VLAN sub-interface, up.
    CreateVlan {
        /// The sub-interface.
        interface: InterfaceName,
        /// The interface below.
        parent: InterfaceName,
        /// The VLAN.
        id: u16,
    },
    /// On the host: forgets the hardware address of a neighbour.
    ForgetNeighbour {
        /// The link.
        interface: InterfaceName,
        /// The neighbour.
        address: IpAddr,
    },
    /// On the host.
    Host(LinkOp),
    /// In the container's network namespace.
    Container(LinkOp),
}

/// An operation that can be done in any network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOp {
    /// Writes a kernel parameter.
    Set(Sysctl),
    /// Gives an address to a link.
    AddAddress {
        /// The link.
        interface: InterfaceName,
        /// The address with the subnet's prefix length.
        address: Prefix,
    },
    /// Takes an address from a link.
    DeleteAddress {
        /// The link.
        interface: InterfaceName,
        /// The address with the subnet's prefix length.
        address: Prefix,
    },
    /// Gives a link that is down another name.
    Rename {
        /// The link.
        from: InterfaceName,
        /// Its new name.
        to: InterfaceName,
    },
    /// Sets a link's MTU.
    SetMtu {
        /// The link.
        interface: InterfaceName,
        /// In bytes.
        mtu: u32,
    },
    /// Brings a link up.
    SetUp {
        /// The link.
        interface: InterfaceName,
    },
    /// Takes packets for ::1 that come in through the interface after translation: answers from published ports.
    /// Those that are for ::1 on the wire are dropped by the kernel before.
    AcceptLocalhost {
        /// The link.
        interface: InterfaceName,
    },
    /// Has a link send as a shape says.
    Shape {
        /// The link.
        interface: InterfaceName,
        /// How.
        shape: Shape,
    },
    /// Adds a route.
    AddRoute {
        /// The link.
        interface: InterfaceName,
        /// Where it leads.
        destination: Prefix,
        /// The next hop.
        gateway: Option<IpAddr>,
    },
    /// Has the route to an address's subnet say that streams there are not paced.
    Unpace {
        /// The link.
        interface: InterfaceName,
        /// The link's own address, with the subnet's prefix length.
        address: Prefix,
    },
    /// Deletes a link; one that does not exist is no error.
    DeleteLink {
        /// The link.
        interface: InterfaceName,
    },
}

/// A configuration that the host's state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The name of a bridge is taken by another kind of interface.
    #[error("interface {interface} exists and is not a bridge; remove it or choose another bridge name")]
    NotABridge {
        /// The interface.
        interface: InterfaceName,
    },
    /// The interface that an endpoint hangs on does not exist.
    #[error(
        "interface {interface} does not exist; it must be there before a container can be attached to it"
    )]
    NoParent {
        /// The interface.
        interface: InterfaceName,
    },
    /// A bridge made by the administrator does not exist.
    #[error("bridge {interface} does not exist; create it, or let the engine make its own")]
    NoForeignBridge {
        /// The bridge.
        interface: InterfaceName,
    },
    /// An IPv6 address on a kernel without IPv6.
    #[error("address {address}: this kernel has no IPv6")]
    NoIpv6 {
        /// The address.
        address: Prefix,
    },
}

/// Has streams to the subnets of these addresses not be paced; an address by itself has none.
fn unpace(interface: &InterfaceName, addresses: &[Prefix]) -> Vec<LinkOp> {
    let has_subnet = |address: &&Prefix| **address != Prefix::host(address.address());
    let subnets = addresses.iter().filter(has_subnet);
    subnets.map(|&address| LinkOp::Unpace { interface: interface.clone(), address }).collect()
}

fn check_ipv6(addresses: &[Prefix], ipv6: bool) -> Result<(), Invalid> {
    match addresses.iter().find(|address| address.is_ipv6() && !ipv6) {
        Some(&address) => Err(Invalid::NoIpv6 { address }),
        None => Ok(()),
    }
}

impl fmt::Display for NetOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mtu = |mtu: &Option<u32>| mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
        match self {
            Self::CreateBridge { interface, mac, mtu: size } => {
                write!(f, "host: bridge {interface} {mac}{}", mtu(size))
            }
            Self::CreateVeth { host_interface, bridge, interface, mac, mtu: size } => {
                write!(
                    f,
                    "host: veth {host_interface} -> {bridge}, container: {interface} {mac}{}",
                    mtu(size)
                )
            }
            Self::JoinBridge { host_interface, bridge } => write!(f, "host: {host_interface} -> {bridge}"),
            Self::SetPort { host_interface, isolated, reflecting } => {
                let isolated = if *isolated { " isolated" } else { "" };
                let reflecting = if *reflecting { " reflecting" } else { "" };
                write!(f, "host: port {host_interface}{isolated}{reflecting}")
            }
            Self::CreateMacvlan { interface, parent, mode, mac, mtu: size } => {
                write!(f, "container: macvlan {interface} {mac} on {parent} mode {mode:?}{}", mtu(size))
            }
            Self::CreateIpvlan { interface, parent, mode, flag, mtu: size } => {
                write!(f, "container: ipvlan {interface} on {parent} mode {mode:?} {flag:?}{}", mtu(size))
            }
            Self::CreateVlan { interface, parent, id } => {
                write!(f, "host: vlan {interface} on {parent} id {id}")
            }
            Self::ForgetNeighbour { interface, address } => {
                write!(f, "host: forget neighbour {address} on {interface}")
            }
            Self::Host(op) => write!(f, "host: {op}"),
            Self::Container(op) => write!(f, "container: {op}"),
        }
    }
}

impl fmt::Display for LinkOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(sysctl) => write!(f, "set {sysctl}"),
            Self::AddAddress { interface, address } => write!(f, "address {address} on {interface}"),
            Self::DeleteAddress { interface, address } => write!(f, "no address {address} on {interface}"),
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::SetMtu { interface, mtu } => write!(f, "mtu {mtu} on {interface}"),
            Self::SetUp { interface } => write!(f, "up {interface}"),
            Self::AcceptLocalhost { interface } => write!(f, "accept ::1 on {interface}"),
            Self::AddRoute { interface, destination, gateway: Some(gateway) } => {
                write!(f, "route {destination} via {gateway} dev {interface}")
            }
            Self::AddRoute { interface, destination, gateway: None } => {
                write!(f, "route {destination} dev {interface}")
            }
            Self::Shape { interface, shape } => write!(f, "{shape} on {interface}"),
            Self::Unpace { interface, address } => {
                write!(f, "unpaced {}/{} dev {interface}", address.first(), address.length())
            }
            Self::DeleteLink { interface } => write!(f, "delete {interface}"),
        }
    }
}
