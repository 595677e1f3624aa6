//! The table as nf_tables has it: chains of rules, sets and maps. Prints as nft(8) reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::ruleset::Protocol;
use crate::address::{MacAddress, Prefix};
use crate::interface::InterfaceName;
use crate::rtnetlink::OUR_GROUP;

/// The chain that belongs to the administrator.
pub(crate) const USER_CHAIN: &str = "user";

/// Which of our tables it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Place {
    /// `inet berth`: what becomes of IPv4 and IPv6 packets.
    #[default]
    Packets,
    /// `bridge berth`: what frames that cross bridges may say.
    Frames,
    /// `inet berth-user`: the administrator's own rules.
    User,
}

impl Place {
    /// The number of the family whose packets the table sees.
    pub(crate) fn family(self) -> u8 {
        match self {
            Self::Packets | Self::User => 1,
            Self::Frames => 7,
        }
    }

    /// Whether a table of this family and name is one of ours.
    pub(crate) fn of_ours(family: u8, name: &str) -> bool {
        [Self::Packets, Self::Frames, Self::User]
            .iter()
            .any(|place| (place.family(), place.table()) == (family, name))
    }

    /// The table's name.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Packets | Self::Frames => "berth",
            Self::User => "berth-user",
        }
    }
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Which table it is.
    pub(crate) place: Place,
    /// Sets and maps by name.
    pub(crate) sets: BTreeMap<String, Set>,
    /// Chains; one comes after those that it jumps to.
    pub(crate) chains: Vec<Chain>,
}

/// A set, or a map when its elements have data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) key: Vec<Type>,
    pub(crate) data: Option<DataType>,
    pub(crate) elements: BTreeMap<Vec<Field>, Option<Data>>,
}

/// The type of one field of a key or of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Interface,
    Hardware,
    Ipv4,
    Ipv6,
    Protocol,
    Port,
}

/// The type of a map's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataType {
    Verdict,
    Fields(Vec<Type>),
}

/// The value of one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    Interface(InterfaceName),
    Hardware(MacAddress),
    Address(IpAddr),
    Protocol(Protocol),
    Port(u16),
}

/// The data of a map's element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Accept,
    Jump(String),
    Fields(Vec<Field>),
}

/// A chain, with a hook when packets enter it from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) base: Option<Base>,
    pub(crate) rules: Vec<Rule>,
}

/// Where a chain hangs, and what becomes of packets that reach its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) kind: Kind,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
    pub(crate) drop: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Filter,
    Nat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting = 0,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// Matches, then what is done with the packet; the comment tells people why, and us that the rule is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) matches: Vec<Match>,
    pub(crate) action: Action,
    pub(crate) comment: &'static str,
}

/// The interface that a packet came in by, or goes out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

