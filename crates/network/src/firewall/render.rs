//! From what the firewall shall do to the table that does it. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::passage::Passage;
use super::ruleset::{GatewayMode, NetworkRules, Protocol, PublishedPort, Ruleset};
use super::table::{
    Action, Base, Chain, Data, DataType, Direction, Field, Hook, Kind, Match, Place, Rule, Set, Side, Table,
    Type, USER_CHAIN,
};
use crate::address::Prefix;
use crate::interface::InterfaceName;

const BRIDGES: &str = "bridges";
const COMMUNICATING: &str = "communicating";
const LINKED: &str = "linked";
const CLOSED: &str = "closed";
const OPEN: &str = "open";
const HAIRPIN: &str = "hairpin";
const OUTWARD: &str = "outward";
const PUBLISHED: &str = "published";

/// Names of the sets and maps that exist once for each family.
struct Names {
    ipv6: bool,
    on_address: &'static str,
    on_any: &'static str,
    targets: &'static str,
    routed: &'static str,
    refused: &'static str,
    gateways: &'static str,
}

const FAMILIES: [Names; 2] = [
    Names {
        ipv6: false,
        on_address: "published4_on_address",
        on_any: "published4",
        targets: "targets4",
        routed: "routed4",
        refused: "refused4",
        gateways: "gateways4",
    },
    Names {
        ipv6: true,
        on_address: "published6_on_address",
        on_any: "published6",
        targets: "targets6",
        routed: "routed6",
        refused: "refused6",
        gateways: "gateways6",
    },
];

/// Connections from localhost get ports that programs of the host do not get by themselves, and a port the same one each
/// time. A container's socket in TIME_WAIT of another connection would refuse their first packet, which comes again a
/// second later: the timestamps of TCP count anew for each pair of addresses and ports.
const LOCALHOST_TCP: Action = Action::MasqueradeFrom(1024, 32767);

const LOOPBACK_IPV4: Prefix = Prefix::v4(127, 0, 0, 0, 8);

/// The table that does what the ruleset says.
pub(crate) fn render(ruleset: &Ruleset) -> Table {
    let mut sets = network_sets(ruleset);
    for names in &FAMILIES {
        sets.extend(port_sets(ruleset, names));
    }
    let mut chains = vec![published()];
    chains.extend(network_chains(ruleset));
    chains.extend([guard(), prerouting(), output(ruleset.ipv6_localhost), forward(ruleset), postrouting()]);
    Table { place: Place::Packets, sets, chains }
}

/// The table inside a container whose name server is asked at port 53 of an address of its loopback interface, and
/// listens on other ports.
pub(crate) fn resolver_table(address: Ipv4Addr, udp_port: u16, tcp_port: u16) -> Table {
    const RESOLVER: &str = "resolver";
    let address = IpAddr::V4(address);
    let element = |(protocol, port)| {
        let target = Data::Fields(vec![Field::Address(address), Field::Port(port)]);
        (vec![Field::Protocol(protocol), Field::Port(53)], Some(target))
    };
    let map = Set {
        key: vec![Type::Protocol, Type::Port],
        data: Some(DataType::Fields(vec![Type::Ipv4, Type::Port])),
        elements: [(Protocol::Udp, udp_port), (Protocol::Tcp, tcp_port)].map(element).into(),
    };
    let asked = Match::Address(Side::Destination, Prefix::host(address));
    let action = Action::DestinationNat { ipv6: false, by_address: false, map: RESOLVER };
    let rules = vec![rule(vec![asked], action, "the engine's name server")];
    let chain = base("output", Kind::Nat, Hook::Output, -100, false, rules);
    Table { place: Place::Packets, sets: [(RESOLVER.to_owned(), map)].into(), chains: vec![chain] }
}

fn network_sets(ruleset: &Ruleset) -> BTreeMap<String, Set> {
    let networks = ruleset.networks();
    let mut sets: BTreeMap<String, Set> = [bridges(ruleset)].into();
    let interface = |network: &NetworkRules| Field::Interface(network.bridge.clone());
    let some = |choose: fn(&NetworkRules) -> bool| networks.values().filter(move |network| choose(network));
    let keys =
        some(|network| network.communication).map(|network| vec![interface(network), interface(network)]);
    sets.insert(COMMUNICATING.to_owned(), set(vec![Type::Interface, Type::Interface], keys));
    let keys = ruleset.passages().iter().map(passage_key);
    let key = vec![Type::Interface, Type::Ipv4, Type::Ipv4, Type::Protocol, Type::Port];
    sets.insert(LINKED.to_owned(), set(key, keys));
    let keys = some(NetworkRules::is_closed).map(|network| vec![interface(network)]);
    sets.insert(CLOSED.to_owned(), set(vec![Type::Interface], keys));
    for (map, rules) in [
        (OPEN, open_rules as fn(&NetworkRules) -> Vec<Rule>),
        (HAIRPIN, hairpin_rules),
        (OUTWARD, outward_rules),
    ] {
        let jumps = networks.iter().filter(|(_, network)| !rules(network).is_empty());
        let elements = jumps
            .map(|(id, network)| (vec![interface(network)], Some(Data::Jump(chain_name(map, id)))))
            .collect();
        let map_value = Set { key: vec![Type::Interface], data: Some(DataType::Verdict), elements };
        sets.insert(map.to_owned(), map_value);
    }
    sets
}

