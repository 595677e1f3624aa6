//! Carrying out plans: each operation is one request, and nothing is decided here.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use linux::netlink::Family;

use crate::interface::InterfaceName;
use crate::netlink::{self, Connection};
use crate::network::{Error, Result};
use crate::plan::{LinkOp, NetOp};
use crate::rtnetlink::{self, Link, NewLink};
use crate::unpaced::UNPACED;

/// Carries out a plan and stops at the first operation that fails.
pub(crate) fn apply(route: &mut Connection, plan: &[NetOp], netns: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut rest = plan;
    while let Some(op) = rest.first() {
        let inside = rest.iter().take_while(|op| matches!(op, NetOp::Container(_))).count();
        if inside == 0 {
            apply_on_host(route, op, netns).map_err(|cause| failed(op, cause))?;
            rest = &rest[1..];
        } else {
            let netns = netns.ok_or_else(|| failed(op, Error::NoContainer))?;
            linux::netns::run_in(netns, || apply_in_container(&rest[..inside]))??;
            rest = &rest[inside..];
        }
    }
    Ok(())
}

fn apply_on_host(route: &mut Connection, op: &NetOp, netns: Option<BorrowedFd<'_>>) -> Result<()> {
    match op {
        NetOp::CreateBridge { interface, mac, mtu } => {
            create(route, NewLink::Bridge { name: interface.as_str(), mac: *mac, mtu: *mtu })
        }
        NetOp::CreateVeth { host_interface, bridge, interface, mac, mtu } => {
            let bridge = index(route, bridge)?;
            let netns = netns.ok_or(Error::NoContainer)?;
            let (name, peer) = (host_interface.as_str(), interface.as_str());
            create(route, NewLink::Veth { name, bridge, peer, mac: *mac, mtu: *mtu, netns })
        }
        NetOp::JoinBridge { host_interface, bridge } => {
            let (index, bridge) = (index(route, host_interface)?, index(route, bridge)?);
            Ok(route.request(&rtnetlink::set_master(index, bridge))?)
        }
        NetOp::SetPort { host_interface, isolated, reflecting } => {
            let index = index(route, host_interface)?;
            Ok(route.request(&rtnetlink::set_port(index, *isolated, *reflecting))?)
        }
        NetOp::CreateMacvlan { interface, parent, mode, mac, mtu } => {
            let parent = index(route, parent)?;
            let netns = netns.ok_or(Error::NoContainer)?;
            let (name, mode, mac, mtu) = (interface.as_str(), *mode, *mac, *mtu);
            create(route, NewLink::Macvlan { name, parent, mode, mac, mtu, netns })
        }
        NetOp::CreateIpvlan { interface, parent, mode, flag, mtu } => {
            let parent = index(route, parent)?;
            let netns = netns.ok_or(Error::NoContainer)?;
            let (name, mode, flag, mtu) = (interface.as_str(), *mode, *flag, *mtu);
            create(route, NewLink::Ipvlan { name, parent, mode, flag, mtu, netns })
        }
        NetOp::CreateVlan { interface, parent, id } => {
            let parent = index(route, parent)?;
            create(route, NewLink::Vlan { name: interface.as_str(), parent, id: *id })
        }
        NetOp::ForgetNeighbour { interface, address } => forget_neighbour(route, interface, *address),
        NetOp::Host(op) => apply_link_op(route, op),
        NetOp::Container(_) => Err(Error::NoContainer),
    }
}

fn create(route: &mut Connection, link: NewLink<'_>) -> Result<()> {
    Ok(route.request(&rtnetlink::create(link))?)
}

fn forget_neighbour(route: &mut Connection, interface: &InterfaceName, address: IpAddr) -> Result<()> {
    let Some(link) = find(route, interface)? else { return Ok(()) };
    absent_is_fine(route.request(&rtnetlink::delete_neighbour(link.index, address)))
}

/// Runs on a thread that is in the container's network namespace.
fn apply_in_container(plan: &[NetOp]) -> Result<()> {
    let mut route = Connection::open(Family::Route)?;
    for op in plan {
        let NetOp::Container(link_op) = op else { return Err(failed(op, Error::NoContainer)) };
        apply_link_op(&mut route, link_op).map_err(|cause| failed(op, cause))?;
    }
    Ok(())
}

fn apply_link_op(route: &mut Connection, op: &LinkOp) -> Result<()> {
    let request = match op {
        LinkOp::Set(sysctl) => return Ok(sysctl.write()?),
        LinkOp::AddAddress { interface, address } => {
            rtnetlink::add_address(index(route, interface)?, *address)
        }
        LinkOp::DeleteAddress { interface, address } => {
            let request = rtnetlink::delete_address(index(route, interface)?, *address);
            return absent_is_fine(route.request(&request));
        }
        LinkOp::Rename { from, to } => rtnetlink::rename(index(route, from)?, to.as_str()),
        LinkOp::SetMtu { interface, mtu } => rtnetlink::set_mtu(index(route, interface)?, *mtu),
        LinkOp::SetUp { interface } => rtnetlink::set_up(interface.as_str()),
        LinkOp::AcceptLocalhost { interface } => rtnetlink::accept_localhost(index(route, interface)?),
        LinkOp::AddRoute { interface, destination, gateway } => {
            rtnetlink::add_route(index(route, interface)?, *destination, *gateway)
        }
        LinkOp::Unpace { interface, address } => {
            rtnetlink::unpace_route(index(route, interface)?, *address, UNPACED)
        }
        LinkOp::Shape { interface, shape } if shape.is_none() => {
            let request = rtnetlink::unshape(index(route, interface)?);
            return absent_is_fine(route.request(&request));
        }
        LinkOp::Shape { interface, shape } => rtnetlink::shape(index(route, interface)?, shape),
        LinkOp::DeleteLink { interface } => {
            return absent_is_fine(route.request(&rtnetlink::delete(interface.as_str())));
        }
    };
    Ok(route.request(&request)?)
}

fn absent_is_fine(outcome: netlink::Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.is_absent() => Ok(()),
        other => Ok(other?),
    }
}

/// The link with this name.
pub(crate) fn find(route: &mut Connection, interface: &InterfaceName) -> Result<Option<Link>> {
    Ok(route.get(&rtnetlink::get(interface.as_str()), rtnetlink::parse_link)?)
}

fn index(route: &mut Connection, interface: &InterfaceName) -> Result<u32> {
    let found = find(route, interface)?;
    found.map(|link| link.index).ok_or_else(|| Error::NoInterface { interface: interface.clone() })
}

fn failed(op: &NetOp, cause: Error) -> Error {
    Error::Operation { operation: op.to_string(), cause: Box::new(cause) }
}