/// The end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Destination,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Match {
    Family {
        ipv6: bool,
    },
    Interface(Direction, InterfaceName),
    NotInterface(Direction, InterfaceName),
    InterfaceIn(Direction, &'static str),
    InterfacesIn(&'static str),
    Address(Side, Prefix),
    LocalDestination,
    Established,
    Translated,
    IcmpEcho {
        ipv6: bool,
    },
    Tcp,
    /// The packet's mark, in the bits of the mask.
    Mark {
        value: u32,
        mask: u32,
    },
    TargetIn {
        ipv6: bool,
        set: &'static str,
    },
    RefusedIn {
        ipv6: bool,
        set: &'static str,
    },
    /// The source address is one of these.
    SourceIn {
        ipv6: bool,
        set: &'static str,
    },
    LinkedIn(&'static str),
    EtherType(EtherType),
    Icmpv6(Icmpv6),
    OurPort,
    Claim {
        claim: Claim,
        known: bool,
        set: &'static str,
    },
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EtherType {
    Ipv4 = 0x0800,
    Arp = 0x0806,
    Ipv6 = 0x86dd,
}

/// A message by which routers and neighbours tell where addresses are (RFC 4861).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icmpv6 {
    RouterAdvertisement = 134,
    NeighbourAdvertisement = 136,
    Redirect = 137,
}

/// What a frame says of its sender, looked up together with the port that it came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Its hardware address.
    Hardware,
    /// Its hardware address and the source of an IPv4 packet.
    Ipv4,
    /// Its hardware address and the source of an IPv6 packet.
    Ipv6,
    /// Its hardware address and the IPv4 address that ARP says it has.
    Arp,
    /// Both addresses that ARP says it has.
    ArpHardware,
    /// Its hardware address and the IPv6 address that it tells its neighbours it has.
    Neighbour,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Accept,
    Drop,
    Jump(String),
    Masquerade,
    /// The same with a port from a range, which follows from the connection's own port where it is free. It wants a match of
    /// the transport before it.
    MasqueradeFrom(u16, u16),
    SourceNat(IpAddr),
    InterfaceMap(Direction, &'static str),
    DestinationNat {
        ipv6: bool,
        by_address: bool,
        map: &'static str,
    },
}

impl Table {
    /// An empty one that sees frames.
    pub(crate) fn of_frames() -> Self {
        Self { place: Place::Frames, ..Self::default() }
    }

    /// The chain with this name.
    pub(crate) fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {{", self.place)?;
        for (name, set) in &self.sets {
            writeln!(f, "\t{} {name} {{", set.word())?;
            writeln!(f, "\t\t{set}")?;
            let elements: Vec<String> = set.elements.iter().map(element_text).collect();
            if !elements.is_empty() {
                writeln!(f, "\t\telements = {{ {} }}", elements.join(", "))?;
            }
            writeln!(f, "\t}}")?;
        }
        for chain in &self.chains {
            writeln!(f, "\tchain {} {{", chain.name)?;
            if let Some(base) = chain.base {
                writeln!(f, "\t\t{base}")?;
            }
            for rule in &chain.rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl Set {
    /// `set` or `map`.
    pub(crate) fn word(&self) -> &'static str {
        if self.data.is_some() { "map" } else { "set" }
    }
}

/// `tcp . 80 : 172.17.0.2 . 80`
pub(crate) fn element_text((key, data): (&Vec<Field>, &Option<Data>)) -> String {
    match data {
        Some(data) => format!("{} : {data}", join(key)),
        None => join(key),
    }
}

/// Fields as they are written in one key: with dots between.
pub(crate) fn join<T: fmt::Display>(parts: &[T]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" . ")
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {}", join(&self.key))?;
        match &self.data {
            Some(DataType::Verdict) => write!(f, " : verdict"),
            Some(DataType::Fields(fields)) => write!(f, " : {}", join(fields)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interface => "ifname",
            Self::Hardware => "ether_addr",
            Self::Ipv4 => "ipv4_addr",
            Self::Ipv6 => "ipv6_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Hardware(address) => write!(f, "{address}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Protocol(protocol) => write!(f, "{protocol}"),
            Self::Port(port) => write!(f, "{port}"),
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Fields(fields) => f.write_str(&join(fields)),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Filter => "filter",
            Kind::Nat => "nat",
        };
        let hook = match self.hook {
            Hook::Prerouting => "prerouting",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        };
        let policy = if self.drop { "drop" } else { "accept" };
        write!(f, "type {kind} hook {hook} priority {}; policy {policy};", self.priority)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        write!(f, "{} comment \"{}\"", self.action, self.comment)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "iifname",
            Self::Out => "oifname",
        })
    }
}

fn end(side: Side, ipv6: bool) -> &'static str {
    match (side, ipv6) {
        (Side::Source, false) => "ip saddr",
        (Side::Source, true) => "ip6 saddr",
        (Side::Destination, false) => "ip daddr",
        (Side::Destination, true) => "ip6 daddr",
    }
}

/// A prefix as nft prints it: a single address without its length.
fn short(prefix: &Prefix) -> String {
    if *prefix == Prefix::host(prefix.address()) { prefix.address().to_string() } else { prefix.to_string() }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Family { ipv6 } => write!(f, "meta nfproto {}", if *ipv6 { "ipv6" } else { "ipv4" }),
            Self::Interface(direction, name) => write!(f, "{direction} \"{name}\""),
            Self::NotInterface(direction, name) => write!(f, "{direction} != \"{name}\""),
            Self::InterfaceIn(direction, set) => write!(f, "{direction} @{set}"),
            Self::InterfacesIn(set) => write!(f, "iifname . oifname @{set}"),
            Self::Address(side, prefix) => write!(f, "{} {}", end(*side, prefix.is_ipv6()), short(prefix)),
            Self::LocalDestination => f.write_str("fib daddr type local"),
            Self::Established => f.write_str("ct state established,related"),
            Self::Translated => f.write_str("ct status dnat"),
            Self::IcmpEcho { ipv6: false } => f.write_str("icmp type echo-request"),
            Self::IcmpEcho { ipv6: true } => f.write_str("icmpv6 type echo-request"),
            Self::Tcp => f.write_str("meta l4proto tcp"),
            Self::Mark { value, mask: u32::MAX } => write!(f, "meta mark {value:#010x}"),
            Self::Mark { value, mask } => write!(f, "meta mark & {mask:#010x} == {value:#010x}"),
            Self::TargetIn { ipv6, set } => {
                write!(f, "{} . meta l4proto . th dport @{set}", end(Side::Destination, *ipv6))
            }
            Self::RefusedIn { ipv6, set } => {
                write!(f, "meta nfproto {} ", if *ipv6 { "ipv6" } else { "ipv4" })?;
                write!(f, "iifname . meta l4proto . th dport @{set}")
            }
            Self::SourceIn { ipv6, set } => write!(f, "{} @{set}", end(Side::Source, *ipv6)),
            Self::LinkedIn(set) => {
                write!(f, "iifname . ip saddr . ip daddr . meta l4proto . th dport @{set}")
            }
            Self::EtherType(carried) => write!(f, "meta protocol {carried}"),
            Self::Icmpv6(message) => write!(f, "icmpv6 type {message}"),
            Self::OurPort => write!(f, "iifgroup {OUR_GROUP:#x}"),
            Self::Claim { claim, known, set } => {
                write!(f, "iifname . {claim} {}@{set}", if *known { "" } else { "!= " })
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packets => "inet berth",
            Self::Frames => "bridge berth",
            Self::User => "inet berth-user",
        })
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ip",
            Self::Arp => "arp",
            Self::Ipv6 => "ip6",
        })
    }
}

