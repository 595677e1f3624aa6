//! Plans: which links, addresses, routes and parameters a bridge or an endpoint needs, as a list of operations.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::address::{MacAddress, Prefix};
use crate::endpoint::{Attachment, BridgeConfig, Endpoint};
use crate::facts::{EndpointFacts, Facts};
use crate::interface::InterfaceName;
use crate::rtnetlink::{IpvlanFlag, IpvlanMode, MacvlanMode};
use crate::sysctl::Sysctl;

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
    /// On the host: creates a dummy, up.
    CreateDummy {
        /// The dummy.
        interface: InterfaceName,
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
    /// Adds a route.
    AddRoute {
        /// The link.
        interface: InterfaceName,
        /// Where it leads.
        destination: Prefix,
        /// The next hop.
        gateway: Option<IpAddr>,
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

/// What has to be done for a bridge to be as it should. Nothing when it is so already.
///
/// The firewall must have been applied before, so that nothing can pass the bridge for a moment that should not.
///
/// # Errors
/// A configuration that the host does not allow.
pub fn plan_bridge(config: &BridgeConfig, facts: &Facts) -> Result<Vec<NetOp>, Invalid> {
    let interface = &config.interface;
    let found = facts.link(interface);
    if let Some(link) = found.filter(|link| link.kind.as_deref() != Some("bridge")) {
        let interface = link.name.parse().unwrap_or_else(|_| interface.clone());
        return Err(Invalid::NotABridge { interface });
    }
    if found.is_none() && config.foreign {
        return Err(Invalid::NoForeignBridge { interface: interface.clone() });
    }
    let ipv6 = facts.ipv6_forwarding.is_some();
    check_ipv6(&config.addresses, ipv6)?;
    let mut plan = Vec::new();
    if found.is_none() {
        let create = NetOp::CreateBridge { interface: interface.clone(), mac: config.mac, mtu: config.mtu };
        plan.push(create);
    }
    let host = |op| NetOp::Host(op);
    plan.extend(bridge_sysctls(config, ipv6).into_iter().map(LinkOp::Set).map(host));
    if !config.foreign {
        let index = found.map(|link| link.index);
        let has: Vec<Prefix> = index.map(|index| facts.addresses_of(index).collect()).unwrap_or_default();
        plan.extend(bridge_addresses(config, &has).into_iter().map(host));
        if let (Some(link), Some(mtu)) = (found, config.mtu)
            && link.mtu != mtu
        {
            plan.push(host(LinkOp::SetMtu { interface: interface.clone(), mtu }));
        }
    }
    if found.is_none_or(|link| !link.up) {
        plan.push(host(LinkOp::SetUp { interface: interface.clone() }));
    }
    if config.forwarding && !facts.bridge_filtering_ipv6 && config.addresses.iter().any(Prefix::is_ipv6) {
        plan.push(host(LinkOp::AcceptLocalhost { interface: interface.clone() }));
    }
    plan.extend(forwarding(config, facts).into_iter().map(LinkOp::Set).map(host));
    Ok(plan)
}

/// Parameters of the bridge: no router advertisements from containers, no IPv6 where it is not wanted, and packets
/// from 127.0.0.0/8 may leave through it (the firewall drops those that come in).
fn bridge_sysctls(config: &BridgeConfig, ipv6: bool) -> Vec<Sysctl> {
    let interface = &config.interface;
    let mut sysctls = Vec::new();
    if ipv6 {
        sysctls.push(Sysctl::of_interface("ipv6", interface, "accept_ra", "0"));
        if !config.foreign {
            let off = if config.addresses.iter().any(Prefix::is_ipv6) { "0" } else { "1" };
            sysctls.push(Sysctl::of_interface("ipv6", interface, "disable_ipv6", off));
            // Without its link-local address the bridge could not look for a container's hardware address, and the
            // search for duplicates would keep it from having one for the first seconds.
            sysctls.push(Sysctl::of_interface("ipv6", interface, "accept_dad", "0"));
        }
    }
    if config.forwarding {
        sysctls.push(Sysctl::of_interface("ipv4", interface, "route_localnet", "1"));
    }
    sysctls
}

/// Adds the addresses that are missing, then removes those that do not belong. Link-local ones are the kernel's.
fn bridge_addresses(config: &BridgeConfig, has: &[Prefix]) -> Vec<LinkOp> {
    let link_local = |prefix: &Prefix| match prefix.address() {
        IpAddr::V6(address) => address.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    };
    let interface = &config.interface;
    let missing = config.addresses.iter().filter(|address| !has.contains(address));
    let stale = has.iter().filter(|address| !config.addresses.contains(address) && !link_local(address));
    let add = missing.map(|&address| LinkOp::AddAddress { interface: interface.clone(), address });
    let delete = stale.map(|&address| LinkOp::DeleteAddress { interface: interface.clone(), address });
    add.chain(delete).collect()
}

/// Switches forwarding on where the bridge needs it and it is off.
fn forwarding(config: &BridgeConfig, facts: &Facts) -> Vec<Sysctl> {
    let mut sysctls = Vec::new();
    if !config.forwarding {
        return sysctls;
    }
    if !facts.ipv4_forwarding {
        sysctls.push(Sysctl::new("net/ipv4/ip_forward", "1"));
    }
    if facts.ipv6_forwarding == Some(false) && config.addresses.iter().any(Prefix::is_ipv6) {
        sysctls.push(Sysctl::new("net/ipv6/conf/default/forwarding", "1"));
        sysctls.push(Sysctl::new("net/ipv6/conf/all/forwarding", "1"));
    }
    sysctls
}

/// What removes a bridge.
#[must_use]
pub fn plan_remove_bridge(config: &BridgeConfig) -> Vec<NetOp> {
    if config.foreign {
        return Vec::new();
    }
    vec![NetOp::Host(LinkOp::DeleteLink { interface: config.interface.clone() })]
}

/// What gives a container an endpoint.
///
/// # Errors
/// A configuration that the host does not allow.
pub fn plan_attach(endpoint: &Endpoint, facts: &EndpointFacts) -> Result<Vec<NetOp>, Invalid> {
    let parent = endpoint.attachment.parent();
    let found = facts.parent.as_ref().ok_or_else(|| Invalid::NoParent { interface: parent.clone() })?;
    check_ipv6(&endpoint.addresses, facts.ipv6)?;
    let mut plan = match &endpoint.attachment {
        Attachment::Bridge { bridge, host_interface, isolated } => {
            if found.kind.as_deref() != Some("bridge") {
                return Err(Invalid::NotABridge { interface: bridge.clone() });
            }
            attach_to_bridge(endpoint, bridge, host_interface, *isolated, facts)
        }
        Attachment::Macvlan { parent, mode } => vec![NetOp::CreateMacvlan {
            interface: endpoint.interface.clone(),
            parent: parent.clone(),
            mode: *mode,
            mac: endpoint.mac,
            mtu: endpoint.mtu,
        }],
        Attachment::Ipvlan { parent, mode, flag } => vec![NetOp::CreateIpvlan {
            interface: endpoint.interface.clone(),
            parent: parent.clone(),
            mode: *mode,
            flag: *flag,
            mtu: endpoint.mtu,
        }],
    };
    plan.extend(furnish(endpoint, facts.ipv6).into_iter().map(NetOp::Container));
    Ok(plan)
}

fn attach_to_bridge(
    endpoint: &Endpoint,
    bridge: &InterfaceName,
    host_interface: &InterfaceName,
    isolated: bool,
    facts: &EndpointFacts,
) -> Vec<NetOp> {
    let mut plan = Vec::new();
    if facts.leftover {
        plan.push(NetOp::Host(LinkOp::DeleteLink { interface: host_interface.clone() }));
    }
    plan.push(NetOp::CreateVeth {
        host_interface: host_interface.clone(),
        bridge: bridge.clone(),
        interface: endpoint.interface.clone(),
        mac: endpoint.mac,
        mtu: endpoint.mtu,
    });
    if isolated || facts.bridge_filtering {
        let host_interface = host_interface.clone();
        plan.push(NetOp::SetPort { host_interface, isolated, reflecting: facts.bridge_filtering });
    }
    plan
}

/// The container's side: `lo` up; the interface's parameters and addresses before it comes up, so that nothing is
/// configured from outside and its neighbours are told its hardware address; routes after.
fn furnish(endpoint: &Endpoint, ipv6: bool) -> Vec<LinkOp> {
    let interface = &endpoint.interface;
    let mut plan = furnish_loopback();
    let mut set = |protocol, name, value| {
        plan.push(LinkOp::Set(Sysctl::of_interface(protocol, interface, name, value)));
    };
    set("ipv4", "arp_notify", "1");
    if ipv6 {
        set("ipv6", "accept_ra", "0");
        set("ipv6", "autoconf", "0");
        let wanted = endpoint.addresses.iter().any(Prefix::is_ipv6);
        set("ipv6", "disable_ipv6", if wanted { "0" } else { "1" });
        if wanted {
            set("ipv6", "accept_dad", "0");
            set("ipv6", "ndisc_notify", "1");
        }
    }
    plan.extend(endpoint.sysctls.iter().map(|sysctl| LinkOp::Set(sysctl.of(interface))));
    plan.extend(
        endpoint
            .addresses
            .iter()
            .map(|&address| LinkOp::AddAddress { interface: interface.clone(), address }),
    );
    plan.push(LinkOp::SetUp { interface: interface.clone() });
    plan.extend(endpoint.routes.iter().map(|route| LinkOp::AddRoute {
        interface: interface.clone(),
        destination: route.destination,
        gateway: route.gateway,
    }));
    plan.extend(endpoint.gateways.iter().map(|&gateway| default_route(interface, gateway)));
    plan
}

fn furnish_loopback() -> Vec<LinkOp> {
    vec![LinkOp::SetUp { interface: loopback() }]
}

/// What a container without a network needs: a loopback interface that is up.
#[must_use]
pub fn plan_loopback() -> Vec<NetOp> {
    furnish_loopback().into_iter().map(NetOp::Container).collect()
}

/// What makes an endpoint that is attached already the container's way out, or replaces its way out.
#[must_use]
pub fn plan_default_route(interface: &InterfaceName, gateways: &[IpAddr]) -> Vec<NetOp> {
    gateways.iter().map(|&gateway| NetOp::Container(default_route(interface, gateway))).collect()
}

fn default_route(interface: &InterfaceName, gateway: IpAddr) -> LinkOp {
    let any = match gateway {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    let destination = Prefix::host(any).with_length(0).unwrap_or(Prefix::host(any));
    LinkOp::AddRoute { interface: interface.clone(), destination, gateway: Some(gateway) }
}

/// What removes the links that we made and that nothing expects any more. The administrator's, and those of another
/// engine with the same kind of names, are not ours.
#[must_use]
pub fn plan_sweep(facts: &Facts, expected: &BTreeSet<InterfaceName>) -> Vec<NetOp> {
    let ours = facts.links.iter().filter(|link| link.ours);
    let stale = ours
        .filter_map(|link| link.name.parse::<InterfaceName>().ok())
        .filter(|name| !expected.contains(name));
    stale.map(|interface| NetOp::Host(LinkOp::DeleteLink { interface })).collect()
}

/// What takes an endpoint away again, whether or not its container still runs. What does not exist is no error.
/// An endpoint without a host's end is deleted inside the container, or vanishes with it.
#[must_use]
pub fn plan_detach(endpoint: &Endpoint, container_runs: bool) -> Vec<NetOp> {
    match &endpoint.attachment {
        Attachment::Bridge { host_interface, .. } => {
            let mut plan = vec![NetOp::Host(LinkOp::DeleteLink { interface: host_interface.clone() })];
            plan.extend(plan_release(endpoint));
            plan
        }
        Attachment::Macvlan { .. } | Attachment::Ipvlan { .. } if container_runs => {
            vec![NetOp::Container(LinkOp::DeleteLink { interface: endpoint.interface.clone() })]
        }
        Attachment::Macvlan { .. } | Attachment::Ipvlan { .. } => Vec::new(),
    }
}

/// What is to be done for an endpoint whose network namespace goes away by itself.
#[must_use]
pub fn plan_release(endpoint: &Endpoint) -> Vec<NetOp> {
    let Attachment::Bridge { bridge, .. } = &endpoint.attachment else { return Vec::new() };
    let addresses = endpoint.addresses.iter().map(Prefix::address);
    addresses.map(|address| NetOp::ForgetNeighbour { interface: bridge.clone(), address }).collect()
}

fn loopback() -> InterfaceName {
    // "lo" satisfies every condition of the type, which its tests state.
    "lo".parse().unwrap_or_else(|_| unreachable!("lo is a valid interface name"))
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
            Self::CreateDummy { interface } => write!(f, "host: dummy {interface}"),
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
            Self::SetMtu { interface, mtu } => write!(f, "mtu {mtu} on {interface}"),
            Self::SetUp { interface } => write!(f, "up {interface}"),
            Self::AcceptLocalhost { interface } => write!(f, "accept ::1 on {interface}"),
            Self::AddRoute { interface, destination, gateway: Some(gateway) } => {
                write!(f, "route {destination} via {gateway} dev {interface}")
            }
            Self::AddRoute { interface, destination, gateway: None } => {
                write!(f, "route {destination} dev {interface}")
            }
            Self::DeleteLink { interface } => write!(f, "delete {interface}"),
        }
    }
}
