//! Addresses of links: `struct ifaddrmsg` with its IFA_ attributes (rtnetlink(7), linux/if_addr.h).

use super::{family, push_address};
use crate::address::{Prefix, from_octets};
use crate::netlink::{Dumped, Message, attributes, find, flag, u32_at};
use std::net::IpAddr;

const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// Duplicate address detection is left out: the address was leased by us, and could not be used for a second.
const IFA_F_NODAD: u32 = 0x02;

/// Gives a link an address; an address that it has already is no error.
pub(crate) fn add_address(index: u32, address: Prefix) -> Message {
    let name = format!("RTM_NEWADDR({address} on link {index})");
    let mut message = message(RTM_NEWADDR, flag::CREATE | flag::REPLACE, index, address, name);
    if address.is_ipv6() {
        message.attributes().u32(IFA_FLAGS, IFA_F_NODAD);
    } else if address.length() < 31 {
        push_address(message.attributes(), IFA_BROADCAST, address.last());
    }
    message
}

/// Takes an address from a link.
pub(crate) fn delete_address(index: u32, address: Prefix) -> Message {
    message(RTM_DELADDR, 0, index, address, format!("RTM_DELADDR({address} on link {index})"))
}

/// Asks for the addresses of all links.
pub(crate) fn list_addresses() -> Message {
    Message::new(RTM_GETADDR, 0, &[0; 8], "RTM_GETADDR(all)")
}

/// Reads an address and the index of its link; `None` when it is not well formed.
pub(crate) fn parse_address((_, payload): Dumped<'_>) -> Option<(u32, Prefix)> {
    let list = attributes(payload.get(8..)?)?;
    let local = find(&list, IFA_LOCAL).or_else(|| find(&list, IFA_ADDRESS))?;
    let address: IpAddr = from_octets(local)?;
    Some((u32_at(payload, 4)?, Prefix::new(address, *payload.get(1)?)?))
}

fn message(kind: u16, flags: u16, index: u32, address: Prefix, name: String) -> Message {
    let mut header = [0; 8];
    header[0] = family(address.address());
    header[1] = address.length();
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut message = Message::new(kind, flags, &header, name);
    push_address(message.attributes(), IFA_LOCAL, address.address());
    push_address(message.attributes(), IFA_ADDRESS, address.address());
    message
}
