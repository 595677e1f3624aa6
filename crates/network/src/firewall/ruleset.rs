//! What the firewall shall do: networks with their modes, and published ports. A pure value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::{Batch, change};
use super::frames::{BridgePort, render_frames};
use super::passage::Passage;
use super::render::{render, render_user};
use super::table::Table;
use crate::address::Prefix;
use crate::interface::InterfaceName;

/// The transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// How packets get to the containers of a network from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayMode {
    /// Published ports by way of the host's addresses; nothing else.
    #[default]
    Nat,
    /// As `nat`, and every port by the container's own address.
    NatUnprotected,
    /// Published ports by the container's own address; no translation.
    Routed,
    /// The host has no address in the network, and there is no way in or out.
    Isolated,
}

/// A bridge network, as far as packets are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRules {
    /// The bridge.
    pub bridge: InterfaceName,
    /// The subnets.
    pub subnets: Vec<Prefix>,
    /// The host's own addresses in them.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Whether its containers may talk to each other (`enable_icc`). The ports must be isolated as well when not.
    pub communication: bool,
    /// Whether there is no way in or out.
    pub internal: bool,
    /// Whether packets to the outside get the host's address (`enable_ip_masquerade`), in the nat modes.
    pub masquerade: bool,
    /// The mode for IPv4.
    pub gateway_mode_ipv4: GatewayMode,
    /// The mode for IPv6.
    pub gateway_mode_ipv6: GatewayMode,
    /// The IPv4 address that packets to the outside get instead of the outgoing interface's.
    pub host_ipv4: Option<Ipv4Addr>,
    /// The IPv6 address that packets to the outside get instead of the outgoing interface's.
    pub host_ipv6: Option<Ipv6Addr>,
    /// Interfaces of the host from which every port of the containers may be reached directly.
    pub trusted_interfaces: Vec<InterfaceName>,
}

/// A port of the host that leads to a port of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The transport.
    pub protocol: Protocol,
    /// The host's address; 0.0.0.0 or :: for all of them. In `routed` mode it has no meaning.
    pub host_address: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's address, of the same family.
    pub container_address: IpAddr,
    /// The container's port.
    pub container_port: u16,
}

/// Everything the firewall shall do. A copy costs next to nothing, and shares what is not changed afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    networks: Arc<BTreeMap<String, NetworkRules>>,
    published: Arc<BTreeMap<(Protocol, IpAddr, u16), PublishedPort>>,
    /// Drop packets that the host would forward between interfaces that are not ours: right when forwarding was off
    /// before we switched it on, or the host would have become a router by our doing. The next daemon finds forwarding
    /// on, so this has to be remembered, or read from [`super::Observed::drops_foreign_forwarding`].
    pub drop_foreign_forwarding: bool,
    /// Publish to `[::1]` as well. It needs that frames which cross a bridge are not given to the packet filter
    /// ([`crate::Facts::bridge_filtering_ipv6`]); where they are, `[::1]` refuses connections instead.
    pub ipv6_localhost: bool,
    /// Look at the frames that come out of containers. It needs a kernel whose nf_tables see bridges
    /// ([`crate::Network::sees_frames`]).
    pub guard_frames: bool,
    /// Hold the tables: while our socket is open, nobody else can change or flush them, and they stay when it is closed. It
    /// needs a kernel that can ([`crate::Network::keeps_tables`]), and one [`crate::Network`] for all changes.
    pub hold: bool,
    /// Packets with this mark, in the bits of the mask, are let through (`--bridge-accept-fwmark`).
    pub accepted_mark: Option<(u32, u32)>,
    ports: Arc<BTreeMap<InterfaceName, BridgePort>>,
    refused: Arc<BTreeSet<Refused>>,
    pub(super) passages: BTreeSet<Passage>,
}

/// A published port that stays closed for what comes in by an interface of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refused {
    /// The host's interface.
    pub interface: InterfaceName,
    /// Whether it is IPv6 that is refused.
    pub ipv6: bool,
    /// The transport.
    pub protocol: Protocol,
    /// The host's port.
    pub port: u16,
}

/// A published port whose host port leads elsewhere already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{new} cannot be published: {old} is")]
pub struct Conflict {
    /// The port that was to be published.
    pub new: PublishedPort,
    /// The one that is.
    pub old: PublishedPort,
}

