//! Routes and neighbours: `struct rtmsg` with RTA_ and `struct ndmsg` with NDA_ attributes (rtnetlink(7)).

use std::net::IpAddr;

use super::{family, push_address};
use crate::address::{Prefix, from_octets};
use crate::netlink::{Dumped, Message, attributes, find, flag, u32_at};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_DELNEIGH: u16 = 29;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_TABLE: u16 = 15;
const RTAX_CC_ALGO: u16 = 16;
const NDA_DST: u16 = 1;

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_KERNEL: u8 = 2;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_LINK: u8 = 253;
const RT_TABLE_LOCAL: u8 = 255;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
const RTN_UNICAST: u8 = 1;

/// Adds a route through a link, by way of a gateway or directly; replaces one to the same destination.
pub(crate) fn add_route(index: u32, destination: Prefix, gateway: Option<IpAddr>) -> Message {
    let via = gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    let name = format!("RTM_NEWROUTE({destination}{via} dev {index})");
    let header = [
        family(destination.address()),
        destination.length(),
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_BOOT,
        if gateway.is_none() { RT_SCOPE_LINK } else { 0 },
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    let mut message = Message::new(RTM_NEWROUTE, flag::CREATE | flag::REPLACE, &header, name);
    let attributes = message.attributes();
    if destination.length() > 0 {
        push_address(attributes, RTA_DST, destination.first());
    }
    if let Some(gateway) = gateway {
        push_address(attributes, RTA_GATEWAY, gateway);
    }
    attributes.u32(RTA_OIF, index);
    message
}

/// Replaces the route to a link's own subnet, which the kernel made, by the same one with a congestion control for the
/// streams that take it.
pub(crate) fn unpace_route(index: u32, address: Prefix, control: &str) -> Message {
    /// The priority that the kernel gives such routes of IPv6; those of IPv4 have none.
    const PRIORITY_IPV6: u32 = 256;
    let ipv6 = address.is_ipv6();
    let name = format!("RTM_NEWROUTE({} dev {index} congctl {control})", address.network());
    let scope = if ipv6 { 0 } else { RT_SCOPE_LINK };
    let family = family(address.address());
    let header =
        [family, address.length(), 0, 0, RT_TABLE_MAIN, RTPROT_KERNEL, scope, RTN_UNICAST, 0, 0, 0, 0];
    let mut message = Message::new(RTM_NEWROUTE, flag::CREATE | flag::REPLACE, &header, name);
    let attributes = message.attributes();
    push_address(attributes, RTA_DST, address.first());
    attributes.u32(RTA_OIF, index);
    if ipv6 {
        attributes.u32(RTA_PRIORITY, PRIORITY_IPV6);
    } else {
        push_address(attributes, RTA_PREFSRC, address.address());
    }
    attributes.nest(RTA_METRICS, |metrics| {
        metrics.string(RTAX_CC_ALGO, control);
    });
    message
}

/// Adds a route that takes packets for ::1 from a link, after the kernel's own one for `lo`.
pub(crate) fn accept_localhost(index: u32) -> Message {
    let localhost = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
    let header =
        [super::AF_INET6, 128, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL, 0, 0, 0, 0];
    let name = format!("RTM_NEWROUTE(local ::1 dev {index})");
    let mut message = Message::new(RTM_NEWROUTE, flag::CREATE, &header, name);
    let attributes = message.attributes();
    push_address(attributes, RTA_DST, localhost);
    attributes.u32(RTA_OIF, index).u32(RTA_PRIORITY, 2048);
    message
}

/// Asks for the routes of all tables.
pub(crate) fn list_routes() -> Message {
    Message::new(RTM_GETROUTE, 0, &[0; 12], "RTM_GETROUTE(all)")
}

/// Reads the destination of a unicast route of the main table; `Some(None)` for every other route, `None` when it is
/// not well formed.
#[expect(clippy::option_option, reason = "a message that is skipped is not one that is malformed")]
pub(crate) fn parse_route((_, payload): Dumped<'_>) -> Option<Option<Prefix>> {
    let list = attributes(payload.get(12..)?)?;
    let table =
        find(&list, RTA_TABLE).and_then(|bytes| u32_at(bytes, 0)).unwrap_or(u32::from(*payload.get(4)?));
    if table != u32::from(RT_TABLE_MAIN) || *payload.get(7)? != RTN_UNICAST {
        return Some(None);
    }
    let unspecified = match *payload.first()? {
        super::AF_INET => IpAddr::from([0; 4]),
        super::AF_INET6 => IpAddr::from([0; 16]),
        _ => return Some(None),
    };
    let destination = find(&list, RTA_DST).map_or(Some(unspecified), from_octets)?;
    Prefix::new(destination, *payload.get(1)?).map(Some)
}

/// Forgets which hardware address a neighbour had.
pub(crate) fn delete_neighbour(index: u32, address: IpAddr) -> Message {
    let mut header = [0; 12];
    header[0] = family(address);
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let name = format!("RTM_DELNEIGH({address} dev {index})");
    let mut message = Message::new(RTM_DELNEIGH, 0, &header, name);
    push_address(message.attributes(), NDA_DST, address);
    message
}
