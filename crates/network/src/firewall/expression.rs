//! Matches and actions as nf_tables expressions: small steps that load, compare, look up and decide.

use super::encode::{LIST_ELEMENT, VERDICT_ACCEPT, VERDICT_JUMP, interface_bytes, push_value, push_verdict};
use super::table::{Action, Claim, Direction, EtherType, Match, Side};
use crate::address::{Prefix, octets};
use crate::netlink::Attributes;
use crate::rtnetlink::OUR_GROUP;

const VERDICT_DROP: i32 = 0;

/// The first of sixteen 32-bit registers; the verdict's register is 0.
const REGISTER: u32 = 8;
const VERDICT_REGISTER: u32 = 0;

/// Adds the expressions of a match.
pub(super) fn push_match(list: &mut Attributes, condition: &Match) {
    match condition {
        Match::Family { ipv6 } => family(list, *ipv6),
        Match::Interface(direction, name) => {
            meta(list, interface_key(*direction), 0);
            compare(list, true, &interface_bytes(name));
        }
        Match::NotInterface(direction, name) => {
            meta(list, interface_key(*direction), 0);
            compare(list, false, &interface_bytes(name));
        }
        Match::InterfaceIn(direction, set) => {
            meta(list, interface_key(*direction), 0);
            lookup(list, set, None);
        }
        Match::InterfacesIn(set) => {
            meta(list, interface_key(Direction::In), 0);
            meta(list, interface_key(Direction::Out), 4);
            lookup(list, set, None);
        }
        Match::Address(side, prefix) => address(list, *side, prefix),
        Match::LocalDestination => {
            const RESULT_TYPE: u32 = 3;
            const BY_DESTINATION: u32 = 2;
            const LOCAL: u32 = 2;
            expression(list, "fib", |data| {
                data.be32(1, REGISTER).be32(2, RESULT_TYPE).be32(3, BY_DESTINATION);
            });
            compare(list, true, &LOCAL.to_ne_bytes());
        }
        Match::Established => conntrack(list, 0, 2 | 4),
        Match::Translated => conntrack(list, 2, 0x20),
        Match::IcmpEcho { ipv6 } => {
            let (protocol, echo) = if *ipv6 { (58, 128) } else { (1, 8) };
            family(list, *ipv6);
            meta(list, META_PROTOCOL, 0);
            compare(list, true, &[protocol]);
            payload(list, Header::Transport, 0, 1, 0);
            compare(list, true, &[echo]);
        }
        Match::Tcp => {
            meta(list, META_PROTOCOL, 0);
            compare(list, true, &[6]);
        }
        Match::Mark { value, mask } => {
            meta(list, META_MARK, 0);
            if *mask != u32::MAX {
                self::mask(list, &mask.to_ne_bytes());
            }
            compare(list, true, &value.to_ne_bytes());
        }
        Match::TargetIn { ipv6, set } => {
            family(list, *ipv6);
            let next = load_address(list, Side::Destination, *ipv6);
            meta(list, META_PROTOCOL, next);
            payload(list, Header::Transport, 2, 2, next + 1);
            lookup(list, set, None);
        }
        Match::RefusedIn { ipv6, set } => {
            family(list, *ipv6);
            meta(list, interface_key(Direction::In), 0);
            meta(list, META_PROTOCOL, 4);
            payload(list, Header::Transport, 2, 2, 5);
            lookup(list, set, None);
        }
        Match::SourceIn { ipv6, set } => {
            family(list, *ipv6);
            load_address(list, Side::Source, *ipv6);
            lookup(list, set, None);
        }
        Match::LinkedIn(set) => {
            family(list, false);
            meta(list, interface_key(Direction::In), 0);
            payload(list, Header::Network, 12, 4, 4);
            payload(list, Header::Network, 16, 4, 5);
            meta(list, META_PROTOCOL, 6);
            payload(list, Header::Transport, 2, 2, 7);
            lookup(list, set, None);
        }
        Match::EtherType(carried) => ether_type(list, *carried),
        Match::Icmpv6(message) => {
            ether_type(list, EtherType::Ipv6);
            meta(list, META_PROTOCOL, 0);
            compare(list, true, &[58]);
            payload(list, Header::Transport, 0, 1, 0);
            compare(list, true, &[*message as u8]);
        }
        Match::OurPort => {
            meta(list, META_GROUP, 0);
            compare(list, true, &OUR_GROUP.to_ne_bytes());
        }
        Match::Claim { claim, known, set } => claimed(list, *claim, *known, set),
    }
}

