//! Plans for containers' interfaces.

use std::net::IpAddr;

use super::{Invalid, LinkOp, NetOp, check_ipv6};
use crate::address::Prefix;
use crate::endpoint::{Attachment, Endpoint};
use crate::facts::EndpointFacts;
use crate::interface::InterfaceName;
use crate::shape::Shaping;
use crate::sysctl::Sysctl;

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
        Attachment::Macvlan { parent, mode } => {
            let (interface, parent, mtu) = (born(endpoint), parent.clone(), endpoint.mtu);
            let create = NetOp::CreateMacvlan { interface, parent, mode: *mode, mac: endpoint.mac, mtu };
            vec![create, named(endpoint)]
        }
        Attachment::Ipvlan { parent, mode, flag } => {
            let (interface, parent, mtu) = (born(endpoint), parent.clone(), endpoint.mtu);
            vec![NetOp::CreateIpvlan { interface, parent, mode: *mode, flag: *flag, mtu }, named(endpoint)]
        }
    };
    plan.extend(furnish(endpoint, facts).into_iter().map(NetOp::Container));
    if endpoint.shaping != Shaping::default() {
        plan.extend(plan_shape(endpoint));
    }
    Ok(plan)
}

/// The name that an interface has before it gets its own.
fn born(endpoint: &Endpoint) -> InterfaceName {
    InterfaceName::at_birth(endpoint.mac)
}

fn named(endpoint: &Endpoint) -> NetOp {
    NetOp::Container(LinkOp::Rename { from: born(endpoint), to: endpoint.interface.clone() })
}

/// What removes an interface again that was created and could not be given its own name.
#[must_use]
pub(crate) fn plan_unborn(endpoint: &Endpoint) -> Vec<NetOp> {
    vec![NetOp::Container(LinkOp::DeleteLink { interface: born(endpoint) })]
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
fn furnish(endpoint: &Endpoint, facts: &EndpointFacts) -> Vec<LinkOp> {
    let ipv6 = facts.ipv6;
    let interface = &endpoint.interface;
    let mut plan = furnish_loopback();
    let mut set = |protocol, name, value| {
        plan.push(LinkOp::Set(Sysctl::of_interface(protocol, interface, name, value)));
    };
    set("ipv4", "arp_notify", "1");
    if ipv6 {
        set("ipv6", "accept_ra", "0");
        set("ipv6", "autoconf", "0");
        let wanted = endpoint.addresses.iter().chain(&endpoint.link_local).any(Prefix::is_ipv6);
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
            .chain(&endpoint.link_local)
            .map(|&address| LinkOp::AddAddress { interface: interface.clone(), address }),
    );
    plan.push(LinkOp::SetUp { interface: interface.clone() });
    plan.extend(unpaced(endpoint, facts));
    plan.extend(endpoint.routes.iter().map(|route| LinkOp::AddRoute {
        interface: interface.clone(),
        destination: route.destination,
        gateway: route.gateway,
    }));
    plan.extend(endpoint.gateways.iter().map(|&gateway| default_route(interface, gateway)));
    plan
}

/// What is on a bridge of ours is on this host: streams there are not paced.
fn unpaced(endpoint: &Endpoint, facts: &EndpointFacts) -> Vec<LinkOp> {
    let is_bridge = matches!(endpoint.attachment, Attachment::Bridge { .. });
    if !facts.paced || !is_bridge || !facts.parent.as_ref().is_some_and(|bridge| bridge.ours) {
        return Vec::new();
    }
    super::unpace(&endpoint.interface, &endpoint.addresses)
}

fn furnish_loopback() -> Vec<LinkOp> {
    vec![LinkOp::SetUp { interface: InterfaceName::loopback() }]
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

/// What has an endpoint send and get packets as its shaping says, whatever was said before. What a container gets is
/// what its host's end sends: an endpoint without one cannot be shaped so.
#[must_use]
pub fn plan_shape(endpoint: &Endpoint) -> Vec<NetOp> {
    let Shaping { egress, ingress } = endpoint.shaping;
    let inside = LinkOp::Shape { interface: endpoint.interface.clone(), shape: egress };
    let outside = endpoint.attachment.host_interface();
    let outside = outside.map(|interface| LinkOp::Shape { interface: interface.clone(), shape: ingress });
    outside.map(NetOp::Host).into_iter().chain([NetOp::Container(inside)]).collect()
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
