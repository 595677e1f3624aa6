//! Matches of iptables that ufw and people write, as the kernel keeps them (linux/netfilter/xt_*.h).

use super::encode::protocol_number;
use super::host_ask::{Holds, Knock, certainly};

/// Whether a packet of a new connection matches.
pub(super) fn matches_of_iptables(name: &str, info: &[u8], knock: &Knock) -> Holds {
    match name {
        // A limit lets some through, and that is what counts.
        "comment" | "limit" | "hashlimit" => Holds::Yes,
        "conntrack" => conntrack(info).map_or(Holds::Perhaps, certainly),
        "state" => number32(info, 0).map_or(Holds::Perhaps, |states| certainly(states & NEW != 0)),
        "addrtype" => address_type(info),
        "tcp" | "udp" => ports_of(name, info, knock),
        "multiport" => multiport(info, knock).map_or(Holds::Perhaps, certainly),
        // Of other transports, or with headers that an honest first packet has not.
        "icmp" | "icmp6" | "rt" => Holds::No,
        _ => Holds::Perhaps,
    }
}

/// The bit of a new connection in a mask of states.
const NEW: u32 = 8;

fn number16(info: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?))
}

fn number32(info: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?))
}

/// `xt_conntrack_mtinfo3`: eight addresses, two times, then what is asked for.
fn conntrack(info: &[u8]) -> Option<bool> {
    const ASKED: usize = 146;
    const STATE: u16 = 1;
    let (asked, inverted) = (number16(info, ASKED)?, number16(info, ASKED + 2)?);
    if asked != STATE {
        return None;
    }
    let states = u32::from(number16(info, ASKED + 4)?);
    Some((states & NEW != 0) != (inverted & STATE != 0))
}

/// `xt_addrtype_info_v1`: masks of types for source and destination, flags. The destination is of this host.
fn address_type(info: &[u8]) -> Holds {
    const LOCAL: u16 = 1 << 2;
    const INVERTED: u32 = 2;
    let read = || Some((number16(info, 0)?, number16(info, 2)?, number32(info, 4)?));
    match read() {
        Some((0, to, flags)) if to != 0 => certainly((to & LOCAL != 0) != (flags & INVERTED != 0)),
        _ => Holds::Perhaps,
    }
}

/// `xt_tcp` and `xt_udp`: ranges of source and destination ports, then what else is asked for.
fn ports_of(name: &str, info: &[u8], knock: &Knock) -> Holds {
    const INVERTED_DESTINATION: u8 = 2;
    if name != knock.protocol.to_string() {
        return Holds::No;
    }
    let read = || {
        let inverted = *info.get(if name == "tcp" { 11 } else { 8 })?;
        let asked_more = name == "tcp" && (*info.get(8)? != 0 || *info.get(9)? != 0);
        Some((
            number16(info, 0)?,
            number16(info, 2)?,
            number16(info, 4)?,
            number16(info, 6)?,
            inverted,
            asked_more,
        ))
    };
    let Some((from, to, first, last, inverted, asked_more)) = read() else { return Holds::Perhaps };
    if ((first..=last).contains(&knock.port)) == (inverted & INVERTED_DESTINATION != 0) {
        return Holds::No;
    }
    match (from, to, asked_more) {
        (0, u16::MAX, false) => Holds::Yes,
        _ => Holds::Perhaps,
    }
}

/// `xt_multiport_v1`: which ports are meant, how many there are, fifteen ports, which of them begin a range, whether
/// all of it is inverted.
fn multiport(info: &[u8], knock: &Knock) -> Option<bool> {
    const DESTINATION: u8 = 1;
    const MOST: usize = 15;
    let (meant, count) = (*info.first()?, usize::from(*info.get(1)?).min(MOST));
    if meant != DESTINATION || protocol_number(knock.protocol) == 0 {
        return None;
    }
    let mut found = false;
    let mut index = 0;
    while index < count {
        let first = number16(info, 2 + 2 * index)?;
        let begins_range = *info.get(2 + 2 * MOST + index)? != 0;
        index += usize::from(begins_range);
        let last = number16(info, 2 + 2 * index)?;
        found |= (first..=last).contains(&knock.port);
        index += 1;
    }
    Some(found != (*info.get(2 + 3 * MOST)? != 0))
}
