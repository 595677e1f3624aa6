//! Rules of others as the steps that nf_tables take: those whose outcome can be worked out, and the rest.

use super::encode::{DATA_VALUE, DATA_VERDICT};
use super::host_input::parse_verdict;
use crate::netlink::{attributes, be32_at, find, text};

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    Continue,
    /// Given to a program, or something newer than this.
    Unknown,
}

/// One step of a rule. Registers are numbered in units of four bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Loads a property of the packet.
    Meta { key: u32, register: usize },
    /// Loads a part of a header.
    Payload { header: u32, offset: u32, length: u32, register: usize },
    /// Loads a property of the connection.
    Conntrack { key: u32, register: usize },
    /// Loads what the routing table says of an address: `result` 3 is its type.
    Fib { result: u32, flags: u32, register: usize },
    /// Loads a constant.
    Load { register: usize, value: Vec<u8> },
    /// Masks a register.
    Bitwise { from: usize, to: usize, mask: Vec<u8>, xor: Vec<u8> },
    /// Goes on when a register compares so.
    Compare { register: usize, operation: u32, value: Vec<u8> },
    /// Goes on when a register is in a range.
    Range { register: usize, inverted: bool, first: Vec<u8>, last: Vec<u8> },
    /// Goes on when registers are in a set, and takes the set's verdict.
    Lookup { set: String, register: usize, inverted: bool, verdict: bool },
    /// A match of iptables.
    Match { name: String, info: Vec<u8> },
    /// A target of iptables.
    Target { name: String },
    /// Ends the rule.
    Verdict(Verdict),
    /// Refuses the packet, and says so.
    Reject,
    /// Counts, logs, limits, marks: nothing that decides.
    Harmless,
    /// Anything else: it may match or not, and its registers are not known.
    Unknown,
}

impl Expression {
    /// Reads a step; `None` when it is not well formed.
    pub(super) fn parse(element: &[u8]) -> Option<Self> {
        let element = attributes(element)?;
        let data = find(&element, 2).map_or(Some(Vec::new()), attributes)?;
        let number = |kind| find(&data, kind).and_then(|bytes| be32_at(bytes, 0));
        let place = |kind| number(kind).map(register);
        let value =
            |kind| -> Option<Vec<u8>> { Some(find(&attributes(find(&data, kind)?)?, DATA_VALUE)?.to_vec()) };
        let inverted = |kind| number(kind).is_some_and(|flags| flags & 1 != 0);
        Some(match text(find(&element, 1)?).as_str() {
            "meta" | "ct" | "payload" if place(1).is_none() => Self::Harmless,
            "meta" => Self::Meta { key: number(2)?, register: place(1)? },
            "ct" => Self::Conntrack { key: number(2)?, register: place(1)? },
            "payload" => Self::Payload {
                header: number(2)?,
                offset: number(3)?,
                length: number(4)?,
                register: place(1)?,
            },
            "fib" => {
                Self::Fib { result: number(2)?, flags: number(3).unwrap_or_default(), register: place(1)? }
            }
            "bitwise" => match (value(4), value(5)) {
                (Some(mask), Some(xor)) => Self::Bitwise { from: place(1)?, to: place(2)?, mask, xor },
                _ => Self::Unknown,
            },
            "cmp" => Self::Compare { register: place(1)?, operation: number(2)?, value: value(3)? },
            "range" => {
                Self::Range { register: place(1)?, inverted: inverted(2), first: value(3)?, last: value(4)? }
            }
            "lookup" => Self::Lookup {
                set: text(find(&data, 1)?),
                register: place(2)?,
                inverted: inverted(5),
                verdict: number(3) == Some(0),
            },
            "immediate" => immediate(&data, place(1)?)?,
            "match" => Self::Match { name: text(find(&data, 1)?), info: find(&data, 3)?.to_vec() },
            "target" => Self::Target { name: text(find(&data, 1)?) },
            "reject" => Self::Reject,
            "counter" | "log" | "limit" | "quota" | "notrack" | "objref" | "last" | "dynset" => {
                Self::Harmless
            }
            _ => Self::Unknown,
        })
    }
}

fn immediate(data: &[(u16, &[u8])], register: usize) -> Option<Expression> {
    let content = attributes(find(data, 2)?)?;
    if let Some(verdict) = find(&content, DATA_VERDICT) {
        return Some(Expression::Verdict(parse_verdict(verdict)?));
    }
    Some(Expression::Load { register, value: find(&content, DATA_VALUE)?.to_vec() })
}

/// The old registers 1 to 4 have sixteen bytes each; those from 8 on have four.
fn register(number: u32) -> usize {
    match number {
        1..=4 => (number as usize - 1) * 4,
        8.. => number as usize - 8,
        _ => 0,
    }
}
