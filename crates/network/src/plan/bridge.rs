//! Plans for bridges, and for links that are left over.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Invalid, LinkOp, NetOp, check_ipv6};
use crate::address::Prefix;
use crate::endpoint::BridgeConfig;
use crate::facts::Facts;
use crate::interface::InterfaceName;
use crate::sysctl::Sysctl;

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
    plan.extend(bridge_sysctls(config, found.is_some(), ipv6).into_iter().map(LinkOp::Set).map(host));
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
    if facts.paced && !config.foreign {
        plan.extend(super::unpace(interface, &config.addresses).into_iter().map(host));
    }
    if config.forwarding && !facts.bridge_filtering_ipv6 && config.addresses.iter().any(Prefix::is_ipv6) {
        plan.push(host(LinkOp::AcceptLocalhost { interface: interface.clone() }));
    }
    plan.extend(forwarding(config, facts).into_iter().map(LinkOp::Set).map(host));
    Ok(plan)
}

/// Parameters of the bridge: no router advertisements from containers, no IPv6 where it is not wanted, and packets
/// from 127.0.0.0/8 may leave through it (the firewall drops those that come in). Where containers are kept apart the host
/// says in ARP that it is all of them (RFC 3069).
fn bridge_sysctls(config: &BridgeConfig, is_there: bool, ipv6: bool) -> Vec<Sysctl> {
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
    if config.apart || (is_there && !config.foreign) {
        let on = if config.apart { "1" } else { "0" };
        sysctls.push(Sysctl::of_interface("ipv4", interface, "proxy_arp_pvlan", on));
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
