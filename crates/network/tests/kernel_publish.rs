//! Packets: published ports are reached from everywhere they should be, and nothing else is.

mod support;

use std::cell::RefCell;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

use network::{BridgeConfig, GatewayMode, Network, NetworkRules, Passage, Protocol, PublishedPort, Ruleset};
use support::{Namespace, World, bridge, can_run, container_on, has_program, name, prefix, tcp};

const OUTSIDE: &str = "192.0.2.2";

/// A world whose host has networks as given (id, bridge, addresses of the host), set up as the engine does: the
/// firewall first.
fn world_with(networks: &[(&str, NetworkRules, &[&str])], published: &[PublishedPort]) -> (World, Ruleset) {
    let world = World::new();
    let mut ruleset = Ruleset::default();
    for (id, rules, _) in networks {
        ruleset.set_network(id, rules.clone());
    }
    for port in published {
        ruleset.publish(*port).unwrap();
    }
    world.host.within(|| {
        let mut network = Network::open().unwrap();
        let facts = network.gather_facts().unwrap();
        ruleset.drop_foreign_forwarding = !facts.ipv4_forwarding;
        ruleset.ipv6_localhost = !facts.bridge_filtering_ipv6;
        network.sync_firewall(&ruleset).unwrap();
        for (_, rules, addresses) in networks {
            network.ensure_bridge(&bridge(rules.bridge.as_str(), addresses)).unwrap();
        }
    });
    (world, ruleset)
}

fn rules(interface: &str, subnets: &[&str]) -> NetworkRules {
    NetworkRules::new(name(interface), subnets.iter().map(|text| prefix(text)).collect())
}