fn passage_key(passage: &Passage) -> Vec<Field> {
    let ends = [passage.from, passage.to].map(|end| Field::Address(IpAddr::V4(end)));
    let port = [Field::Protocol(passage.protocol), Field::Port(passage.port)];
    [vec![Field::Interface(passage.bridge.clone())], ends.to_vec(), port.to_vec()].concat()
}

fn set(key: Vec<Type>, keys: impl Iterator<Item = Vec<Field>>) -> Set {
    Set { key, data: None, elements: keys.map(|key| (key, None)).collect() }
}

/// The maps from host ports to containers, and the sets of what they lead to.
fn port_sets(ruleset: &Ruleset, names: &Names) -> Vec<(String, Set)> {
    let address = if names.ipv6 { Type::Ipv6 } else { Type::Ipv4 };
    let target = vec![address, Type::Port];
    let on_address = vec![address, Type::Protocol, Type::Port];
    let map = |key, elements| Set { key, data: Some(DataType::Fields(target.clone())), elements };
    let of_family = || ruleset.published().filter(|port| port.container_address.is_ipv6() == names.ipv6);
    let translated = || of_family().filter(|port| !is_routed(ruleset, port));
    let by_address = translated()
        .filter(|port| !port.host_address.is_unspecified())
        .map(|port| {
            let host = [
                Field::Address(port.host_address),
                Field::Protocol(port.protocol),
                Field::Port(port.host_port),
            ];
            (host.to_vec(), Some(container(port)))
        })
        .collect();
    let by_port = translated()
        .filter(|port| port.host_address.is_unspecified())
        .map(|port| {
            (vec![Field::Protocol(port.protocol), Field::Port(port.host_port)], Some(container(port)))
        })
        .collect();
    let targets = translated().map(target_key);
    let routed = of_family().filter(|port| is_routed(ruleset, port)).map(target_key);
    let refused = ruleset.refused().iter().filter(|refused| refused.ipv6 == names.ipv6).map(|refused| {
        let port = [Field::Protocol(refused.protocol), Field::Port(refused.port)];
        [vec![Field::Interface(refused.interface.clone())], port.to_vec()].concat()
    });
    let gateways = ruleset
        .networks()
        .values()
        .filter(|network| !network.is_closed())
        .flat_map(|network| &network.gateways)
        .filter(|gateway| gateway.is_ipv6() == names.ipv6)
        .map(|gateway| vec![Field::Address(*gateway)]);
    vec![
        (names.gateways.to_owned(), set(vec![address], gateways)),
        (names.on_address.to_owned(), map(on_address.clone(), by_address)),
        (names.on_any.to_owned(), map(vec![Type::Protocol, Type::Port], by_port)),
        (names.targets.to_owned(), set(on_address.clone(), targets)),
        (names.routed.to_owned(), set(on_address, routed)),
        (names.refused.to_owned(), set(vec![Type::Interface, Type::Protocol, Type::Port], refused)),
    ]
}

fn is_routed(ruleset: &Ruleset, port: &PublishedPort) -> bool {
    let ipv6 = port.container_address.is_ipv6();
    let network = ruleset.network_of(port.container_address);
    network.is_some_and(|network| network.gateway_mode(ipv6) == GatewayMode::Routed)
}

fn container(port: &PublishedPort) -> Data {
    Data::Fields(vec![Field::Address(port.container_address), Field::Port(port.container_port)])
}

fn target_key(port: &PublishedPort) -> Vec<Field> {
    let protocol = Field::Protocol(port.protocol);
    vec![Field::Address(port.container_address), protocol, Field::Port(port.container_port)]
}

/// `<purpose>-<first 12 characters of the network's id>`, of characters that nft reads in a name.
fn chain_name(purpose: &str, network_id: &str) -> String {
    let id: String = network_id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    format!("{purpose}-{id}")
}

