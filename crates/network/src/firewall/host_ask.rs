//! Asks the host's filters what they would do with the first packet of a connection to a port. Pure.
//!
//! What a packet from somewhere has is not known: its source, its source port. A rule that depends on such a thing may
//! match or not, so the answer is a set of possible ends; only when all of them are the same is it certain.

use std::net::IpAddr;

use super::encode::protocol_number;
use super::host_input::{HostChain, HostElement, HostInput, HostSet, HostTable};
use super::host_match::matches_of_iptables;
use super::host_rule::{Expression, Verdict};
use super::ruleset::Protocol;
use crate::address::octets;
use crate::interface::InterfaceName;

/// The first packet of a connection from outside to a port of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knock {
    /// The transport.
    pub protocol: Protocol,
    /// Whether it comes by IPv6.
    pub ipv6: bool,
    /// The address of the host that it is for; `None` for any of them.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The host's interface that it comes in by.
    pub interface: InterfaceName,
}

/// What the host's own firewall says to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It lets it in.
    Accepted,
    /// It does not.
    Refused {
        /// Whose words these are: `ufw`, `firewalld`, or the chain's name.
        by: String,
    },
    /// That depends on where the packet comes from, or on what cannot be worked out.
    Depends {
        /// Whose words these are.
        by: String,
    },
}

/// The ends that a packet may come to in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Ends {
    accepted: bool,
    refused: bool,
    /// It comes out at the end of the chain.
    through: bool,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    Perhaps,
}

/// Jumps of jumps: the kernel allows sixteen.
const DEPTH: usize = 16;

impl HostInput {
    /// What the filters say to a packet: it must pass all of them.
    #[must_use]
    pub fn ask(&self, knock: &Knock) -> Answer {
        let mut depends = None;
        for ((family, name), table) in &self.tables {
            if (*family == 2 && knock.ipv6) || (*family == 10 && !knock.ipv6) {
                continue;
            }
            for (chain_name, chain) in &table.chains {
                let Some((_, drops)) = chain.input else { continue };
                let mut ends = Walk { table, knock }.chain(chain, 0);
                if std::mem::take(&mut ends.through) {
                    (ends.refused, ends.accepted) = (ends.refused || drops, ends.accepted || !drops);
                }
                let by = || whose(*family, name, table, chain_name);
                match ends {
                    Ends { accepted: false, .. } => return Answer::Refused { by: by() },
                    Ends { refused: true, .. } => depends = Some(by()),
                    _ => {}
                }
            }
        }
        depends.map_or(Answer::Accepted, |by| Answer::Depends { by })
    }
}

fn whose(family: u8, table_name: &str, table: &HostTable, chain: &str) -> String {
    if table_name == "firewalld" {
        return table_name.to_owned();
    }
    if table.chains.keys().any(|name| name.starts_with("ufw")) {
        return "ufw".to_owned();
    }
    let family = match family {
        2 => "ip",
        10 => "ip6",
        _ => "inet",
    };
    format!("the chain {family} {table_name} {chain}")
}

/// A packet on its way through the chains of one table.
struct Walk<'a> {
    table: &'a HostTable,
    knock: &'a Knock,
}

/// Bytes of which some are not known.
type Bytes = Vec<Option<u8>>;
/// Twenty of four bytes each.
type Registers = [Option<u8>; 80];