fn default_network() -> (&'static str, NetworkRules, &'static [&'static str]) {
    ("default", rules("docker0", &["172.17.0.0/16"]), &["172.17.0.1/16"])
}

fn refused(result: Result<String, ErrorKind>) -> bool {
    matches!(result, Err(ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::ConnectionRefused))
}

/// Both settings of br_netfilter, where the kernel has it: ours must not depend on it.
fn with_and_without_bridge_filtering(check: impl Fn(&World, bool), make: impl Fn() -> World) {
    for on in [true, false] {
        let world = make();
        let value = if on { "1" } else { "0" };
        world.host.within(|| {
            for key in ["iptables", "ip6tables"] {
                let path = format!("/proc/sys/net/bridge/bridge-nf-call-{key}");
                if std::path::Path::new(&path).exists() {
                    std::fs::write(path, value).unwrap();
                }
            }
        });
        check(&world, on);
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    if !can_run() {
        return;
    }
    let published = [tcp("0.0.0.0:8080", "172.17.0.2:80"), tcp("127.0.0.1:8081", "172.17.0.2:80")];
    let check = |world: &World, filtering: bool| {
        let one = container_on(world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
        let two = container_on(world, "docker0", 2, &["172.17.0.3/16"], &["172.17.0.1"]);
        let _server = one.serve_tcp(80);
        assert_eq!(world.neighbour.ask_tcp("192.0.2.1:8080").unwrap(), OUTSIDE, "the source address is kept");
        assert_eq!(world.host.ask_tcp("127.0.0.1:8080").unwrap(), "172.17.0.1");
        assert_eq!(world.host.ask_tcp("127.0.0.1:8081").unwrap(), "172.17.0.1");
        assert_eq!(world.host.ask_tcp("192.0.2.1:8080").unwrap(), "192.0.2.1");
        assert_eq!(world.host.ask_tcp("172.17.0.1:8080").unwrap(), "172.17.0.1");
        for client in [&one, &two] {
            for host in ["192.0.2.1:8080", "172.17.0.1:8080"] {
                assert_eq!(client.ask_tcp(host).unwrap(), "172.17.0.1", "hairpin, filtering {filtering}");
            }
        }
        assert!(refused(world.neighbour.ask_tcp("192.0.2.1:8081")), "published on localhost only");
    };
    with_and_without_bridge_filtering(check, || world_with(&[default_network()], &published).0);
}

#[test]
fn a_container_in_two_networks_is_reached_by_the_address_of_each() {
    if !can_run() {
        return;
    }
    let with = |bridge, subnet, gateway: &str| {
        let mut rules = rules(bridge, &[subnet]);
        rules.gateways.push(gateway.parse().unwrap());
        rules
    };
    let networks = [
        ("first", with("docker0", "172.17.0.0/16", "172.17.0.1"), &["172.17.0.1/16"][..]),
        ("second", with("br-second", "172.18.0.0/16", "172.18.0.1"), &["172.18.0.1/16"]),
    ];
    let (world, _) = world_with(&networks, &[tcp("0.0.0.0:8080", "172.18.0.2:80")]);
    let one = container_on(&world, "br-second", 1, &["172.18.0.2/16"], &["172.18.0.1"]);
    // What it knows of the first network: answers to its gateway leave by another interface.
    one.run("ip", &["link", "add", "other", "type", "veth", "peer", "name", "end"]);
    one.run("ip", &["link", "set", "other", "up"]);
    one.run("ip", &["route", "add", "172.17.0.0/16", "dev", "other"]);
    let _server = one.serve_tcp(80);
    for host in ["172.17.0.1:8080", "172.18.0.1:8080", "127.0.0.1:8080"] {
        assert_eq!(world.host.ask_tcp(host).unwrap(), "172.18.0.1", "{host}");
    }
    assert_eq!(world.host.ask_tcp("192.0.2.1:8080").unwrap(), "192.0.2.1", "the source address is kept");
}

#[test]
fn what_is_not_published_is_not_reached() {
    if !can_run() {
        return;
    }
    let (world, _) = world_with(&[default_network()], &[tcp("0.0.0.0:8080", "172.17.0.2:80")]);
    let one = container_on(&world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    let _published = one.serve_tcp(80);
    let _unpublished = one.serve_tcp(81);
    let _on_host = world.host.serve_tcp(22);
    // The neighbour routes everything through the host, so it can try the container's own address.
    assert!(refused(world.neighbour.ask_tcp("172.17.0.2:81")));
    assert!(refused(world.neighbour.ask_tcp("172.17.0.2:80")), "not even a published port by that way");
    assert!(refused(world.neighbour.ask_tcp("192.0.2.1:81")));
    assert_eq!(world.host.ask_tcp("172.17.0.2:81").unwrap(), "172.17.0.1", "the host itself may");
    assert_eq!(one.ask_tcp("172.17.0.1:22").unwrap(), "172.17.0.2");
    // A route that a container makes for itself does not lead to the host's localhost.
    one.run("ip", &["route", "add", "127.9.9.9/32", "via", "172.17.0.1"]);
    one.run("sysctl", &["-qw", "net.ipv4.conf.eth0.route_localnet=1"]);
    assert!(refused(one.ask_tcp("127.9.9.9:22")));
    assert_eq!(world.host.ask_tcp("127.9.9.9:22").unwrap(), "127.0.0.1");
}

#[test]
fn containers_reach_the_outside_with_the_hosts_address() {
    if !can_run() {
        return;
    }
    let (world, _) = world_with(&[default_network()], &[]);
    let one = container_on(&world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    let _server = world.neighbour.serve_tcp(80);
    assert_eq!(one.ask_tcp("192.0.2.2:80").unwrap(), "192.0.2.1");
    let _names = world.neighbour.serve_udp(53, "name");
    assert_eq!(one.ask_udp("192.0.2.2:53").unwrap(), "name 192.0.2.1");
}

#[test]
fn the_host_does_not_become_a_router_for_others() {
    if !can_run() {
        return;
    }
    let (world, ruleset) = world_with(&[default_network()], &[]);
    assert!(ruleset.drop_foreign_forwarding, "forwarding was off");
    let other = Namespace::new();
    let fd = other.within(|| linux::netns::current().unwrap());
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&fd));
    world.host.run("ip", &["link", "add", "other", "type", "veth", "peer", "name", "other", "netns", &path]);
    for (namespace, last) in [(&world.host, 1), (&other, 2)] {
        namespace.run("ip", &["address", "add", &format!("198.51.100.{last}/24"), "dev", "other"]);
        namespace.run("ip", &["link", "set", "other", "up"]);
    }
    other.run("ip", &["route", "add", "default", "via", "198.51.100.1"]);
    let _server = other.serve_tcp(80);
    assert!(refused(world.neighbour.ask_tcp("198.51.100.2:80")));
}

#[test]
fn networks_are_kept_apart_but_for_published_ports() {
    if !can_run() {
        return;
    }
    let mut internal = rules("br-int", &["172.19.0.0/16"]);
    internal.internal = true;
    let networks: &[(&str, NetworkRules, &[&str])] = &[
        default_network(),
        ("other", rules("br-other", &["172.18.0.0/16"]), &["172.18.0.1/16"]),
        ("internal", internal, &["172.19.0.1/16"]),
    ];
    let published = [tcp("0.0.0.0:8080", "172.18.0.2:80")];
    let check = |world: &World, _| {
        let one = container_on(world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
        let other = container_on(world, "br-other", 2, &["172.18.0.2/16"], &["172.18.0.1"]);
        let inner = container_on(world, "br-int", 3, &["172.19.0.2/16"], &["172.19.0.1"]);
        let inner_too = container_on(world, "br-int", 4, &["172.19.0.3/16"], &["172.19.0.1"]);
        let _http = other.serve_tcp(80);
        let _inner_http = inner.serve_tcp(80);
        let _outside = world.neighbour.serve_tcp(80);
        assert!(refused(one.ask_tcp("172.18.0.2:80")), "not directly");
        assert_eq!(one.ask_tcp("192.0.2.1:8080").unwrap(), "172.18.0.1", "by its published port");
        assert!(refused(one.ask_tcp("172.19.0.2:80")));
        assert_eq!(inner_too.ask_tcp("172.19.0.2:80").unwrap(), "172.19.0.3");
        assert!(refused(inner.ask_tcp("192.0.2.2:80")), "no way out");
        assert!(
            refused(inner.ask_tcp("192.0.2.1:8080")),
            "not by a published port of another network either"
        );
        assert!(refused(world.neighbour.ask_tcp("172.19.0.2:80")));
        assert_eq!(world.host.ask_tcp("172.19.0.2:80").unwrap(), "172.19.0.1", "the host itself may");
    };
    with_and_without_bridge_filtering(check, || world_with(networks, &published).0);
}

#[test]
fn containers_can_be_kept_apart_within_a_network() {
    if !can_run() {
        return;
    }
    let mut apart = rules("docker0", &["172.17.0.0/16"]);
    apart.communication = false;
    let networks: &[(&str, NetworkRules, &[&str])] = &[("default", apart, &["172.17.0.1/16"])];
    let check = |world: &World, filtering: bool| {
        let containers = [2, 3].map(|number| isolated(world, number));
        let _server = containers[0].serve_tcp(80);
        let _unpublished = containers[0].serve_tcp(81);
        assert!(containers[1].ask_tcp("172.17.0.2:81").is_err());
        // With br_netfilter the translated frame goes from port to port within the bridge, and both are isolated.
        let by_published_port = containers[1].ask_tcp("192.0.2.1:8080");
        assert!(filtering || by_published_port.unwrap() == "172.17.0.1");
        assert_eq!(world.host.ask_tcp("172.17.0.2:81").unwrap(), "172.17.0.1");
    };
    let published = [tcp("0.0.0.0:8080", "172.17.0.2:80")];
    with_and_without_bridge_filtering(check, || world_with(networks, &published).0);
}

/// A container on docker0 that exchanges no frames with others.
fn isolated(world: &World, number: u8) -> Namespace {
    let container = Namespace::of_container();
    let address = format!("172.17.0.{number}/16");
    let mut endpoint = support::endpoint("docker0", number, &[&address], &["172.17.0.1"]);
    if let network::Attachment::Bridge { isolated, .. } = &mut endpoint.attachment {
        *isolated = true;
    }
    world.host.within(|| Network::open().unwrap().attach(container.fd(), &endpoint)).unwrap();
    container
}

#[test]
fn linked_containers_that_are_kept_apart_reach_the_ports_of_the_link() {
    if !can_run() {
        return;
    }
    let mut apart = rules("docker0", &["172.17.0.0/16"]);
    apart.communication = false;
    let networks: &[(&str, NetworkRules, &[&str])] = &[("default", apart, &["172.17.0.1/16"])];
    let applied = RefCell::new(Ruleset::default());
    let check = |world: &World, _: bool| {
        let before = applied.borrow().clone();
        let config = BridgeConfig { apart: true, ..bridge("docker0", &["172.17.0.1/16"]) };
        world.host.within(|| Network::open().unwrap().ensure_bridge(&config)).unwrap();
        let [server, linked, other] = [2, 3, 4].map(|number| isolated(world, number));
        let servers = [server.serve_tcp(80), server.serve_tcp(81), linked.serve_tcp(80)];
        assert!(linked.ask_tcp("172.17.0.2:80").is_err(), "before it is linked");
        let mut after = before.clone();
        after.let_pass([Passage {
            bridge: name("docker0"),
            from: [172, 17, 0, 3].into(),
            to: [172, 17, 0, 2].into(),
            protocol: Protocol::Tcp,
            port: 80,
        }]);
        world.host.within(|| Network::open().unwrap().change_firewall(&before, &after)).unwrap();
        assert_eq!(linked.ask_tcp("172.17.0.2:80").unwrap(), "172.17.0.3");
        for (from, to) in [(&linked, "172.17.0.2:81"), (&other, "172.17.0.2:80"), (&server, "172.17.0.3:80")]
        {
            assert!(from.ask_tcp(to).is_err(), "{to}");
        }
        let mut gone = after.clone();
        gone.stop_passing_of([172, 17, 0, 3].into());
        assert!(gone.passages().is_empty());
        world.host.within(|| Network::open().unwrap().change_firewall(&after, &gone)).unwrap();
        assert!(linked.ask_tcp("172.17.0.2:80").is_err(), "after the link");
        drop(servers);
    };
    let make = || {
        let (world, ruleset) = world_with(networks, &[]);
        applied.replace(ruleset);
        world
    };
    with_and_without_bridge_filtering(check, make);
}

#[test]
fn ipv6_ports_are_published_too() {
    if !can_run() {
        return;
    }
    let published = [
        tcp("0.0.0.0:8080", "172.17.0.2:80"),
        tcp("[::]:8080", "[fd00:17::2]:80"),
        tcp("[::1]:8081", "[fd00:17::2]:80"),
    ];
    for filtering in ["1", "0"] {
        let world = World::new();
        world.host.within(|| {
            let path = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
            if std::path::Path::new(path).exists() {
                std::fs::write(path, filtering).unwrap();
            }
        });
        let mut ruleset = Ruleset::default();
        ruleset.set_network("default", rules("docker0", &["172.17.0.0/16", "fd00:17::/64"]));
        published.iter().for_each(|port| ruleset.publish(*port).unwrap());
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            ruleset.ipv6_localhost = !network.gather_facts().unwrap().bridge_filtering_ipv6;
            network.sync_firewall(&ruleset).unwrap();
            network.ensure_bridge(&bridge("docker0", &["172.17.0.1/16", "fd00:17::1/64"])).unwrap();
        });
        let addresses = ["172.17.0.2/16", "fd00:17::2/64"];
        let one = container_on(&world, "docker0", 1, &addresses, &["172.17.0.1", "fd00:17::1"]);
        let _server = one.serve_tcp(80);
        let _unpublished = one.serve_tcp(81);
        let _outside = world.neighbour.serve_tcp(80);
        assert_eq!(world.neighbour.ask_tcp("[2001:db8::1]:8080").unwrap(), "2001:db8::2");
        assert!(refused(world.neighbour.ask_tcp("[fd00:17::2]:81")));
        assert!(refused(world.neighbour.ask_tcp("[2001:db8::1]:8081")));
        assert_eq!(one.ask_tcp("[2001:db8::2]:80").unwrap(), "2001:db8::1");
        assert_eq!(one.ask_tcp("[2001:db8::1]:8080").unwrap(), "fd00:17::1", "hairpin");
        assert_eq!(world.host.ask_tcp("[2001:db8::1]:8080").unwrap(), "2001:db8::1");
        for localhost in ["[::1]:8080", "[::1]:8081"] {
            let answer = world.host.ask_tcp(localhost);
            if ruleset.ipv6_localhost {
                assert_eq!(answer.unwrap(), "fd00:17::1");
            } else {
                assert_eq!(
                    answer.unwrap_err(),
                    ErrorKind::ConnectionRefused,
                    "at once, so that clients go on to IPv4"
                );
            }
        }
        assert_eq!(world.host.ask_tcp("127.0.0.1:8080").unwrap(), "172.17.0.1");
    }
}

#[test]
fn gateway_modes_open_what_they_say() {
    if !can_run() || !has_program("busybox") {
        return;
    }
    let mut routed = rules("br-routed", &["172.18.0.0/16"]);
    routed.gateway_mode_ipv4 = GatewayMode::Routed;
    let mut open = rules("br-open", &["172.19.0.0/16"]);
    open.gateway_mode_ipv4 = GatewayMode::NatUnprotected;
    let mut trusting = rules("br-trust", &["172.20.0.0/16"]);
    trusting.trusted_interfaces = vec![name("uplink")];
    let networks: &[(&str, NetworkRules, &[&str])] = &[
        ("routed", routed, &["172.18.0.1/16"]),
        ("open", open, &["172.19.0.1/16"]),
        ("trust", trusting, &["172.20.0.1/16"]),
    ];
    let published = [tcp("0.0.0.0:8080", "172.18.0.2:80"), tcp("0.0.0.0:8081", "172.19.0.2:80")];
    let (world, _) = world_with(networks, &published);
    let one = container_on(&world, "br-routed", 1, &["172.18.0.2/16"], &["172.18.0.1"]);
    let two = container_on(&world, "br-open", 2, &["172.19.0.2/16"], &["172.19.0.1"]);
    let three = container_on(&world, "br-trust", 3, &["172.20.0.2/16"], &["172.20.0.1"]);
    let servers: Vec<_> =
        [&one, &two, &three].iter().flat_map(|one| [one.serve_tcp(80), one.serve_tcp(81)]).collect();
    let outside = world.neighbour.serve_tcp(80);
    assert_eq!(
        world.neighbour.ask_tcp("172.18.0.2:80").unwrap(),
        OUTSIDE,
        "routed: published, by its own address"
    );
    assert!(refused(world.neighbour.ask_tcp("172.18.0.2:81")), "routed: not published");
    assert!(refused(world.neighbour.ask_tcp("192.0.2.1:8080")), "routed: no translation");
    assert_eq!(one.ask_tcp("192.0.2.2:80").unwrap(), "172.18.0.2", "routed: its own address outside");
    let ping = |to| world.neighbour.try_run("busybox", &["ping", "-c1", "-W2", to]).0;
    assert!(ping("172.18.0.2"), "routed: answers a ping");
    assert_eq!(world.neighbour.ask_tcp("172.19.0.2:81").unwrap(), OUTSIDE, "unprotected: everything");
    assert_eq!(world.neighbour.ask_tcp("192.0.2.1:8081").unwrap(), OUTSIDE, "unprotected: published as well");
    assert_eq!(two.ask_tcp("192.0.2.2:80").unwrap(), "192.0.2.1");
    assert_eq!(world.neighbour.ask_tcp("172.20.0.2:81").unwrap(), OUTSIDE, "trusted interface: everything");
    assert!(refused(two.ask_tcp("172.20.0.2:81")), "from another interface: nothing");
    drop((servers, outside));
}

/// A socket of the container in TIME_WAIT takes a packet of its own pair of ports at once, and refuses that of another.
#[test]
fn a_connection_from_localhost_has_the_same_port_each_time() {
    if !can_run() {
        return;
    }
    let (world, _) = world_with(&[default_network()], &[tcp("0.0.0.0:8080", "172.17.0.2:80")]);
    let container = container_on(&world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    let listener = container.within(|| TcpListener::bind("0.0.0.0:80").unwrap());
    // The host has one port to connect from.
    world.host.within(|| std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap());
    let ask = |address: &str| {
        let to: SocketAddr = address.parse().unwrap();
        let mut stream = world.host.within(move || TcpStream::connect(to)).unwrap();
        let (served, peer) = listener.accept().unwrap();
        // Whoever closes first is left in TIME_WAIT.
        drop(served);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        peer.port()
    };
    let first = ask("127.0.0.1:8080");
    assert!((1024..=32767).contains(&first), "{first}");
    for _ in 0..5 {
        assert_eq!(ask("127.0.0.1:8080"), first);
        assert_eq!(ask("192.0.2.1:8080"), 40000);
    }
}
