//! The table that frames meet before a bridge takes them: nobody speaks for others. Pure.
//!
//! ```text
//!  bridge prerouting  frames ── port, hardware address and IPv4 source known? → accept
//!                       └ which port? → sources        everything a frame says of its sender must be true
//!                                     → announcements  only routers may not be played
//!                                     → accept         not guarded
//!                       └ a port of ours that is not known → drop
//! ```
//!
//! One lookup for an IPv4 packet, four for an IPv6 packet, however many containers there are. Ports that somebody
//! else put into a bridge are not looked at. A neighbour advertisement in fragments is dropped by the one who gets it
//! (RFC 6980).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::change::{Batch, Part, Step};
use super::table::{
    Action, Base, Chain, Claim, Data, DataType, Direction, EtherType, Field, Hook, Icmpv6, Kind, Match,
    Place, Rule, Set, Table, Type,
};
use crate::address::MacAddress;
use crate::interface::InterfaceName;

/// Where frames come by before anything else looks at them.
const BASE: Base = Base { kind: Kind::Filter, hook: Hook::Prerouting, priority: -300, drop: false };

const PORTS: &str = "ports";
const HARDWARE: &str = "hardware";
const SOURCE_IPV4: &str = "source4";
const SOURCE_IPV6: &str = "source6";
const SOURCES: &str = "sources";
const ANNOUNCEMENTS: &str = "announcements";

/// How closely the frames are looked at that come out of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Guard {
    /// Hardware and IP addresses must be those that it was given, in packets, ARP and neighbour advertisements, and
    /// it may not play the router.
    Sources,
    /// It may not play the router: no router advertisements, no redirects.
    Announcements,
    /// Anything goes.
    #[default]
    Off,
}

/// A container's port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePort {
    /// The container's hardware address.
    pub mac: MacAddress,
    /// The container's addresses; the link-local one that IPv6 makes of the hardware address comes by itself.
    pub addresses: Vec<IpAddr>,
    /// How closely its frames are looked at.
    pub guard: Guard,
}

/// The table; an empty one, which is none, when there is nothing to look at.
pub(crate) fn render_frames<'a>(
    ports: impl Iterator<Item = (&'a InterfaceName, &'a BridgePort)> + Clone,
) -> Table {
    let verdicts = ports.clone().map(|(name, port)| {
        let verdict = match port.guard {
            Guard::Sources => Data::Jump(SOURCES.to_owned()),
            Guard::Announcements => Data::Jump(ANNOUNCEMENTS.to_owned()),
            Guard::Off => Data::Accept,
        };
        (vec![Field::Interface(name.clone())], Some(verdict))
    });
    let verdicts =
        Set { key: vec![Type::Interface], data: Some(DataType::Verdict), elements: verdicts.collect() };
    let guarded = ports.filter(|(_, port)| port.guard == Guard::Sources);
    let seat = |name: &InterfaceName, port: &BridgePort| {
        vec![Field::Interface(name.clone()), Field::Hardware(port.mac)]
    };
    let hardware = guarded.clone().map(|(name, port)| (seat(name, port), None)).collect();
    let sources = |ipv6: bool| {
        let of_port = move |(name, port): (&'a InterfaceName, &'a BridgePort)| {
            let key = seat(name, port);
            let known = speaks_for(port).into_iter().filter(move |address| address.is_ipv6() == ipv6);
            known.map(move |address| ([key.clone(), vec![Field::Address(address)]].concat(), None))
        };
        guarded.clone().flat_map(of_port).collect()
    };
    let set = |last: Option<Type>, elements| {
        let key = [Some(Type::Interface), Some(Type::Hardware), last];
        Set { key: key.into_iter().flatten().collect(), data: None, elements }
    };
    let sets: BTreeMap<String, Set> = [
        (PORTS.to_owned(), verdicts),
        (HARDWARE.to_owned(), set(None, hardware)),
        (SOURCE_IPV4.to_owned(), set(Some(Type::Ipv4), sources(false))),
        (SOURCE_IPV6.to_owned(), set(Some(Type::Ipv6), sources(true))),
    ]
    .into();
    Table { place: Place::Frames, sets, chains: vec![announcements(), sources_chain(), frames()] }
}

/// The addresses that a container may use: those it was given, its link-local one, and those of somebody who has none
/// yet and asks whether one is free.
fn speaks_for(port: &BridgePort) -> Vec<IpAddr> {
    let [a, b, c, d, e, f] = port.mac.0;
    let group = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let link_local =
        Ipv6Addr::new(0xfe80, 0, 0, 0, group(a ^ 2, b), group(c, 0xff), group(0xfe, d), group(e, f));
    let none = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(link_local)];
    port.addresses.iter().copied().chain(none).collect()
}

fn drop_routers() -> [Rule; 2] {
    [Icmpv6::RouterAdvertisement, Icmpv6::Redirect]
        .map(|message| rule(vec![Match::Icmpv6(message)], Action::Drop, "containers are no routers"))
}

fn announcements() -> Chain {
    let mut rules = drop_routers().to_vec();
    rules.push(rule(vec![], Action::Accept, "trusted with its addresses"));
    Chain { name: ANNOUNCEMENTS.to_owned(), base: None, rules }
}

fn sources_chain() -> Chain {
    let claim = |claim, known, set| Match::Claim { claim, known, set };
    let mut rules = drop_routers().to_vec();
    let neighbour = Match::Icmpv6(Icmpv6::NeighbourAdvertisement);
    rules.extend([
        rule(
            vec![neighbour, claim(Claim::Neighbour, false, SOURCE_IPV6)],
            Action::Drop,
            "tells of others' addresses",
        ),
        rule(vec![claim(Claim::Ipv6, true, SOURCE_IPV6)], Action::Accept, "its own address"),
        rule(vec![claim(Claim::Arp, false, SOURCE_IPV4)], Action::Drop, "tells of others' addresses"),
        rule(vec![claim(Claim::ArpHardware, true, SOURCE_IPV4)], Action::Accept, "its own addresses"),
    ]);
    rules.extend(
        [EtherType::Ipv4, EtherType::Arp, EtherType::Ipv6]
            .map(|carried| rule(vec![Match::EtherType(carried)], Action::Drop, "not its own address")),
    );
    rules.extend([
        rule(vec![claim(Claim::Hardware, true, HARDWARE)], Action::Accept, "its own hardware address"),
        rule(vec![], Action::Drop, "not its own hardware address"),
    ]);
    Chain { name: SOURCES.to_owned(), base: None, rules }
}

fn frames() -> Chain {
    let known = Match::Claim { claim: Claim::Ipv4, known: true, set: SOURCE_IPV4 };
    let rules = vec![
        rule(vec![known], Action::Accept, "its own address"),
        rule(vec![], Action::InterfaceMap(Direction::In, PORTS), "containers"),
        rule(vec![Match::OurPort], Action::Drop, "a container that is not known"),
    ];
    Chain { name: "frames".to_owned(), base: Some(BASE), rules }
}

fn rule(matches: Vec<Match>, action: Action, comment: &'static str) -> Rule {
    Rule { matches, action, comment }
}

/// A batch that a kernel refuses whose nf_tables do not see frames, and that leaves no chain behind.
pub(crate) fn trial() -> Batch {
    let name = || "trial".to_owned();
    let steps = vec![
        Step::AddTable { held: false },
        Step::AddChain { name: name(), base: Some(BASE) },
        Step::DeleteChain { name: name() },
    ];
    Batch { parts: vec![Part { place: Place::Frames, steps }] }
}