impl Walk<'_> {
    fn chain(&self, chain: &HostChain, depth: usize) -> Ends {
        let mut ends = Ends::default();
        for rule in &chain.rules {
            let (holds, verdicts) = self.rule(rule);
            if holds == Holds::No {
                continue;
            }
            let mut goes_on = holds == Holds::Perhaps;
            for verdict in verdicts {
                match verdict {
                    Verdict::Accept => ends.accepted = true,
                    Verdict::Drop => ends.refused = true,
                    Verdict::Unknown => (ends.accepted, ends.refused) = (true, true),
                    Verdict::Return => ends.through = true,
                    Verdict::Continue => goes_on = true,
                    Verdict::Jump(name) | Verdict::Goto(name) => {
                        let below = match self.table.chains.get(&name) {
                            Some(chain) if depth < DEPTH => self.chain(chain, depth + 1),
                            _ => Ends { accepted: true, refused: true, through: true },
                        };
                        ends.accepted |= below.accepted;
                        ends.refused |= below.refused;
                        match verdict_returns(rule) {
                            true => goes_on |= below.through,
                            false => ends.through |= below.through,
                        }
                    }
                }
            }
            if !goes_on {
                return ends;
            }
        }
        Ends { through: true, ..ends }
    }

    /// Whether a rule matches, and what it then does; several when that is not certain.
    fn rule(&self, rule: &[Expression]) -> (Holds, Vec<Verdict>) {
        let mut registers: Registers = [None; 80];
        let mut holds = Holds::Yes;
        for expression in rule {
            let (condition, verdicts) = self.step(expression, &mut registers);
            match condition {
                Holds::No => return (Holds::No, Vec::new()),
                Holds::Perhaps => holds = Holds::Perhaps,
                Holds::Yes => {}
            }
            if !verdicts.is_empty() {
                return (holds, verdicts);
            }
        }
        (holds, vec![Verdict::Continue])
    }

    fn step(&self, expression: &Expression, registers: &mut Registers) -> (Holds, Vec<Verdict>) {
        let condition = match expression {
            Expression::Verdict(verdict) => return (Holds::Yes, vec![verdict.clone()]),
            Expression::Reject => return (Holds::Yes, vec![Verdict::Drop]),
            Expression::Target { name } => {
                return match name.as_str() {
                    "REJECT" => (Holds::Yes, vec![Verdict::Drop]),
                    "LOG" | "NFLOG" | "MARK" | "CONNMARK" => (Holds::Yes, Vec::new()),
                    _ => (Holds::Yes, vec![Verdict::Unknown, Verdict::Continue]),
                };
            }
            Expression::Lookup { set, register, inverted, verdict } => {
                return self.look_up(
                    set,
                    read_key(registers, *register, self.key_bytes(set)),
                    *inverted,
                    *verdict,
                );
            }
            Expression::Match { name, info } => matches_of_iptables(name, info, self.knock),
            Expression::Compare { register, operation, value } => {
                compare(&read(registers, *register, value.len()), *operation, value)
            }
            Expression::Range { register, inverted, first, last } => {
                match read_key(registers, *register, first.len()) {
                    Some(found) => certainly((first <= &found && &found <= last) != *inverted),
                    None => Holds::Perhaps,
                }
            }
            Expression::Harmless => Holds::Yes,
            Expression::Unknown => {
                *registers = [None; 80];
                Holds::Perhaps
            }
            load => {
                self.load(load, registers);
                Holds::Yes
            }
        };
        (condition, Vec::new())
    }

    fn key_bytes(&self, set: &str) -> usize {
        self.table.sets.get(set).map_or(0, |set| set.key_bytes)
    }

    fn look_up(
        &self,
        set: &str,
        key: Option<Vec<u8>>,
        inverted: bool,
        takes_verdict: bool,
    ) -> (Holds, Vec<Verdict>) {
        let Some(set) = self.table.sets.get(set) else { return (Holds::Perhaps, Vec::new()) };
        let vague = set.elements.iter().any(|element| element.is_range);
        let found = match key.filter(|_| !vague) {
            Some(key) => set.find(&key),
            None => {
                let all = set.elements.iter().filter_map(|element| element.verdict.clone());
                return (Holds::Perhaps, all.collect());
            }
        };
        match found {
            Some(element) if takes_verdict => (Holds::Yes, element.verdict.iter().cloned().collect()),
            found => (certainly(found.is_some() != inverted), Vec::new()),
        }
    }

    fn load(&self, expression: &Expression, registers: &mut Registers) {
        let all = |bytes: &[u8]| Some(bytes.iter().copied().map(Some).collect::<Bytes>());
        let (register, length, value) = match expression {
            Expression::Meta { key, register } => {
                (*register, 16, self.meta(*key).and_then(|bytes| all(&bytes)))
            }
            Expression::Payload { header, offset, length, register } => {
                (*register, *length as usize, self.payload(*header, *offset, *length))
            }
            // Neither of a known connection nor translated: state 8 is new.
            Expression::Conntrack { key: 0, register } => (*register, 4, all(&8u32.to_ne_bytes())),
            Expression::Conntrack { key: 2, register } => (*register, 4, all(&[0; 4])),
            Expression::Conntrack { register, .. } => (*register, 16, None),
            // The destination is an address of this host.
            Expression::Fib { result: 3, flags, register } if flags & 2 != 0 => {
                (*register, 4, all(&2u32.to_ne_bytes()))
            }
            Expression::Fib { register, .. } => (*register, 16, None),
            Expression::Load { register, value } => (*register, value.len(), all(value)),
            Expression::Bitwise { from, to, mask, xor } => {
                let bits = read(registers, *from, mask.len()).into_iter().zip(mask).zip(xor);
                // What is masked away need not be known.
                let masked = bits.map(|((value, mask), xor)| match mask {
                    0 => Some(*xor),
                    mask => value.map(|value| value & mask ^ xor),
                });
                (*to, mask.len(), Some(masked.collect()))
            }
            _ => return,
        };
        let value = value.unwrap_or_else(|| vec![None; length]);
        let padding = value.len().next_multiple_of(4) - value.len();
        let places = registers.iter_mut().skip(register * 4);
        places.zip(value.into_iter().chain(vec![Some(0); padding])).for_each(|(place, byte)| *place = byte);
    }

    fn meta(&self, key: u32) -> Option<Vec<u8>> {
        const PROTOCOL: u32 = 1;
        const MARK: u32 = 3;
        const INTERFACE_NAME: u32 = 6;
        const FAMILY: u32 = 15;
        const TRANSPORT: u32 = 16;
        let ipv6 = self.knock.ipv6;
        Some(match key {
            PROTOCOL if ipv6 => vec![0x86, 0xdd],
            PROTOCOL => vec![0x08, 0x00],
            MARK => vec![0; 4],
            INTERFACE_NAME => super::encode::interface_bytes(&self.knock.interface).to_vec(),
            FAMILY => vec![if ipv6 { 10 } else { 2 }],
            TRANSPORT => vec![protocol_number(self.knock.protocol)],
            _ => return None,
        })
    }

    fn payload(&self, header: u32, offset: u32, length: u32) -> Option<Bytes> {
        let known = |bytes: Vec<u8>| bytes.into_iter().map(Some).collect::<Bytes>();
        let port = known(self.knock.port.to_be_bytes().to_vec());
        match (header, offset, length, self.knock.ipv6) {
            (2, 2, 2, _) => Some(port),
            // Both ports at once: the sender's is not known.
            (2, 0, 4, _) => Some([vec![None, None], port].concat()),
            (1, 16, 4, false) | (1, 24, 16, true) => self.knock.address.map(|address| known(octets(address))),
            (1, 9, 1, false) | (1, 6, 1, true) => Some(known(vec![protocol_number(self.knock.protocol)])),
            _ => None,
        }
    }
}