fn ether_type(list: &mut Attributes, carried: EtherType) {
    meta(list, META_ETHER_TYPE, 0);
    compare(list, true, &(carried as u16).to_be_bytes());
}

/// Looks up the port of a frame with what the frame says of its sender: the port's name takes four registers, a
/// hardware address two.
fn claimed(list: &mut Attributes, claim: Claim, known: bool, set: &str) {
    let carried = match claim {
        Claim::Hardware | Claim::Neighbour => None,
        Claim::Ipv4 => Some(EtherType::Ipv4),
        Claim::Ipv6 => Some(EtherType::Ipv6),
        Claim::Arp | Claim::ArpHardware => Some(EtherType::Arp),
    };
    if let Some(carried) = carried {
        ether_type(list, carried);
    }
    meta(list, interface_key(Direction::In), 0);
    match claim {
        Claim::ArpHardware => payload(list, Header::Network, 8, 6, 4),
        _ => payload(list, Header::Link, 6, 6, 4),
    }
    match claim {
        Claim::Hardware => {}
        Claim::Ipv4 => payload(list, Header::Network, 12, 4, 6),
        Claim::Ipv6 => payload(list, Header::Network, 8, 16, 6),
        Claim::Arp | Claim::ArpHardware => payload(list, Header::Network, 14, 4, 6),
        Claim::Neighbour => payload(list, Header::Transport, 8, 16, 6),
    }
    expression(list, "lookup", |data| {
        const INVERTED: u32 = 1;
        data.string(1, set).be32(2, REGISTER);
        if !known {
            data.be32(5, INVERTED);
        }
    });
}

/// Adds the expressions of what is done with the packet.
pub(super) fn push_action(list: &mut Attributes, action: &Action) {
    match action {
        Action::Accept => verdict(list, VERDICT_ACCEPT, None),
        Action::Drop => verdict(list, VERDICT_DROP, None),
        Action::Jump(chain) => verdict(list, VERDICT_JUMP, Some(chain)),
        Action::Masquerade => expression(list, "masq", |_| {}),
        Action::MasqueradeFrom(first, last) => {
            const PORTS_GIVEN: u32 = 2;
            // A connection's own port decides which one it gets: nft(8) has no word for it.
            const PORT_FOR_PORT: u32 = 32;
            for (port, register) in [(first, REGISTER), (last, REGISTER + 1)] {
                expression(list, "immediate", |data| {
                    data.be32(1, register);
                    push_value(data, 2, &port.to_be_bytes());
                });
            }
            expression(list, "masq", |data| {
                data.be32(1, PORTS_GIVEN | PORT_FOR_PORT).be32(2, REGISTER).be32(3, REGISTER + 1);
            });
        }
        Action::SourceNat(to) => {
            expression(list, "immediate", |data| {
                data.be32(1, REGISTER);
                push_value(data, 2, &octets(*to));
            });
            translate(list, 0, to.is_ipv6(), None);
        }
        Action::InterfaceMap(direction, map) => {
            meta(list, interface_key(*direction), 0);
            lookup(list, map, Some(VERDICT_REGISTER));
        }
        Action::DestinationNat { ipv6, by_address, map } => {
            let mut next = 0;
            if *by_address {
                family(list, *ipv6);
                next = load_address(list, Side::Destination, *ipv6);
            }
            meta(list, META_PROTOCOL, next);
            payload(list, Header::Transport, 2, 2, next + 1);
            lookup(list, map, Some(REGISTER));
            translate(list, 1, *ipv6, Some(if *ipv6 { 4 } else { 1 }));
        }
    }
}

const META_ETHER_TYPE: u32 = 1;
const META_GROUP: u32 = 21;
const META_MARK: u32 = 3;
const META_PROTOCOL: u32 = 16;
const META_FAMILY: u32 = 15;

fn interface_key(direction: Direction) -> u32 {
    match direction {
        Direction::In => 6,
        Direction::Out => 7,
    }
}

/// The header that an offset counts from.
#[derive(Clone, Copy)]
enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

