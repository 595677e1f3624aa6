//! Networks of users: connecting and disconnecting running containers, interfaces on the host's own links, repair.

mod support;

use std::time::Instant;

use network::plan::{NetOp, plan_default_route};
use network::{
    Attachment, Endpoint, EndpointSysctl, IpvlanFlag, IpvlanMode, MacvlanMode, Network, NetworkRules, Route,
    Ruleset,
};
use support::{
    Namespace, World, bridge, can_run, container_on, endpoint, has_program, kernel_has, name, prefix,
};

fn two_networks(world: &World) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for (id, interface, subnet, gateway) in
        [("a", "br-a", "172.18.0.0/16", "172.18.0.1/16"), ("b", "br-b", "172.19.0.0/16", "172.19.0.1/16")]
    {
        ruleset.set_network(id, NetworkRules::new(name(interface), vec![prefix(subnet)]));
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            network.sync_firewall(&ruleset).unwrap();
            network.ensure_bridge(&bridge(interface, &[gateway])).unwrap();
        });
    }
    ruleset
}

#[test]
fn a_running_container_is_connected_and_disconnected() {
    if !can_run() {
        return;
    }
    let world = World::new();
    two_networks(&world);
    let one = container_on(&world, "br-a", 1, &["172.18.0.2/16"], &["172.18.0.1"]);
    let other = container_on(&world, "br-b", 2, &["172.19.0.2/16"], &["172.19.0.1"]);
    let _server = other.serve_tcp(80);
    assert!(one.ask_tcp("172.19.0.2:80").is_err());
    let second = Endpoint { interface: name("eth1"), ..endpoint("br-b", 3, &["172.19.0.3/16"], &[]) };
    world.host.within(|| Network::open().unwrap().attach(one.fd(), &second)).unwrap();
    assert_eq!(one.ask_tcp("172.19.0.2:80").unwrap(), "172.19.0.3");
    // The way out is moved to the second network and back.
    for (interface, gateway) in [("eth1", "172.19.0.1"), ("eth0", "172.18.0.1")] {
        let plan = plan_default_route(&name(interface), &[gateway.parse().unwrap()]);
        world.host.within(|| Network::open().unwrap().apply(&plan, Some(one.fd()))).unwrap();
        let route = one.run("ip", &["route", "show", "default"]);
        assert_eq!(route.trim(), format!("default via {gateway} dev {interface}"));
    }
    world.host.within(|| Network::open().unwrap().detach(Some(one.fd()), &second)).unwrap();
    assert!(one.ask_tcp("172.19.0.2:80").is_err());
    assert_eq!(one.run("ip", &["-o", "link"]).lines().count(), 2, "lo and eth0");
}

#[test]
fn an_endpoint_has_its_own_parameters_and_mtu() {
    if !can_run() {
        return;
    }
    let world = World::new();
    two_networks(&world);
    let container = Namespace::of_container();
    let mut endpoint = endpoint("br-a", 1, &["172.18.0.2/16"], &["172.18.0.1"]);
    endpoint.mtu = Some(1400);
    endpoint.sysctls = EndpointSysctl::parse_list("net.ipv4.conf.IFNAME.log_martians=1").unwrap();
    world.host.within(|| Network::open().unwrap().attach(container.fd(), &endpoint)).unwrap();
    let read =
        |path: &str| container.within(|| std::fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap());
    assert_eq!(read("ipv4/conf/eth0/log_martians"), "1\n");
    // A neighbour that says it is a router is not listened to.
    assert_eq!(read("ipv6/conf/eth0/accept_ra"), "0\n");
    assert_eq!(read("ipv6/conf/eth0/disable_ipv6"), "1\n");
    let on_host =
        |path: &str| world.host.within(|| std::fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap());
    assert_eq!(on_host("ipv6/conf/br-a/accept_ra"), "0\n");
    assert!(container.run("ip", &["link", "show", "eth0"]).contains("mtu 1400"));
    assert!(world.host.run("ip", &["link", "show", "veth0000001"]).contains("mtu 1400"));
    endpoint.sysctls = EndpointSysctl::parse_list("net.ipv4.conf.IFNAME.no_such=1").unwrap();
    let fresh = Namespace::of_container();
    let error = world.host.within(|| Network::open().unwrap().attach(fresh.fd(), &endpoint)).unwrap_err();
    let words = "write(\"/proc/sys/net/ipv4/conf/eth0/no_such\", \"1\") = ENOENT: No such file or directory";
    assert!(error.to_string().ends_with(words), "{error}");
}

