//! What a container's interface and a network's bridge shall be: values that the engine makes and keeps.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::address::{MacAddress, Prefix};
use crate::interface::InterfaceName;
use crate::rtnetlink::{IpvlanFlag, IpvlanMode, MacvlanMode};
use crate::shape::Shaping;
use crate::sysctl::EndpointSysctl;

/// A bridge on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeConfig {
    /// The bridge's interface.
    pub interface: InterfaceName,
    /// Its hardware address, used when it has to be created.
    pub mac: MacAddress,
    /// The host's own addresses on it (the containers' gateways), with the subnets' prefix lengths. None where the
    /// host keeps out (gateway mode `isolated`, `inhibit_ipv4`).
    pub addresses: Vec<Prefix>,
    /// The MTU in bytes; `None` for the kernel's default.
    pub mtu: Option<u32>,
    /// Whether packets are forwarded to and from it; not for internal networks.
    pub forwarding: bool,
    /// Whether it was made by the administrator: then its addresses and MTU are left alone.
    pub foreign: bool,
    /// Whether its containers are kept apart, but for those that are linked: the host answers for all of them, so that
    /// packets between them pass through its firewall.
    #[serde(default)]
    pub apart: bool,
}

/// A container's interface in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What it hangs on.
    pub attachment: Attachment,
    /// The name in the container, such as `eth0`.
    pub interface: InterfaceName,
    /// The hardware address; an ipvlan has its parent's instead.
    pub mac: MacAddress,
    /// The container's addresses, with the subnets' prefix lengths.
    pub addresses: Vec<Prefix>,
    /// Link-local addresses besides, with their prefix lengths.
    #[serde(default)]
    pub link_local: Vec<Prefix>,
    /// Next hops of the default routes: at most one of each family, and none when another endpoint has the
    /// default route.
    pub gateways: Vec<IpAddr>,
    /// Further routes.
    pub routes: Vec<Route>,
    /// The MTU in bytes; `None` for the kernel's default.
    pub mtu: Option<u32>,
    /// Parameters of the interface.
    pub sysctls: Vec<EndpointSysctl>,
    /// How fast it sends and gets packets.
    #[serde(default)]
    pub shaping: Shaping,
}

/// What a container's interface hangs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attachment {
    /// A pair of virtual Ethernet interfaces with one end in a bridge.
    Bridge {
        /// The bridge.
        bridge: InterfaceName,
        /// The host's end of the pair.
        host_interface: InterfaceName,
        /// Whether it may not exchange frames with the other ports (inter-container communication is off).
        isolated: bool,
    },
    /// A second hardware address on an interface of the host.
    Macvlan {
        /// The host's interface.
        parent: InterfaceName,
        /// The mode.
        mode: MacvlanMode,
    },
    /// Further IP addresses on an interface of the host.
    Ipvlan {
        /// The host's interface.
        parent: InterfaceName,
        /// The mode.
        mode: IpvlanMode,
        /// Who sees whom.
        flag: IpvlanFlag,
    },
}

/// A route of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads.
    pub destination: Prefix,
    /// The next hop; `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
}

impl Attachment {
    /// The host's interface that must exist before the endpoint can.
    #[must_use]
    pub fn parent(&self) -> &InterfaceName {
        match self {
            Self::Bridge { bridge, .. } => bridge,
            Self::Macvlan { parent, .. } | Self::Ipvlan { parent, .. } => parent,
        }
    }

    /// The host's end, where there is one.
    #[must_use]
    pub fn host_interface(&self) -> Option<&InterfaceName> {
        match self {
            Self::Bridge { host_interface, .. } => Some(host_interface),
            Self::Macvlan { .. } | Self::Ipvlan { .. } => None,
        }
    }
}
