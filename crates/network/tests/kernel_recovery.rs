//! What lasts, what is noticed and what is cleaned up: held ports, changes by others, stale connections and links.

mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, UdpSocket};

use network::ports::{Adopted, EphemeralPorts, HostPorts};
use network::{
    Connections, Network, NetworkRules, PortAllocator, PortRequest, Protocol, PublishedPort, Ruleset,
};
use support::{Namespace, World, bridge, can_run, container_on, endpoint, has_program, name, prefix};

fn request(protocol: Protocol, addresses: &[&str], port: u16) -> PortRequest {
    PortRequest {
        protocol,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ports: HostPorts::OneOf(port..=port),
        container: "172.17.0.2:80".parse().unwrap(),
    }
}

#[test]
fn a_port_is_kept_from_the_programs_of_the_host() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    host.within(|| {
        let mut allocator = PortAllocator::new(EphemeralPorts::gather().unwrap());
        let every = ["0.0.0.0", "::"];
        let leases = allocator.reserve(&request(Protocol::Tcp, &every, 8080)).unwrap();
        allocator.reserve(&request(Protocol::Udp, &every, 8080)).unwrap();
        // SCTP cannot be bound on kernels without it, and is leased all the same.
        allocator.reserve(&request(Protocol::Sctp, &every, 8080)).unwrap();
        for address in ["0.0.0.0:8080", "127.0.0.1:8080", "[::]:8080", "[::1]:8080"] {
            // std sets SO_REUSEADDR on its listeners, as most servers do.
            assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse, "{address}");
            assert_eq!(UdpSocket::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse, "{address}");
        }
        let refused = std::net::TcpStream::connect("127.0.0.1:8080").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "holding is not listening");
        leases.iter().for_each(|lease| allocator.release(lease));
        TcpListener::bind("[::]:8080").unwrap();
    });
}

#[test]
fn a_port_that_was_given_back_can_be_had_again_at_once() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    host.within(|| {
        let mut allocator = PortAllocator::new(EphemeralPorts::gather().unwrap());
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let request = request(protocol, &["0.0.0.0", "::"], 8080);
            for _ in 0..50 {
                let leases = allocator.reserve(&request).unwrap();
                // While it is started, the program has copies of all descriptors.
                let child = std::process::Command::new("true").spawn();
                leases.iter().for_each(|lease| allocator.release(lease));
                child.unwrap().wait().unwrap();
            }
        }
    });
}

#[test]
fn a_port_of_a_program_of_the_host_is_not_given() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    host.within(|| {
        let mut allocator = PortAllocator::new(EphemeralPorts::gather().unwrap());
        let program = TcpListener::bind("127.0.0.1:8080").unwrap();
        let error = allocator.reserve(&request(Protocol::Tcp, &["0.0.0.0", "::"], 8080)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use"
        );
        let error = allocator.reserve(&request(Protocol::Tcp, &["10.9.9.9"], 80)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to bind host port for 10.9.9.9:80:172.17.0.2:80/tcp: cannot assign requested address"
        );
        // A connection of the program that has ended leaves the port in TIME_WAIT, which is no obstacle.
        let client = std::net::TcpStream::connect("127.0.0.1:8080").unwrap();
        drop(program.accept().unwrap());
        drop((client, program));
        let leases = allocator.reserve(&request(Protocol::Tcp, &["0.0.0.0", "::"], 8080)).unwrap();
        let lease = leases[0];
        let mut next_daemon = PortAllocator::new(EphemeralPorts::gather().unwrap());
        assert!(matches!(next_daemon.adopt(lease), Adopted::TakenByHost(_)), "the first one still runs");
        leases.iter().for_each(|lease| allocator.release(lease));
        assert_eq!(next_daemon.adopt(lease), Adopted::Held);
        let ephemeral =
            PortRequest { ports: HostPorts::Ephemeral, ..request(Protocol::Tcp, &["0.0.0.0", "::"], 0) };
        let leases = next_daemon.reserve(&ephemeral).unwrap();
        assert_eq!(leases[0].port, leases[1].port, "one port for both families");
    });
}

#[test]
fn changes_by_others_are_noticed_and_ours_are_not() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let host = Namespace::new();
    let mut ruleset = Ruleset::default();
    ruleset.set_network("default", NetworkRules::new(name("docker0"), vec![prefix("172.17.0.0/16")]));
    let watch = host.within(|| {
        let mut network = Network::open().unwrap();
        let watch = network.watch_firewall().unwrap();
        network.sync_firewall(&ruleset).unwrap();
        assert!(!watch.changed().unwrap(), "our own change");
        watch
    });
    host.run("nft", &["flush ruleset"]);
    watch.wait().unwrap();
    host.within(|| {
        let mut network = Network::open().unwrap();
        assert!(network.sync_firewall(&ruleset).unwrap().is_some());
        assert!(!watch.changed().unwrap(), "our own repair");
        assert_eq!(network.sync_firewall(&ruleset).unwrap(), None);
    });
}