#[test]
fn containers_have_addresses_of_their_own_on_a_link_of_the_host() {
    if !can_run() {
        return;
    }
    let world = World::new();
    // What a container's interface is called is nothing to the host's.
    world.host.run("ip", &["link", "add", "eth0", "type", "bridge"]);
    let on_uplink = |number: u8, mode| Endpoint {
        attachment: Attachment::Macvlan { parent: name("uplink"), mode },
        ..endpoint("unused", number, &[&format!("192.0.2.{number}/24")], &["192.0.2.2"])
    };
    // Addresses of their own for each mode: the kernel takes a moment to remove the interfaces of a namespace that ends.
    for (first, mode, reach_each_other) in
        [(11, MacvlanMode::Bridge, true), (21, MacvlanMode::Private, false), (41, MacvlanMode::Vepa, false)]
    {
        let (first_endpoint, second_endpoint) = (on_uplink(first, mode), on_uplink(first + 1, mode));
        let server_address = format!("192.0.2.{first}:80");
        let (one, two) = (Namespace::of_container(), Namespace::of_container());
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            network.attach(one.fd(), &first_endpoint).unwrap();
            network.attach(two.fd(), &second_endpoint).unwrap();
        });
        let _server = one.serve_tcp(80);
        assert_eq!(world.neighbour.ask_tcp(&server_address).unwrap(), "192.0.2.2");
        assert_eq!(two.ask_tcp(&server_address).is_ok(), reach_each_other);
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            network.detach(Some(two.fd()), &second_endpoint).unwrap();
            network.detach(Some(two.fd()), &second_endpoint).unwrap();
        });
        assert_eq!(two.run("ip", &["-o", "link"]).lines().count(), 1, "only lo is left");
    }
    let taken = Namespace::of_container();
    world.host.within(|| {
        let mut network = Network::open().unwrap();
        network.attach(taken.fd(), &on_uplink(31, MacvlanMode::Bridge)).unwrap();
        let error = network.attach(taken.fd(), &on_uplink(32, MacvlanMode::Bridge)).unwrap_err();
        assert!(error.to_string().contains("EEXIST"), "{error}");
    });
    assert!(taken.run("ip", &["address"]).contains("192.0.2.31"), "the one that was there stays");
    assert_eq!(taken.run("ip", &["-o", "link"]).lines().count(), 2, "and nothing else");
}

#[test]
fn one_container_alone_has_a_link_that_is_passed_through() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let alone = |number: u8| Endpoint {
        attachment: Attachment::Macvlan { parent: name("uplink"), mode: MacvlanMode::Passthru },
        ..endpoint("unused", number, &[&format!("192.0.2.{number}/24")], &["192.0.2.2"])
    };
    let (one, two) = (Namespace::of_container(), Namespace::of_container());
    world.host.within(|| Network::open().unwrap().attach(one.fd(), &alone(11))).unwrap();
    let _server = one.serve_tcp(80);
    assert_eq!(world.neighbour.ask_tcp("192.0.2.11:80").unwrap(), "192.0.2.2");
    let error = world.host.within(|| Network::open().unwrap().attach(two.fd(), &alone(12))).unwrap_err();
    assert!(error.to_string().contains("container: macvlan"), "{error}");
    assert_eq!(two.run("ip", &["-o", "link"]).lines().count(), 1, "nothing is left of it");
}