/// The chains of networks that have more to say than the sets do.
fn network_chains(ruleset: &Ruleset) -> Vec<Chain> {
    let chains = ruleset.networks().iter().flat_map(|(id, network)| {
        [
            plain(chain_name(OPEN, id), open_rules(network)),
            plain(chain_name(HAIRPIN, id), hairpin_rules(network)),
            plain(chain_name(OUTWARD, id), outward_rules(network)),
        ]
    });
    chains.filter(|chain| !chain.rules.is_empty()).collect()
}

/// What may reach the containers of a network besides replies, neighbours and translated ports.
fn open_rules(network: &NetworkRules) -> Vec<Rule> {
    if network.is_closed() {
        return Vec::new();
    }
    let mut rules: Vec<Rule> = network
        .trusted_interfaces
        .iter()
        .map(|name| {
            let from = Match::Interface(Direction::In, name.clone());
            rule(vec![from], Action::Accept, "trusted interface")
        })
        .collect();
    for names in FAMILIES.iter().filter(|names| network.has_family(names.ipv6)) {
        let ipv6 = names.ipv6;
        match network.gateway_mode(ipv6) {
            GatewayMode::NatUnprotected => {
                rules.push(rule(vec![Match::Family { ipv6 }], Action::Accept, "unprotected"));
            }
            GatewayMode::Routed => {
                let target = Match::TargetIn { ipv6, set: names.routed };
                rules.push(rule(vec![target], Action::Accept, "published, routed"));
                rules.push(rule(vec![Match::IcmpEcho { ipv6 }], Action::Accept, "ping, routed"));
            }
            GatewayMode::Nat | GatewayMode::Isolated => {}
        }
    }
    rules
}

/// A container that reaches a container of its own network by a published port gets the bridge's address, or the
/// answer would come back directly, from an address that was not asked.
fn hairpin_rules(network: &NetworkRules) -> Vec<Rule> {
    let subnets = translated_subnets(network);
    subnets
        .map(|subnet| {
            let matches = vec![Match::Address(Side::Source, subnet.network()), Match::Translated];
            rule(matches, Action::Masquerade, "published port reached from its own network")
        })
        .collect()
}

/// Packets that leave the network get the host's address.
fn outward_rules(network: &NetworkRules) -> Vec<Rule> {
    if !network.masquerade {
        return Vec::new();
    }
    let outside = Match::NotInterface(Direction::Out, network.bridge.clone());
    translated_subnets(network)
        .map(|subnet| {
            let source = if subnet.is_ipv6() {
                network.host_ipv6.map(IpAddr::V6)
            } else {
                network.host_ipv4.map(IpAddr::V4)
            };
            let action = source.map_or(Action::Masquerade, Action::SourceNat);
            rule(vec![Match::Address(Side::Source, subnet.network()), outside.clone()], action, "way out")
        })
        .collect()
}

fn translated_subnets(network: &NetworkRules) -> impl Iterator<Item = &Prefix> {
    network.subnets.iter().filter(|subnet| {
        let mode = network.gateway_mode(subnet.is_ipv6());
        !network.is_closed() && matches!(mode, GatewayMode::Nat | GatewayMode::NatUnprotected)
    })
}

fn bridges(ruleset: &Ruleset) -> (String, Set) {
    let keys = ruleset.networks().values().map(|network| vec![Field::Interface(network.bridge.clone())]);
    (BRIDGES.to_owned(), set(vec![Type::Interface], keys))
}

/// The table of the administrator's own rules, asked before all others about what is forwarded: nobody can add rules to a
/// table that is held. It has the names of our bridges for them.
pub(crate) fn render_user(ruleset: &Ruleset) -> Table {
    let jump = rule(vec![], Action::Jump(USER_CHAIN.to_owned()), "the administrator's own rules");
    let chains = vec![
        plain(USER_CHAIN.to_owned(), Vec::new()),
        base("forward", Kind::Filter, Hook::Forward, -10, false, vec![jump]),
    ];
    Table { place: Place::User, sets: [bridges(ruleset)].into(), chains }
}

/// Where a published port leads: the precise address is asked before the port alone.
fn published() -> Chain {
    let rules = FAMILIES.iter().flat_map(|names| {
        let ipv6 = names.ipv6;
        let nat = |by_address, map| Action::DestinationNat { ipv6, by_address, map };
        [
            rule(vec![], nat(true, names.on_address), "published on this address"),
            rule(vec![], nat(false, names.on_any), "published on every address"),
        ]
    });
    plain(PUBLISHED.to_owned(), rules.collect())
}

/// Ports published on 127.0.0.1 make bridges accept packets for 127.0.0.0/8; none may come from a wire.
fn guard() -> Chain {
    let lo = InterfaceName::loopback();
    // Few packets are for it: that is asked first.
    let matches =
        vec![Match::Address(Side::Destination, LOOPBACK_IPV4), Match::NotInterface(Direction::In, lo)];
    let rules = vec![rule(matches, Action::Drop, "localhost is not for others")];
    base("guard", Kind::Filter, Hook::Prerouting, -300, false, rules)
}