fn expression(list: &mut Attributes, name: &str, fill: impl FnOnce(&mut Attributes)) {
    list.nest(LIST_ELEMENT, |element| {
        element.string(1, name).nest(2, fill);
    });
}

/// Loads a property of the packet into the register with this number.
fn meta(list: &mut Attributes, key: u32, register: u32) {
    expression(list, "meta", |data| {
        data.be32(1, REGISTER + register).be32(2, key);
    });
}

/// Goes on when the first register has this value, or has not.
fn compare(list: &mut Attributes, equal: bool, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.be32(1, REGISTER).be32(2, u32::from(!equal));
        push_value(data, 3, value);
    });
}

fn payload(list: &mut Attributes, header: Header, offset: u32, length: u32, register: u32) {
    expression(list, "payload", |data| {
        data.be32(1, REGISTER + register).be32(2, header as u32).be32(3, offset).be32(4, length);
    });
}

fn lookup(list: &mut Attributes, set: &str, destination: Option<u32>) {
    expression(list, "lookup", |data| {
        data.string(1, set).be32(2, REGISTER);
        if let Some(register) = destination {
            data.be32(3, register);
        }
    });
}

/// Goes on when one of these bits of a property of the connection is set.
fn conntrack(list: &mut Attributes, key: u32, bits: u32) {
    expression(list, "ct", |data| {
        data.be32(1, REGISTER).be32(2, key);
    });
    mask(list, &bits.to_ne_bytes());
    compare(list, false, &[0; 4]);
}

fn mask(list: &mut Attributes, bits: &[u8]) {
    expression(list, "bitwise", |data| {
        data.be32(1, REGISTER).be32(2, REGISTER).be32(3, bits.len() as u32);
        push_value(data, 4, bits);
        push_value(data, 5, &vec![0; bits.len()]);
    });
}

fn family(list: &mut Attributes, ipv6: bool) {
    meta(list, META_FAMILY, 0);
    compare(list, true, &[if ipv6 { 10 } else { 2 }]);
}

/// Loads an address into the first registers, and returns the number of the next one.
fn load_address(list: &mut Attributes, side: Side, ipv6: bool) -> u32 {
    let (offset, length) = match (side, ipv6) {
        (Side::Source, false) => (12, 4),
        (Side::Destination, false) => (16, 4),
        (Side::Source, true) => (8, 16),
        (Side::Destination, true) => (24, 16),
    };
    payload(list, Header::Network, offset, length, 0);
    length / 4
}

fn address(list: &mut Attributes, side: Side, prefix: &Prefix) {
    family(list, prefix.is_ipv6());
    load_address(list, side, prefix.is_ipv6());
    if *prefix != Prefix::host(prefix.address()) {
        mask(list, &netmask(prefix));
    }
    compare(list, true, &octets(prefix.first()));
}

fn netmask(prefix: &Prefix) -> Vec<u8> {
    let bytes = if prefix.is_ipv6() { 16 } else { 4 };
    (0..bytes)
        .map(|index: u8| {
            let ones = prefix.length().saturating_sub(index * 8).min(8);
            (0xff00u16 >> ones) as u8
        })
        .collect()
}

fn verdict(list: &mut Attributes, code: i32, chain: Option<&str>) {
    expression(list, "immediate", |data| {
        data.be32(1, VERDICT_REGISTER).nest(2, |value| push_verdict(value, code, chain));
    });
}

/// Source (0) or destination (1) translation to the address in the first registers, and to the port in another.
fn translate(list: &mut Attributes, kind: u32, ipv6: bool, port_register: Option<u32>) {
    expression(list, "nat", |data| {
        data.be32(1, kind).be32(2, if ipv6 { 10 } else { 2 }).be32(3, REGISTER);
        if let Some(register) = port_register {
            data.be32(5, REGISTER + register);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks_have_as_many_ones_as_the_prefix_says() {
        let check = |text: &str, mask: &[u8]| assert_eq!(netmask(&text.parse().unwrap()), mask, "{text}");
        check("172.17.0.0/16", &[255, 255, 0, 0]);
        check("10.0.0.0/9", &[255, 128, 0, 0]);
        check("0.0.0.0/0", &[0, 0, 0, 0]);
        check("fd00::/63", &[255, 255, 255, 255, 255, 255, 255, 254, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