/// An ipvlan on the uplink; in the third layer with a subnet of its own and no next hop.
fn ipvlan(number: u8, mode: IpvlanMode, flag: IpvlanFlag) -> Endpoint {
    let (address, gateways, routes): (_, &[&str], _) = match mode {
        IpvlanMode::L2 => (format!("192.0.2.{number}/24"), &["192.0.2.2"], vec![]),
        IpvlanMode::L3 | IpvlanMode::L3s => (
            format!("10.9.0.{number}/24"),
            &[],
            vec![Route { destination: prefix("0.0.0.0/0"), gateway: None }],
        ),
    };
    let attachment = Attachment::Ipvlan { parent: name("uplink"), mode, flag };
    Endpoint { attachment, routes, ..endpoint("unused", number, &[&address], gateways) }
}

#[test]
fn containers_share_the_hardware_address_of_a_link_of_the_host() {
    use IpvlanFlag::{Bridge, Private, Vepa};
    use IpvlanMode::{L2, L3, L3s};
    if !can_run() {
        return;
    }
    let probe = ["link", "add", "probe", "link", "uplink", "type", "ipvlan"];
    if !kernel_has("ipvlan", World::new().host.try_run("ip", &probe)) {
        return;
    }
    for (mode, flag, reach_each_other) in [
        (L2, Bridge, true),
        (L2, Private, false),
        (L2, Vepa, false),
        (L3, Bridge, true),
        (L3, Private, false),
        (L3s, Bridge, true),
    ] {
        let world = World::new();
        world.host.run("ip", &["link", "add", "eth0", "type", "bridge"]);
        let (one, two) = (Namespace::of_container(), Namespace::of_container());
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            network.attach(one.fd(), &ipvlan(11, mode, flag)).unwrap();
            network.attach(two.fd(), &ipvlan(12, mode, flag)).unwrap();
        });
        let address = if mode == L2 { "192.0.2.11:80" } else { "10.9.0.11:80" };
        let _server = one.serve_tcp(80);
        assert_eq!(world.neighbour.ask_tcp(address).unwrap(), "192.0.2.2", "{mode:?} {flag:?}");
        assert_eq!(two.ask_tcp(address).is_ok(), reach_each_other, "{mode:?} {flag:?}");
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            for _ in 0..2 {
                network.detach(Some(two.fd()), &ipvlan(12, mode, flag)).unwrap();
            }
        });
        assert_eq!(two.run("ip", &["-o", "link"]).lines().count(), 1, "only lo is left");
    }
}

#[test]
fn a_vlan_of_a_link_of_the_host_is_made() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let probe = ["link", "add", "probe", "link", "uplink", "type", "vlan", "id", "9"];
    if !kernel_has("VLANs", world.host.try_run("ip", &probe)) {
        return;
    }
    let plan = [NetOp::CreateVlan { interface: name("uplink.50"), parent: name("uplink"), id: 50 }];
    world.host.within(|| Network::open().unwrap().apply(&plan, None)).unwrap();
    let shown = world.host.run("ip", &["-d", "link", "show", "uplink.50"]);
    assert!(shown.contains("vlan protocol 802.1Q id 50") && shown.contains("UP"), "{shown}");
}

#[test]
fn a_flushed_firewall_is_put_right_at_once() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let world = World::new();
    let ruleset = two_networks(&world);
    let watch = world.host.within(|| Network::open().unwrap().watch_firewall()).unwrap();
    let mut slowest = std::time::Duration::ZERO;
    for damage in
        ["flush ruleset", "delete table inet berth", "flush chain inet berth forward", "flush ruleset"]
    {
        world.host.run("nft", &[damage]);
        let begin = Instant::now();
        watch.wait().unwrap();
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            assert!(network.sync_firewall(&ruleset).unwrap().is_some(), "{damage}");
            assert_eq!(network.sync_firewall(&ruleset).unwrap(), None, "{damage}");
        });
        slowest = slowest.max(begin.elapsed());
    }
    println!("noticed and put right within {slowest:?}");
    assert!(slowest < std::time::Duration::from_secs(1));
}