/// Whether a rule that goes to another chain comes back: a jump does.
fn verdict_returns(rule: &[Expression]) -> bool {
    !matches!(rule.last(), Some(Expression::Verdict(Verdict::Goto(_))))
}

fn read(registers: &Registers, register: usize, length: usize) -> Bytes {
    let end = registers.iter().copied().chain(std::iter::repeat(None));
    end.skip(register * 4).take(length).collect()
}

/// All bytes of a key; `None` when one is not known.
fn read_key(registers: &Registers, register: usize, length: usize) -> Option<Vec<u8>> {
    let known: Option<Vec<u8>> = read(registers, register, length).into_iter().collect();
    known.filter(|_| length > 0)
}

fn compare(found: &[Option<u8>], operation: u32, value: &[u8]) -> Holds {
    let known: Option<Vec<u8>> = found.iter().copied().collect();
    let differs = || found.iter().zip(value).any(|(found, value)| found.is_some_and(|found| found != *value));
    match (known, operation) {
        (Some(found), operation) => certainly(compares(&found, operation, value)),
        (None, 0 | 1) if differs() => certainly(operation == 1),
        (None, _) => Holds::Perhaps,
    }
}

pub(super) fn certainly(holds: bool) -> Holds {
    if holds { Holds::Yes } else { Holds::No }
}

fn compares(found: &[u8], operation: u32, value: &[u8]) -> bool {
    match operation {
        0 => found == value,
        1 => found != value,
        2 => found < value,
        3 => found <= value,
        4 => found > value,
        _ => found >= value,
    }
}

impl HostSet {
    /// The element that a key is, or the one of the interval that it lies in.
    fn find(&self, key: &[u8]) -> Option<&HostElement> {
        if !self.elements.iter().any(|element| element.ends_interval) {
            return self.elements.iter().find(|element| element.key == key);
        }
        let below = self.elements.iter().filter(|element| element.key.as_slice() <= key);
        // Where one interval ends and the next begins at once, the beginning counts.
        let nearest = below.max_by_key(|element| (element.key.clone(), !element.ends_interval));
        nearest.filter(|element| !element.ends_interval)
    }
}