impl fmt::Display for Icmpv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RouterAdvertisement => "nd-router-advert",
            Self::NeighbourAdvertisement => "nd-neighbor-advert",
            Self::Redirect => "nd-redirect",
        })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hardware => "ether saddr",
            Self::Ipv4 => "ether saddr . ip saddr",
            Self::Ipv6 => "ether saddr . ip6 saddr",
            Self::Arp => "ether saddr . arp saddr ip",
            Self::ArpHardware => "arp saddr ether . arp saddr ip",
            Self::Neighbour => "ether saddr . icmpv6 taddr",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::MasqueradeFrom(first, last) => write!(f, "masquerade to :{first}-{last}"),
            Self::SourceNat(address @ IpAddr::V4(_)) => write!(f, "snat ip to {address}"),
            Self::SourceNat(address @ IpAddr::V6(_)) => write!(f, "snat ip6 to {address}"),
            Self::InterfaceMap(direction, map) => write!(f, "{direction} vmap @{map}"),
            Self::DestinationNat { ipv6, by_address, map } => {
                let family = if *ipv6 { "ip6" } else { "ip" };
                let address = if *by_address { format!("{family} daddr . ") } else { String::new() };
                write!(f, "dnat {family} to {address}meta l4proto . th dport map @{map}")
            }
        }
    }
}