#[test]
fn a_docker_or_ufw_beside_us_does_not_cut_our_containers_off() {
    if !can_run() || !has_program("iptables-nft") || !has_program("nft") {
        return;
    }
    let world = World::new();
    for program in ["iptables-nft", "ip6tables-nft"] {
        world.host.run(program, &["-P", "FORWARD", "DROP"]);
    }
    let mut ruleset = Ruleset::default();
    ruleset.set_network("default", NetworkRules::new(name("docker0"), vec![prefix("172.17.0.0/16")]));
    world.host.within(|| {
        let mut network = Network::open().unwrap();
        network.sync_firewall(&ruleset).unwrap();
        network.ensure_bridge(&bridge("docker0", &["172.17.0.1/16"])).unwrap();
    });
    let one = container_on(&world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    let (_outside, _unpublished) = (world.neighbour.serve_tcp(80), one.serve_tcp(81));
    let accept = |bridges: &[&str]| {
        let bridges = bridges.iter().map(|bridge| name(bridge)).collect();
        world.host.within(|| Network::open().unwrap().accept_in_iptables(&bridges)).unwrap()
    };
    let listed = || world.host.run("iptables-nft", &["-S", "FORWARD"]);
    assert!(one.ask_tcp("192.0.2.2:80").is_err(), "dropped by the policy");
    assert_eq!(accept(&["docker0", "br-x"]), []);
    assert_eq!(accept(&["docker0"]), []);
    assert_eq!(accept(&["docker0"]), []);
    assert_eq!(
        listed(),
        "-P FORWARD DROP\n\
         -A FORWARD -i docker0 -m comment --comment \"berth: from docker0\" -j ACCEPT\n\
         -A FORWARD -o docker0 -m comment --comment \"berth: to docker0\" -j ACCEPT\n"
    );
    assert_eq!(one.ask_tcp("192.0.2.2:80").unwrap(), "192.0.2.1");
    assert!(world.neighbour.ask_tcp("172.17.0.2:81").is_err(), "our own table still decides");
    world.host.run("nft", &["add table inet mine"]);
    world
        .host
        .run("nft", &["add chain inet mine through { type filter hook forward priority 0; policy drop; }"]);
    let told: Vec<String> = accept(&[]).iter().map(|drop| format!("{} {}", drop.table, drop.chain)).collect();
    assert_eq!(told, ["mine through"]);
    assert_eq!(listed(), "-P FORWARD DROP\n");
}

#[test]
fn a_udp_client_follows_when_its_container_is_replaced() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let publish = |container: &str| PublishedPort {
        protocol: Protocol::Udp,
        host_address: "0.0.0.0".parse().unwrap(),
        host_port: 53,
        container_address: container.parse().unwrap(),
        container_port: 53,
    };
    let mut none = Ruleset::default();
    none.set_network("default", NetworkRules::new(name("docker0"), vec![prefix("172.17.0.0/16")]));
    let (mut first, mut second) = (none.clone(), none.clone());
    first.publish(publish("172.17.0.2")).unwrap();
    second.publish(publish("172.17.0.3")).unwrap();
    world.host.within(|| {
        let mut network = Network::open().unwrap();
        network.sync_firewall(&none).unwrap();
        network.ensure_bridge(&bridge("docker0", &["172.17.0.1/16"])).unwrap();
    });
    let one = container_on(&world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    let two = container_on(&world, "docker0", 2, &["172.17.0.3/16"], &["172.17.0.1"]);
    let _servers = (one.serve_udp(53, "one"), two.serve_udp(53, "two"));
    let client = world.neighbour.within(|| {
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        client.connect("192.0.2.1:53").unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_millis(700))).unwrap();
        client
    });
    let ask = || {
        let mut answer = [0; 64];
        client.send(b"?").ok()?;
        let length = client.recv(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    let change = |from: &Ruleset, to: &Ruleset, forget: &[Connections]| {
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            network.change_firewall(from, to).unwrap();
            forget.iter().map(|which| network.forget_connections(which).unwrap()).sum::<usize>()
        })
    };
    let to_port = Connections::To { protocol: Protocol::Udp, address: [0, 0, 0, 0].into(), port: 53 };
    let of = |address: &str| Connections::Of(address.parse::<IpAddr>().unwrap());
    // It asked before anything was published, so the kernel remembers it as untranslated.
    let early = world.host.within(|| UdpSocket::bind("0.0.0.0:53").unwrap());
    assert_eq!(ask(), None);
    drop(early);
    assert_eq!(change(&none, &first, &[to_port]), 1);
    assert_eq!(ask().as_deref(), Some("one 192.0.2.2"));
    assert_eq!(change(&first, &second, &[]), 0);
    assert_eq!(ask().as_deref(), Some("one 192.0.2.2"), "remembered, which is the point of this test");
    assert_eq!(change(&second, &second, &[of("172.17.0.2")]), 1);
    assert_eq!(ask().as_deref(), Some("two 192.0.2.2"));
}

#[test]
fn links_that_nobody_expects_are_swept_and_those_of_others_are_not() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    let containers = [Namespace::of_container(), Namespace::of_container()];
    for line in [
        "add vethabcdef0 type veth peer name peer0",
        "add br-0123456789ab type bridge",
        "add mine0 type bridge",
    ] {
        host.run("ip", &[&["link"][..], &line.split(' ').collect::<Vec<_>>()].concat());
    }
    let swept = host.within(|| {
        let mut network = Network::open().unwrap();
        for interface in ["docker0", "br-stale"] {
            network.ensure_bridge(&bridge(interface, &[])).unwrap();
        }
        for (number, container) in (1..).zip(&containers) {
            network.attach(container.fd(), &endpoint("docker0", number, &[], &[])).unwrap();
        }
        let expected = BTreeSet::from([name("docker0"), name("veth0000001")]);
        let swept = network.sweep(&expected).unwrap();
        assert!(network.sweep(&expected).unwrap().is_empty());
        swept
    });
    let mut swept: Vec<String> = swept.iter().map(ToString::to_string).collect();
    swept.sort_unstable();
    assert_eq!(swept, ["host: delete br-stale", "host: delete veth0000002"]);
    for link in ["docker0", "veth0000001", "vethabcdef0", "br-0123456789ab", "mine0"] {
        host.run("ip", &["link", "show", link]);
    }
}
