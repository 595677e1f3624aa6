//! Links, addresses and routes: what the plan says is what the kernel has, and nothing remains of it.

mod support;

use std::time::Instant;

use network::{Error, Network};
use support::{Namespace, World, bridge, can_run, container_on, endpoint};

#[test]
fn a_container_reaches_its_gateway_and_its_neighbours() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let config = bridge("docker0", &["172.17.0.1/16"]);
    world.host.within(|| Network::open().unwrap().ensure_bridge(&config)).unwrap();
    let one = container_on(&world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    let two = container_on(&world, "docker0", 2, &["172.17.0.3/16"], &["172.17.0.1"]);

    let server = one.serve_tcp(80);
    assert_eq!(world.host.ask_tcp("172.17.0.2:80").unwrap(), "172.17.0.1");
    assert_eq!(two.ask_tcp("172.17.0.2:80").unwrap(), "172.17.0.3");
    drop(server);

    let shown = one.run("ip", &["-o", "address", "show"]);
    assert!(shown.contains("inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0"), "{shown}");
    assert!(!shown.contains("inet6 fe80"), "IPv6 is off where it was not asked for: {shown}");
    assert!(shown.contains("inet 127.0.0.1/8"), "lo is up: {shown}");
    let link = one.run("ip", &["-o", "link", "show", "eth0"]);
    assert!(link.contains("link/ether 02:42:00:00:01:01"), "{link}");
    assert_eq!(one.run("ip", &["route"]).lines().next().unwrap().trim(), "default via 172.17.0.1 dev eth0");
}

#[test]
fn attaching_and_ensuring_can_be_repeated_and_undone() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    let config = bridge("docker0", &["172.17.0.1/16"]);
    let container = Namespace::of_container();
    let endpoint = endpoint("docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    host.within(|| {
        let mut network = Network::open().unwrap();
        network.ensure_bridge(&config).unwrap();
        network.ensure_bridge(&config).unwrap();
        network.attach(container.fd(), &endpoint).unwrap();
        // As after a crash between attaching and recording it.
        network.attach(container.fd(), &endpoint).unwrap();
        network.detach(Some(container.fd()), &endpoint).unwrap();
        network.detach(None, &endpoint).unwrap();
        network.remove_bridge(&config).unwrap();
        network.remove_bridge(&config).unwrap();
    });
    assert_eq!(host.run("ip", &["-o", "link"]).lines().count(), 1, "only lo is left");
    assert_eq!(container.run("ip", &["-o", "link"]).lines().count(), 1, "only lo is left");
}

#[test]
fn an_attachment_that_fails_leaves_nothing_behind() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    let config = bridge("docker0", &["172.17.0.1/16"]);
    let container = Namespace::of_container();
    let unreachable = endpoint("docker0", 1, &["172.17.0.2/16"], &["10.9.9.9"]);
    let elsewhere = endpoint("br-none", 2, &["172.17.0.2/16"], &[]);
    host.within(|| {
        let mut network = Network::open().unwrap();
        network.ensure_bridge(&config).unwrap();
        let error = network.attach(container.fd(), &unreachable).unwrap_err();
        assert_eq!(
            error.to_string(),
            "container: route 0.0.0.0/0 via 10.9.9.9 dev eth0: RTM_NEWROUTE(0.0.0.0/0 via 10.9.9.9 dev 2) = \
             ENETUNREACH: Network is unreachable (Nexthop has invalid gateway)"
        );
        let error = network.attach(container.fd(), &elsewhere).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    });
    assert_eq!(host.run("ip", &["-o", "link"]).lines().count(), 2, "lo and docker0");
    assert_eq!(container.run("ip", &["-o", "link"]).lines().count(), 1, "only lo is left");
}

#[test]
fn an_endpoint_can_have_both_families() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let config = bridge("br-six", &["172.18.0.1/16", "fd00:1::1/64"]);
    world.host.within(|| Network::open().unwrap().ensure_bridge(&config)).unwrap();
    let addresses = ["172.18.0.2/16", "fd00:1::2/64"];
    let one = container_on(&world, "br-six", 1, &addresses, &["172.18.0.1", "fd00:1::1"]);
    let _server = one.serve_tcp(80);
    assert_eq!(world.host.ask_tcp("[fd00:1::2]:80").unwrap(), "fd00:1::1");
    assert_eq!(world.host.ask_tcp("172.18.0.2:80").unwrap(), "172.18.0.1");
    let routes = one.run("ip", &["-6", "route"]);
    assert!(routes.contains("default via fd00:1::1 dev eth0"), "{routes}");
}

#[test]
fn attaching_is_quick() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    let config = bridge("docker0", &["172.17.0.1/16"]);
    host.within(|| Network::open().unwrap().ensure_bridge(&config)).unwrap();
    let containers: Vec<Namespace> = (0..40).map(|_| Namespace::of_container()).collect();
    let (mut attach, mut detach) = (Vec::new(), Vec::new());
    host.within(|| {
        let mut network = Network::open().unwrap();
        for (number, container) in (0u8..).zip(&containers) {
            let address = format!("172.17.0.{}/16", number + 2);
            let endpoint = endpoint("docker0", number, &[&address], &["172.17.0.1"]);
            let begin = Instant::now();
            network.attach(container.fd(), &endpoint).unwrap();
            attach.push(begin.elapsed());
        }
        for number in 0..40 {
            let endpoint = endpoint("docker0", number, &["172.17.0.2/16"], &["172.17.0.1"]);
            let begin = Instant::now();
            network.detach(None, &endpoint).unwrap();
            detach.push(begin.elapsed());
        }
    });
    attach.sort_unstable();
    detach.sort_unstable();
    println!("attach: min {:?}, median {:?}, max {:?}", attach[0], attach[20], attach[39]);
    println!("detach: min {:?}, median {:?}, max {:?}", detach[0], detach[20], detach[39]);
}