fn prerouting() -> Chain {
    let jump = Action::Jump(PUBLISHED.to_owned());
    // What is not translated meets the host's firewall, which refuses it in its own way.
    let mut rules = FAMILIES.iter().map(refused).collect::<Vec<_>>();
    rules.push(rule(vec![Match::LocalDestination], jump, "from outside and from containers"));
    base("prerouting", Kind::Nat, Hook::Prerouting, -100, false, rules)
}

fn refused(names: &Names) -> Rule {
    let refused = Match::RefusedIn { ipv6: names.ipv6, set: names.refused };
    rule(vec![refused], Action::Accept, "the host's firewall would refuse it")
}

fn output(ipv6_localhost: bool) -> Chain {
    let mut rules = Vec::new();
    if !ipv6_localhost {
        let localhost = Prefix::host(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        let matches = vec![Match::Address(Side::Destination, localhost)];
        rules.push(rule(matches, Action::Accept, "answers could not come back"));
    }
    let jump = Action::Jump(PUBLISHED.to_owned());
    rules.push(rule(vec![Match::LocalDestination], jump, "from the host itself"));
    base("output", Kind::Nat, Hook::Output, -100, false, rules)
}

fn forward(ruleset: &Ruleset) -> Chain {
    let into = Match::InterfaceIn(Direction::Out, BRIDGES);
    let from = Match::InterfaceIn(Direction::In, BRIDGES);
    let mut rules = vec![rule(vec![Match::Established], Action::Accept, "replies")];
    if let Some((value, mask)) = ruleset.accepted_mark {
        rules.push(rule(vec![Match::Mark { value, mask }], Action::Accept, "marked by the administrator"));
    }
    rules.extend([
        rule(vec![Match::InterfacesIn(COMMUNICATING)], Action::Accept, "within one network"),
        rule(vec![Match::LinkedIn(LINKED)], Action::Accept, "linked containers"),
        rule(vec![Match::InterfaceIn(Direction::In, CLOSED)], Action::Drop, "out of a closed network"),
        rule(vec![Match::InterfaceIn(Direction::Out, CLOSED)], Action::Drop, "into a closed network"),
    ]);
    for names in &FAMILIES {
        let target = Match::TargetIn { ipv6: names.ipv6, set: names.targets };
        rules.push(rule(vec![into.clone(), Match::Translated, target], Action::Accept, "published port"));
    }
    rules.push(rule(vec![], Action::InterfaceMap(Direction::Out, OPEN), "networks with further ways in"));
    rules.push(rule(vec![into], Action::Drop, "not published"));
    rules.push(rule(vec![from], Action::Accept, "way out"));
    base("forward", Kind::Filter, Hook::Forward, 0, ruleset.drop_foreign_forwarding, rules)
}

fn postrouting() -> Chain {
    let into = Match::InterfaceIn(Direction::Out, BRIDGES);
    let localhost = Prefix::host(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
    let from = |prefix| vec![Match::Address(Side::Source, prefix), into.clone()];
    let mut rules = Vec::new();
    for prefix in [LOOPBACK_IPV4, localhost] {
        let matches = [from(prefix), vec![Match::Tcp]].concat();
        rules.push(rule(matches, LOCALHOST_TCP, "localhost to a published port, port for port"));
        rules.push(rule(from(prefix), Action::Masquerade, "localhost to a published port"));
    }
    for names in &FAMILIES {
        // A container that is in both networks would answer by the other one, past the translation.
        let gateway = Match::SourceIn { ipv6: names.ipv6, set: names.gateways };
        let matches = vec![into.clone(), Match::Translated, gateway];
        rules.push(rule(matches, Action::Masquerade, "the host, by a network's address"));
    }
    rules.extend([
        rule(vec![], Action::InterfaceMap(Direction::Out, HAIRPIN), "back into the same network"),
        rule(vec![], Action::InterfaceMap(Direction::In, OUTWARD), "out of a network"),
    ]);
    base("postrouting", Kind::Nat, Hook::Postrouting, 100, false, rules)
}

fn rule(matches: Vec<Match>, action: Action, comment: &'static str) -> Rule {
    Rule { matches, action, comment }
}

fn plain(name: String, rules: Vec<Rule>) -> Chain {
    Chain { name, base: None, rules }
}

fn base(name: &str, kind: Kind, hook: Hook, priority: i32, drop: bool, rules: Vec<Rule>) -> Chain {
    Chain { name: name.to_owned(), base: Some(Base { kind, hook, priority, drop }), rules }
}