impl NetworkRules {
    /// A network as it is without options: nat, masqueraded, open within.
    #[must_use]
    pub fn new(bridge: InterfaceName, subnets: Vec<Prefix>) -> Self {
        Self {
            bridge,
            subnets,
            gateways: Vec::new(),
            communication: true,
            internal: false,
            masquerade: true,
            gateway_mode_ipv4: GatewayMode::Nat,
            gateway_mode_ipv6: GatewayMode::Nat,
            host_ipv4: None,
            host_ipv6: None,
            trusted_interfaces: Vec::new(),
        }
    }

    /// The mode for a family.
    #[must_use]
    pub fn gateway_mode(&self, ipv6: bool) -> GatewayMode {
        if ipv6 { self.gateway_mode_ipv6 } else { self.gateway_mode_ipv4 }
    }

    /// Whether the network has a subnet of a family.
    #[must_use]
    pub fn has_family(&self, ipv6: bool) -> bool {
        self.subnets.iter().any(|subnet| subnet.is_ipv6() == ipv6)
    }

    /// Whether there is no way in or out.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let isolated = |ipv6| !self.has_family(ipv6) || self.gateway_mode(ipv6) == GatewayMode::Isolated;
        self.internal || (!self.subnets.is_empty() && isolated(false) && isolated(true))
    }
}

impl PublishedPort {
    fn key(&self) -> (Protocol, IpAddr, u16) {
        (self.protocol, self.host_address, self.host_port)
    }

    fn target(&self) -> (Protocol, IpAddr, u16) {
        (self.protocol, self.container_address, self.container_port)
    }
}

impl Ruleset {
    /// Adds a network, or changes it.
    pub fn set_network(&mut self, id: &str, rules: NetworkRules) {
        Arc::make_mut(&mut self.networks).insert(id.to_owned(), rules);
    }

    /// Removes a network; one that is not there is no error. Its published ports stay until they are unpublished.
    pub fn remove_network(&mut self, id: &str) {
        Arc::make_mut(&mut self.networks).remove(id);
    }

    /// The networks by their ids.
    #[must_use]
    pub fn networks(&self) -> &BTreeMap<String, NetworkRules> {
        &self.networks
    }

    /// Adds a published port; one that is there already is no error.
    ///
    /// # Errors
    /// When its host port leads elsewhere. Addresses that merely overlap (0.0.0.0 and 127.0.0.1) are no conflict
    /// here: the more precise one is asked first. [`crate::PortAllocator`] keeps them apart.
    pub fn publish(&mut self, port: PublishedPort) -> Result<(), Conflict> {
        match self.published.get(&port.key()) {
            Some(old) if *old != port => Err(Conflict { new: port, old: *old }),
            Some(_) => Ok(()),
            None => {
                Arc::make_mut(&mut self.published).insert(port.key(), port);
                Ok(())
            }
        }
    }

    /// Removes a published port; one that is not there, or leads elsewhere by now, is left.
    pub fn unpublish(&mut self, port: &PublishedPort) {
        if self.published.get(&port.key()) == Some(port) {
            Arc::make_mut(&mut self.published).remove(&port.key());
        }
    }

    /// The published ports.
    pub fn published(&self) -> impl Iterator<Item = &PublishedPort> {
        self.published.values()
    }

    /// Adds a container's port of a bridge by the name of its host's end, or changes it. It has to be known before the
    /// port exists: frames of ours that are not known are dropped.
    pub fn set_port(&mut self, host_interface: &InterfaceName, port: BridgePort) {
        Arc::make_mut(&mut self.ports).insert(host_interface.clone(), port);
    }

    /// Removes a container's port; one that is not there is no error.
    pub fn remove_port(&mut self, host_interface: &InterfaceName) {
        if self.ports.contains_key(host_interface) {
            Arc::make_mut(&mut self.ports).remove(host_interface);
        }
    }

    /// The containers' ports by the names of their host's ends.
    #[must_use]
    pub fn ports(&self) -> &BTreeMap<InterfaceName, BridgePort> {
        &self.ports
    }

    /// Closes these published ports, and no others, to what comes in by interfaces of the host.
    pub fn set_refused(&mut self, refused: BTreeSet<Refused>) {
        if *self.refused != refused {
            self.refused = Arc::new(refused);
        }
    }

