//! Plans and rulesets as text, over combinations of options. No root.

mod support;

use network::firewall::Observed;
use network::plan::{plan_attach, plan_bridge, plan_detach, plan_release};
use network::{
    Attachment, BridgeConfig, BridgePort, Endpoint, EndpointFacts, EndpointSysctl, Facts, GatewayMode, Guard,
    MacAddress, MacvlanMode, NetworkRules, Passage, Prefix, Protocol, Route, Ruleset,
};
use support::{link, name, tcp};

/// Compares with a file beside the tests; BLESS=1 writes it.
fn check_golden(name: &str, text: &str) {
    let file = format!("{}/tests/golden/{name}.nft", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{file}");
}

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A host with IPv6, where nothing has been done yet.
fn facts() -> Facts {
    Facts { ipv6_forwarding: Some(false), ..Facts::default() }
}

fn config(addresses: &[&str]) -> BridgeConfig {
    BridgeConfig {
        interface: name("docker0"),
        mac: MacAddress([2, 0x42, 0, 0, 0, 1]),
        addresses: prefixes(addresses),
        mtu: None,
        forwarding: true,
        foreign: false,
        apart: false,
    }
}

fn lines<T: ToString>(plan: &[T]) -> String {
    plan.iter().map(|op| format!("{}\n", op.to_string())).collect()
}

fn check_bridge(config: &BridgeConfig, facts: &Facts, expected: &str) {
    let printed = match plan_bridge(config, facts) {
        Ok(plan) => lines(&plan),
        Err(error) => format!("{error}\n"),
    };
    assert_eq!(printed, expected);
}

#[test]
fn a_bridge_is_made_from_nothing() {
    check_bridge(
        &config(&["172.17.0.1/16"]),
        &facts(),
        "host: bridge docker0 02:42:00:00:00:01
host: set net/ipv6/conf/docker0/accept_ra = 0
host: set net/ipv6/conf/docker0/disable_ipv6 = 1
host: set net/ipv6/conf/docker0/accept_dad = 0
host: set net/ipv4/conf/docker0/route_localnet = 1
host: address 172.17.0.1/16 on docker0
host: up docker0
host: set net/ipv4/ip_forward = 1
",
    );
}

#[test]
fn a_bridge_with_ipv6_answers_on_localhost_where_it_can() {
    let mut config = config(&["172.17.0.1/16", "fd00::1/64"]);
    config.mtu = Some(1400);
    let created = "host: bridge docker0 02:42:00:00:00:01 mtu 1400
host: set net/ipv6/conf/docker0/accept_ra = 0
host: set net/ipv6/conf/docker0/disable_ipv6 = 0
host: set net/ipv6/conf/docker0/accept_dad = 0
host: set net/ipv4/conf/docker0/route_localnet = 1
host: address 172.17.0.1/16 on docker0
host: address fd00::1/64 on docker0
host: up docker0
";
    let forwarding = "host: set net/ipv4/ip_forward = 1
host: set net/ipv6/conf/default/forwarding = 1
host: set net/ipv6/conf/all/forwarding = 1
";
    let localhost = "host: accept ::1 on docker0\n";
    check_bridge(&config, &facts(), &format!("{created}{localhost}{forwarding}"));
    let filtering = Facts { bridge_filtering_ipv6: true, ..facts() };
    check_bridge(&config, &filtering, &format!("{created}{forwarding}"));
    let ready = Facts { ipv4_forwarding: true, ipv6_forwarding: Some(true), ..facts() };
    check_bridge(&config, &ready, &format!("{created}{localhost}"));
    let none = Facts { ipv6_forwarding: None, ..Facts::default() };
    check_bridge(&config, &none, "address fd00::1/64: this kernel has no IPv6\n");
}

#[test]
fn a_bridge_that_is_there_is_only_corrected() {
    let mut config = config(&["172.17.0.1/16"]);
    config.mtu = Some(1400);
    let mut facts =
        Facts { ipv4_forwarding: true, links: vec![link(3, "docker0", Some("bridge"))], ..facts() };
    facts.addresses = vec![(3, prefixes(&["172.18.0.1/16"])[0]), (3, prefixes(&["fe80::1/64"])[0])];
    let sysctls = "host: set net/ipv6/conf/docker0/accept_ra = 0
host: set net/ipv6/conf/docker0/disable_ipv6 = 1
host: set net/ipv6/conf/docker0/accept_dad = 0
host: set net/ipv4/conf/docker0/route_localnet = 1
host: set net/ipv4/conf/docker0/proxy_arp_pvlan = 0
";
    let corrected = "host: address 172.17.0.1/16 on docker0
host: no address 172.18.0.1/16 on docker0
host: mtu 1400 on docker0
";
    check_bridge(&config, &facts, &format!("{sysctls}{corrected}"));
    facts.links[0].kind = Some("bond".into());
    let refusal = "interface docker0 exists and is not a bridge; remove it or choose another bridge name\n";
    check_bridge(&config, &facts, refusal);
}

#[test]
fn a_bridge_of_the_administrator_is_left_as_it_is() {
    let mut config = config(&["172.17.0.1/16"]);
    config.foreign = true;
    config.forwarding = false;
    check_bridge(
        &config,
        &facts(),
        "bridge docker0 does not exist; create it, or let the engine make its own\n",
    );
    let facts = Facts { links: vec![link(3, "docker0", Some("bridge"))], ..facts() };
    check_bridge(&config, &facts, "host: set net/ipv6/conf/docker0/accept_ra = 0\n");
}

fn endpoint() -> Endpoint {
    Endpoint {
        attachment: Attachment::Bridge {
            bridge: name("docker0"),
            host_interface: name("veth0123456"),
            isolated: false,
        },
        interface: name("eth0"),
        mac: MacAddress([2, 0x42, 0xac, 0x11, 0, 2]),
        addresses: prefixes(&["172.17.0.2/16"]),
        link_local: Vec::new(),
        gateways: vec!["172.17.0.1".parse().unwrap()],
        routes: Vec::new(),
        mtu: None,
        sysctls: Vec::new(),
        shaping: network::Shaping::default(),
    }
}

fn endpoint_facts() -> EndpointFacts {
    EndpointFacts {
        parent: Some(link(3, "docker0", Some("bridge"))),
        leftover: false,
        ipv6: true,
        bridge_filtering: false,
        paced: false,
    }
}

fn check_attach(endpoint: &Endpoint, facts: &EndpointFacts, expected: &str) {
    let printed = match plan_attach(endpoint, facts) {
        Ok(plan) => lines(&plan),
        Err(error) => format!("{error}\n"),
    };
    assert_eq!(printed, expected);
}

#[test]
fn an_endpoint_on_the_default_bridge() {
    check_attach(
        &endpoint(),
        &endpoint_facts(),
        "host: veth veth0123456 -> docker0, container: eth0 02:42:ac:11:00:02
container: up lo
container: set net/ipv4/conf/eth0/arp_notify = 1
container: set net/ipv6/conf/eth0/accept_ra = 0
container: set net/ipv6/conf/eth0/autoconf = 0
container: set net/ipv6/conf/eth0/disable_ipv6 = 1
container: address 172.17.0.2/16 on eth0
container: up eth0
container: route 0.0.0.0/0 via 172.17.0.1 dev eth0
",
    );
    assert_eq!(
        lines(&plan_detach(&endpoint(), true)),
        "host: delete veth0123456\nhost: forget neighbour 172.17.0.2 on docker0\n"
    );
    assert_eq!(lines(&plan_release(&endpoint())), "host: forget neighbour 172.17.0.2 on docker0\n");
}

/// Only to what is on this host: not to what else hangs on a bridge of somebody else's, nor where it has no subnet.
#[test]
fn streams_that_stay_on_this_host_are_not_paced() {
    let mut endpoint = endpoint();
    endpoint.addresses = prefixes(&["172.17.0.2/16", "fd00::2/64", "172.18.0.1/32"]);
    let unpaced = |endpoint: &Endpoint, facts: &EndpointFacts| {
        let plan = lines(&plan_attach(endpoint, facts).unwrap());
        let after = plan.lines().skip_while(|line| *line != "container: up eth0").skip(1);
        after.filter(|line| line.contains("unpaced")).collect::<Vec<_>>().join("; ")
    };
    let paced = EndpointFacts { paced: true, ..endpoint_facts() };
    let subnets = "container: unpaced 172.17.0.0/16 dev eth0; container: unpaced fd00::/64 dev eth0";
    assert_eq!(unpaced(&endpoint, &paced), subnets);
    assert_eq!(unpaced(&endpoint, &endpoint_facts()), "", "nothing is paced");
    let foreign = network::Link { ours: false, ..link(3, "docker0", Some("bridge")) };
    assert_eq!(unpaced(&endpoint, &EndpointFacts { parent: Some(foreign), ..paced.clone() }), "");
    endpoint.attachment = Attachment::Macvlan { parent: name("eth1"), mode: MacvlanMode::Bridge };
    let parent = Some(link(2, "eth1", None));
    assert_eq!(unpaced(&endpoint, &EndpointFacts { parent, ..paced }), "");

    let host = |config: &BridgeConfig, paced| {
        let plan = lines(&plan_bridge(config, &Facts { paced, ..facts() }).unwrap());
        plan.lines().skip_while(|line| *line != "host: up docker0").nth(1).map(str::to_owned)
    };
    let config = config(&["172.17.0.1/16"]);
    assert_eq!(host(&config, true).unwrap(), "host: unpaced 172.17.0.0/16 dev docker0");
    assert_ne!(host(&config, false).unwrap(), host(&config, true).unwrap());
}

#[test]
fn an_endpoint_with_everything() {
    let mut endpoint = endpoint();
    if let Attachment::Bridge { isolated, .. } = &mut endpoint.attachment {
        *isolated = true;
    }
    endpoint.addresses = prefixes(&["172.17.0.2/16", "fd00::2/64"]);
    endpoint.gateways.push("fd00::1".parse().unwrap());
    endpoint.routes = vec![
        Route { destination: prefixes(&["10.0.0.0/8"])[0], gateway: Some("172.17.0.9".parse().unwrap()) },
        Route { destination: prefixes(&["192.0.2.0/24"])[0], gateway: None },
    ];
    endpoint.mtu = Some(1400);
    endpoint.sysctls = EndpointSysctl::parse_list("net.ipv4.conf.IFNAME.log_martians=1").unwrap();
    let facts = EndpointFacts { leftover: true, bridge_filtering: true, ..endpoint_facts() };
    check_attach(
        &endpoint,
        &facts,
        "host: delete veth0123456
host: veth veth0123456 -> docker0, container: eth0 02:42:ac:11:00:02 mtu 1400
host: port veth0123456 isolated reflecting
container: up lo
container: set net/ipv4/conf/eth0/arp_notify = 1
container: set net/ipv6/conf/eth0/accept_ra = 0
container: set net/ipv6/conf/eth0/autoconf = 0
container: set net/ipv6/conf/eth0/disable_ipv6 = 0
container: set net/ipv6/conf/eth0/accept_dad = 0
container: set net/ipv6/conf/eth0/ndisc_notify = 1
container: set net/ipv4/conf/eth0/log_martians = 1
container: address 172.17.0.2/16 on eth0
container: address fd00::2/64 on eth0
container: up eth0
container: route 10.0.0.0/8 via 172.17.0.9 dev eth0
container: route 192.0.2.0/24 dev eth0
container: route 0.0.0.0/0 via 172.17.0.1 dev eth0
container: route ::/0 via fd00::1 dev eth0
",
    );
}

#[test]
fn an_endpoint_on_an_interface_of_the_host() {
    let mut endpoint = endpoint();
    endpoint.attachment = Attachment::Macvlan { parent: name("eth1"), mode: MacvlanMode::Bridge };
    endpoint.gateways.clear();
    let facts = EndpointFacts { parent: Some(link(2, "eth1", None)), ipv6: false, ..endpoint_facts() };
    check_attach(
        &endpoint,
        &facts,
        "container: macvlan new0242ac110002 02:42:ac:11:00:02 on eth1 mode Bridge
container: rename new0242ac110002 to eth0
container: up lo
container: set net/ipv4/conf/eth0/arp_notify = 1
container: address 172.17.0.2/16 on eth0
container: up eth0
",
    );
    assert_eq!(lines(&plan_detach(&endpoint, true)), "container: delete eth0\n");
    assert_eq!(lines(&plan_detach(&endpoint, false)), "");
    let absent = EndpointFacts { parent: None, ..endpoint_facts() };
    let refusal =
        "interface eth1 does not exist; it must be there before a container can be attached to it\n";
    check_attach(&endpoint, &absent, refusal);
}

#[test]
fn the_table_of_a_host_without_networks() {
    let ruleset = Ruleset::default();
    check_golden("empty", &format!("{}{}", ruleset.table(), ruleset.user()));
}

/// Where the kernel can, the tables are held; the administrator's is not.
#[test]
fn tables_that_are_held() {
    let mut ruleset = Ruleset::default();
    ruleset.set_network("x", NetworkRules::new(name("br-x"), prefixes(&["172.18.0.0/16"])));
    (ruleset.hold, ruleset.guard_frames, ruleset.accepted_mark) = (true, true, Some((1, u32::MAX)));
    check_golden("held", &Observed::default().repair(&ruleset).to_string());
}

#[test]
fn the_table_of_the_default_bridge() {
    let mut ruleset = Ruleset::default();
    ruleset.set_network("0123456789abcdef", NetworkRules::new(name("docker0"), prefixes(&["172.17.0.0/16"])));
    ruleset.publish(tcp("0.0.0.0:8080", "172.17.0.2:80")).unwrap();
    ruleset.publish(tcp("127.0.0.1:8081", "172.17.0.2:81")).unwrap();
    ruleset.drop_foreign_forwarding = true;
    check_golden("default", &ruleset.table().to_string());
}

/// The chains and elements that differ from those of the default bridge, for each combination of options.
#[test]
fn what_each_option_changes() {
    let base = || NetworkRules::new(name("br-x"), prefixes(&["172.18.0.0/16", "fd00:18::/64"]));
    let mut text = String::new();
    for mode in [GatewayMode::Nat, GatewayMode::NatUnprotected, GatewayMode::Routed, GatewayMode::Isolated] {
        for (internal, masquerade, communication) in [
            (false, true, true),
            (false, false, true),
            (false, true, false),
            (true, true, true),
            (true, false, false),
        ] {
            let mut rules = base();
            (rules.gateway_mode_ipv4, rules.gateway_mode_ipv6) = (mode, mode);
            (rules.internal, rules.masquerade, rules.communication) = (internal, masquerade, communication);
            let mut ruleset = Ruleset::default();
            ruleset.set_network("x", rules);
            ruleset.publish(tcp("0.0.0.0:80", "172.18.0.2:8080")).unwrap();
            ruleset.publish(tcp("[::]:80", "[fd00:18::2]:8080")).unwrap();
            let options = format!("{mode:?} internal={internal} masquerade={masquerade} icc={communication}");
            text.push_str(&format!("# {options}\n{}\n", ruleset.change_from(&Ruleset::default())));
        }
    }
    check_golden("options", &text);
}

#[test]
fn a_link_between_containers_that_are_kept_apart_is_one_element() {
    let mut before = Ruleset::default();
    let mut apart = NetworkRules::new(name("br-x"), prefixes(&["172.18.0.0/16"]));
    apart.communication = false;
    before.set_network("x", apart);
    let mut after = before.clone();
    let (from, to) = ([172, 18, 0, 3].into(), [172, 18, 0, 2].into());
    after.let_pass([Passage { bridge: name("br-x"), from, to, protocol: Protocol::Udp, port: 53 }]);
    let element = "element inet berth linked { \"br-x\" . 172.18.0.3 . 172.18.0.2 . udp . 53 }";
    assert_eq!(after.change_from(&before).to_string(), format!("add table inet berth\nadd {element}\n"));
    assert_eq!(before.change_from(&after).to_string(), format!("add table inet berth\ndelete {element}\n"));
}

#[test]
fn one_more_port_is_two_elements() {
    let mut before = Ruleset::default();
    before.set_network("x", NetworkRules::new(name("br-x"), prefixes(&["172.18.0.0/16"])));
    before.publish(tcp("0.0.0.0:80", "172.18.0.2:8080")).unwrap();
    let mut after = before.clone();
    after.publish(tcp("127.0.0.1:81", "172.18.0.2:8080")).unwrap();
    // Both ports lead to the same target, which stays until the last of them is gone.
    let add = "add table inet berth
add element inet berth published4_on_address { 127.0.0.1 . tcp . 81 : 172.18.0.2 . 8080 }\n";
    assert_eq!(after.change_from(&before).to_string(), add);
    let delete =
        "add table inet berth\ndelete element inet berth published4_on_address { 127.0.0.1 . tcp . 81 }\n";
    assert_eq!(before.change_from(&after).to_string(), delete);
    let conflict = after.publish(tcp("0.0.0.0:80", "172.18.0.3:8080")).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "0.0.0.0:80 -> 172.18.0.3:8080/tcp cannot be published: 0.0.0.0:80 -> 172.18.0.2:8080/tcp is"
    );
}

#[test]
fn the_table_that_frames_meet() {
    let mut ruleset = Ruleset::default();
    ruleset.guard_frames = true;
    let mut text = format!("{}", ruleset.frames().unwrap());
    for (number, guard) in [(1, Guard::Sources), (2, Guard::Announcements), (3, Guard::Off)] {
        let before = ruleset.clone();
        let addresses = vec![[172, 17, 0, number].into(), "fd00:17::2".parse().unwrap()];
        let port = BridgePort { mac: MacAddress([2, 0x42, 0, 0, 0, number]), addresses, guard };
        ruleset.set_port(&name(&format!("veth{number}")), port);
        text.push_str(&format!("\n# one more: {guard:?}\n{}", ruleset.change_from(&before)));
    }
    let before = ruleset.clone();
    ruleset.remove_port(&name("veth1"));
    text.push_str(&format!("\n# one less\n{}", ruleset.change_from(&before)));
    check_golden("frames", &text);
}
