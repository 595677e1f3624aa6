//! Rulesets and link plans over every combination of options, read backwards: under which conditions each line is there.
//!
//! A golden file has one block per line of a plan: the line, in how many combinations it is, and for each option the
//! values that it is seen with (options that do not matter are left out). `exactly` says that the line is in all
//! combinations of those values, and in no others. The last line has a hash of all plans.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use network::plan::{plan_attach, plan_bridge};
use network::{
    Attachment, BridgeConfig, Endpoint, EndpointFacts, EndpointSysctl, Facts, GatewayMode, IpvlanFlag,
    IpvlanMode, Link, MacAddress, MacvlanMode, NetworkRules, Route, Ruleset,
};
use support::{link, name, prefix, tcp};

type Options = &'static [(&'static str, &'static [&'static str])];

/// Prints every combination by `plan`, which is given the chosen values by the options' names.
fn check(file: &str, options: Options, plan: impl Fn(&dyn Fn(&str) -> &'static str) -> String) {
    let total: usize = options.iter().map(|(_, values)| values.len()).product();
    let mut lines: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for combination in 0..total {
        let value = |wanted: &str| {
            let mut rest = combination;
            for (name, values) in options {
                let chosen = values[rest % values.len()];
                rest /= values.len();
                if *name == wanted {
                    return chosen;
                }
            }
            panic!("no option {wanted}");
        };
        let text = plan(&value);
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let own: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        for line in own {
            lines.entry(line.to_owned()).or_default().push(combination);
        }
    }
    let mut text = format!("{total} combinations of\n");
    for (name, values) in options {
        let _ = writeln!(text, "  {name}: {}", values.join(", "));
    }
    for (line, seen) in &lines {
        let _ = writeln!(text, "\n{line}\n    {}", condition(options, seen, total));
    }
    let _ = writeln!(text, "\nall plans: {hash:016x}");
    let path = format!("{}/tests/golden/{file}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{path}");
}

/// The values of each option with which a line is seen in these combinations.
fn condition(options: Options, seen: &[usize], total: usize) -> String {
    let (mut parts, mut product, mut step) = (Vec::new(), 1, 1);
    for (name, values) in options {
        let used: BTreeSet<usize> =
            seen.iter().map(|combination| combination / step % values.len()).collect();
        step *= values.len();
        product *= used.len();
        if used.len() < values.len() {
            let used: Vec<&str> = used.iter().map(|index| values[*index]).collect();
            parts.push(format!("{name}={}", used.join("|")));
        }
    }
    if seen.len() == total {
        return "always".to_owned();
    }
    let exactly = if product == seen.len() { "exactly" } else { "some of" };
    format!("{} times, {exactly} {}", seen.len(), parts.join(" "))
}

const MODES: &[&str] = &["nat", "nat-unprotected", "routed", "isolated"];
const SWITCH: &[&str] = &["no", "yes"];

fn mode(text: &str) -> GatewayMode {
    match text {
        "nat" => GatewayMode::Nat,
        "nat-unprotected" => GatewayMode::NatUnprotected,
        "routed" => GatewayMode::Routed,
        _ => GatewayMode::Isolated,
    }
}

#[test]
fn rulesets() {
    let options: Options = &[
        ("families", &["4", "6", "both"]),
        ("internal", SWITCH),
        ("icc", SWITCH),
        ("masquerade", SWITCH),
        ("mode4", MODES),
        ("mode6", MODES),
        ("host_ip", SWITCH),
        ("trusted", SWITCH),
        ("published", &["no", "any", "address"]),
        ("localhost6", SWITCH),
        ("drop_foreign", SWITCH),
    ];
    check("rulesets", options, |value| {
        let on = |option: &str| value(option) == "yes";
        let (v4, v6) = (value("families") != "6", value("families") != "4");
        let subnets = [(v4, "172.18.0.0/16"), (v6, "fd00:18::/64")];
        let subnets = subnets.iter().filter(|(has, _)| *has).map(|(_, subnet)| prefix(subnet)).collect();
        let mut rules = NetworkRules::new(name("br-x"), subnets);
        (rules.internal, rules.communication, rules.masquerade) =
            (on("internal"), on("icc"), on("masquerade"));
        (rules.gateway_mode_ipv4, rules.gateway_mode_ipv6) = (mode(value("mode4")), mode(value("mode6")));
        if on("host_ip") {
            rules.host_ipv4 = Some("192.0.2.7".parse().unwrap());
            rules.host_ipv6 = Some("2001:db8::7".parse().unwrap());
        }
        if on("trusted") {
            rules.trusted_interfaces = vec![name("eth7")];
        }
        let mut ruleset = Ruleset::default();
        ruleset.ipv6_localhost = on("localhost6");
        ruleset.drop_foreign_forwarding = on("drop_foreign");
        ruleset.set_network("x", rules);
        let hosts = match value("published") {
            "any" => Some(("0.0.0.0:80", "[::]:80")),
            "address" => Some(("127.0.0.1:80", "[::1]:80")),
            _ => None,
        };
        if let Some((host4, host6)) = hosts {
            for (has, host, container) in [(v4, host4, "172.18.0.2:8080"), (v6, host6, "[fd00:18::2]:8080")] {
                if has {
                    ruleset.publish(tcp(host, container)).unwrap();
                }
            }
        }
        within_chains(&ruleset.table().to_string())
    });
}

/// Every line of a table with the name of what it is in before it, so that lines of different chains differ.
fn within_chains(table: &str) -> String {
    let (mut block, mut text) = (String::new(), String::new());
    for line in table.lines().map(str::trim) {
        match line.strip_suffix(" {") {
            Some(opened) => {
                opened.clone_into(&mut block);
                let _ = writeln!(text, "{block}");
            }
            None if line == "}" => {}
            None => {
                let _ = writeln!(text, "{block}: {line}");
            }
        }
    }
    text
}

#[test]
fn bridges() {
    let options: Options = &[
        ("addresses", &["none", "4", "6", "both"]),
        ("mtu", &["default", "1400"]),
        ("forwarding", SWITCH),
        ("foreign", SWITCH),
        ("apart", SWITCH),
        ("there", &["no", "bare", "down", "whole", "other-address", "no-bridge"]),
        ("host_ipv4_forwarding", SWITCH),
        ("host_ipv6_forwarding", &["no-ipv6", "no", "yes"]),
        ("bridge_filtering6", SWITCH),
    ];
    check("bridges", options, |value| {
        let on = |option: &str| value(option) == "yes";
        let addresses: &[&str] = match value("addresses") {
            "4" => &["172.18.0.1/16"],
            "6" => &["fd00:18::1/64"],
            "both" => &["172.18.0.1/16", "fd00:18::1/64"],
            _ => &[],
        };
        let config = BridgeConfig {
            interface: name("br-x"),
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            addresses: addresses.iter().map(|address| prefix(address)).collect(),
            mtu: value("mtu").parse().ok(),
            forwarding: on("forwarding"),
            foreign: on("foreign"),
            apart: on("apart"),
        };
        let there = value("there");
        let kind = if there == "no-bridge" { "bond" } else { "bridge" };
        let mut facts = Facts {
            links: if there == "no" { vec![] } else { vec![link(3, "br-x", Some(kind))] },
            ipv4_forwarding: on("host_ipv4_forwarding"),
            ipv6_forwarding: match value("host_ipv6_forwarding") {
                "no-ipv6" => None,
                text => Some(text == "yes"),
            },
            bridge_filtering_ipv6: on("bridge_filtering6"),
            ..Facts::default()
        };
        facts.links.iter_mut().for_each(|link| link.up = there != "down");
        match there {
            "whole" => facts.addresses = config.addresses.iter().map(|address| (3, *address)).collect(),
            "other-address" => facts.addresses = vec![(3, prefix("10.0.0.1/8")), (3, prefix("fe80::1/64"))],
            _ => {}
        }
        match plan_bridge(&config, &facts) {
            Ok(plan) => plan.iter().map(|op| format!("{op}\n")).collect(),
            Err(error) => format!("refused: {error}\n"),
        }
    });
}

#[test]
fn endpoints() {
    let options: Options = &[
        (
            "kind",
            &["bridge", "isolated", "macvlan-bridge", "macvlan-passthru", "ipvlan-l2", "ipvlan-l3s-private"],
        ),
        ("parent", &["there", "gone", "other-kind"]),
        ("families", &["4", "6", "both"]),
        ("link_local", SWITCH),
        ("way_out", SWITCH),
        ("routes", SWITCH),
        ("mtu", &["default", "1400"]),
        ("sysctls", SWITCH),
        ("leftover", SWITCH),
        ("host_ipv6", SWITCH),
        ("bridge_filtering", SWITCH),
        ("shaped", &["no", "egress", "ingress"]),
    ];
    check("endpoints", options, |value| {
        let on = |option: &str| value(option) == "yes";
        let (attachment, parent) = attachment(value("kind"));
        let (v4, v6) = (value("families") != "6", value("families") != "4");
        let families = |four: &'static str, six: &'static str| {
            [(v4, four), (v6, six)].into_iter().filter(|(has, _)| *has).map(|(_, text)| text)
        };
        let shape = match value("shaped") {
            "egress" => vec![("berth.endpoint.egress_rate", "10mbit")],
            "ingress" => vec![("berth.endpoint.ingress_delay", "50ms")],
            _ => vec![],
        };
        let endpoint = Endpoint {
            attachment,
            interface: name("eth0"),
            mac: MacAddress([2, 0, 0, 0, 0, 2]),
            addresses: families("172.18.0.2/16", "fd00:18::2/64").map(prefix).collect(),
            link_local: if on("link_local") { vec![prefix("169.254.7.7/16")] } else { vec![] },
            gateways: if on("way_out") {
                families("172.18.0.1", "fd00:18::1").map(|text| text.parse().unwrap()).collect()
            } else {
                vec![]
            },
            routes: if on("routes") {
                vec![Route { destination: prefix("10.0.0.0/8"), gateway: None }]
            } else {
                vec![]
            },
            mtu: value("mtu").parse().ok(),
            sysctls: if on("sysctls") {
                EndpointSysctl::parse_list("net.ipv4.conf.IFNAME.arp_notify=0").unwrap()
            } else {
                vec![]
            },
            shaping: network::Shaping::parse(shape.into_iter()).unwrap(),
        };
        let facts = EndpointFacts {
            parent: match value("parent") {
                "there" => Some(parent),
                "gone" => None,
                _ => Some(link(3, "other", Some("dummy"))),
            },
            leftover: on("leftover"),
            ipv6: on("host_ipv6"),
            bridge_filtering: on("bridge_filtering"),
            // With `sysctls`, so that there are not twice as many: they have nothing to do with each other.
            paced: on("sysctls"),
        };
        match plan_attach(&endpoint, &facts) {
            Ok(plan) => plan.iter().map(|op| format!("{op}\n")).collect(),
            Err(error) => format!("refused: {error}\n"),
        }
    });
}

/// What an endpoint hangs on, and that link.
fn attachment(kind: &str) -> (Attachment, Link) {
    let bridge =
        |isolated| Attachment::Bridge { bridge: name("br-x"), host_interface: name("veth1"), isolated };
    let macvlan = |mode| Attachment::Macvlan { parent: name("eth1"), mode };
    let ipvlan = |mode, flag| Attachment::Ipvlan { parent: name("eth1"), mode, flag };
    let (on_bridge, on_host) = (link(3, "br-x", Some("bridge")), link(2, "eth1", None));
    match kind {
        "bridge" => (bridge(false), on_bridge),
        "isolated" => (bridge(true), on_bridge),
        "macvlan-bridge" => (macvlan(MacvlanMode::Bridge), on_host),
        "macvlan-passthru" => (macvlan(MacvlanMode::Passthru), on_host),
        "ipvlan-l2" => (ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge), on_host),
        _ => (ipvlan(IpvlanMode::L3s, IpvlanFlag::Private), on_host),
    }
}