    /// The published ports that are closed to some interfaces of the host.
    #[must_use]
    pub fn refused(&self) -> &BTreeSet<Refused> {
        &self.refused
    }

    /// The network that an address belongs to.
    pub(crate) fn network_of(&self, address: IpAddr) -> Option<&NetworkRules> {
        self.networks.values().find(|network| network.subnets.iter().any(|subnet| subnet.contains(address)))
    }

    /// The table that does it.
    #[must_use]
    pub fn table(&self) -> Table {
        render(self)
    }

    /// The table that looks at frames; `None` when none are looked at.
    #[must_use]
    pub fn frames(&self) -> Option<Table> {
        self.guard_frames.then(|| render_frames(self.ports.iter()))
    }

    /// The table of the administrator's own rules.
    #[must_use]
    pub fn user(&self) -> Table {
        render_user(self)
    }

    /// The batch that makes the tables of `old` into those of `self`. It is empty when they are equal, and the kernel
    /// refuses it as a whole when they are not as `old` says.
    #[must_use]
    pub fn change_from(&self, old: &Self) -> Batch {
        self.packets_from(old).and(self.user_from(old)).and(self.frames_from(old))
    }

    fn user_from(&self, old: &Self) -> Batch {
        if self.networks == old.networks { Batch::default() } else { change(&old.user(), &self.user()) }
    }

    fn frames_from(&self, old: &Self) -> Batch {
        if self.guard_frames != old.guard_frames {
            let table = |ruleset: &Self| ruleset.frames().unwrap_or_else(Table::of_frames);
            return change(&table(old), &table(self));
        }
        if !self.guard_frames || self.ports == old.ports {
            return Batch::default();
        }
        // Only ports differ: the others are left out, so that the cost of one does not grow with their number.
        let only = |ruleset: &Self, other: &Self| {
            let differs =
                |(name, port): &(&InterfaceName, &BridgePort)| other.ports.get(*name) != Some(*port);
            render_frames(ruleset.ports.iter().filter(differs).collect::<Vec<_>>().into_iter())
        };
        change(&only(old, self), &only(self, old))
    }

    fn packets_from(&self, old: &Self) -> Batch {
        let shape =
            |ruleset: &Self| (ruleset.drop_foreign_forwarding, ruleset.ipv6_localhost, ruleset.accepted_mark);
        let is_same_but_for_ports = shape(self) == shape(old)
            && self.networks == old.networks
            && self.refused == old.refused
            && self.passages == old.passages;
        if !is_same_but_for_ports {
            return change(&old.table(), &self.table());
        }
        // Only ports differ: with those that are the same on both sides left out, the cost of one more port does not
        // grow with the number of ports. A target that another port shares stays, so that it is not taken away.
        let differs = |port: &PublishedPort, other: &Self| other.published.get(&port.key()) != Some(port);
        let removed = old.published().filter(|port| differs(port, self));
        let added = self.published().filter(|port| differs(port, old));
        let targets: BTreeSet<_> = removed.chain(added).map(PublishedPort::target).collect();
        change(&old.with_targets(&targets).table(), &self.with_targets(&targets).table())
    }

    fn with_targets(&self, targets: &BTreeSet<(Protocol, IpAddr, u16)>) -> Self {
        let published = self.published.iter().filter(|(_, port)| targets.contains(&port.target()));
        Self {
            networks: Arc::clone(&self.networks),
            published: Arc::new(published.map(|(key, port)| (*key, *port)).collect()),
            drop_foreign_forwarding: self.drop_foreign_forwarding,
            ipv6_localhost: self.ipv6_localhost,
            guard_frames: self.guard_frames,
            hold: self.hold,
            accepted_mark: self.accepted_mark,
            ports: Arc::default(),
            refused: Arc::clone(&self.refused),
            passages: self.passages.clone(),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A text that is not a transport protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid protocol {0:?}: it must be tcp, udp or sctp")]
pub struct InvalidProtocol(String);

impl FromStr for Protocol {
    type Err = InvalidProtocol;

    fn from_str(text: &str) -> Result<Self, InvalidProtocol> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(InvalidProtocol(text.to_owned())),
        }
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = SocketAddr::new(self.host_address, self.host_port);
        let container = SocketAddr::new(self.container_address, self.container_port);
        write!(f, "{host} -> {container}/{}", self.protocol)
    }
}
