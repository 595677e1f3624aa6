//! Streams that stay on the host are not paced where the host's default would pace them, and all others are as ever.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};

use network::{Network, Ruleset, UnpacedPorts};
use support::{Namespace, World, bridge, can_run, container_on, name, tcp};

const CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Makes a namespace pace, where the kernel has what paces, and lets namespaces choose it.
fn paces(host: &Namespace) -> bool {
    let made = host.within(|| std::fs::write(CONTROL, "bbr"));
    if let Err(error) = &made {
        println!("SKIP: bbr cannot be had here: {error}");
    }
    made.is_ok()
}

#[test]
fn routes_within_a_bridge_say_so() {
    let world = World::new();
    if !can_run() || !paces(&world.host) {
        return;
    }
    let addresses = ["172.17.0.1/16", "fd00:17::1/64"];
    let attach = |pace: bool| {
        let config = bridge("docker0", &addresses);
        world.host.within(|| {
            let mut network = Network::open().unwrap();
            if pace {
                network.keep_pacing();
            }
            network.ensure_bridge(&config).unwrap();
        });
    };
    attach(true);
    assert!(!world.host.run("ip", &["route"]).contains("congctl"), "it is left alone");
    attach(false);
    let shown = world.host.run("ip", &["route", "show", "172.17.0.0/16"]);
    assert!(
        shown.contains("proto kernel scope link src 172.17.0.1 ") && shown.contains("congctl reno"),
        "{shown}"
    );
    let shown = world.host.run("ip", &["-6", "route", "show", "fd00:17::/64"]);
    assert!(
        shown.replace("linkdown ", "").contains("proto kernel metric 256 congctl reno")
            && shown.lines().count() == 1,
        "{shown}"
    );

    let container = container_on(&world, "docker0", 1, &["172.17.0.2/16", "fd00:17::2/64"], &["172.17.0.1"]);
    let shown = container.run("ip", &["route", "show", "172.17.0.0/16"]);
    assert_eq!(shown.matches("congctl reno").count(), usize::from(paces_by_itself(&container)), "{shown}");
    let shown = container.run("ip", &["route", "show", "default"]);
    assert!(!shown.contains("congctl"), "who is elsewhere is paced: {shown}");
    let server = container.serve_tcp(80);
    for address in ["172.17.0.2:80", "[fd00:17::2]:80"] {
        assert!(world.host.ask_tcp(address).is_ok(), "{address}");
        assert_eq!(control_to(&world.host, address), "reno");
    }
    drop(server);
}

/// A new namespace has the machine's default, whatever its neighbours were given.
fn paces_by_itself(namespace: &Namespace) -> bool {
    namespace.within(|| std::fs::read_to_string(CONTROL)).unwrap().starts_with("bbr")
}

fn control_to(from: &Namespace, to: &str) -> String {
    let to: SocketAddr = to.parse().unwrap();
    let stream = from.within(move || TcpStream::connect(to).unwrap());
    linux::socket::congestion_control(&stream).unwrap()
}

#[test]
fn connections_of_the_host_to_its_published_ports_are_not_paced() {
    let host = Namespace::new();
    if !can_run() || !paces(&host) {
        return;
    }
    host.run("ip", &["address", "add", "192.0.2.1/32", "dev", "lo"]);
    // Nothing need be translated for this: the program is told of every connection.
    let listen = |address: &str| host.within(|| TcpListener::bind(address).unwrap());
    let listeners = [listen("0.0.0.0:0"), listen("[::1]:0"), listen("0.0.0.0:0")];
    let [published, published_ipv6, other] = listeners.each_ref().map(|one| one.local_addr().unwrap().port());
    let mut ruleset = Ruleset::default();
    ruleset.set_network("n", network::NetworkRules::new(name("docker0"), Vec::new()));
    for port in [published, published_ipv6] {
        ruleset.publish(tcp(&format!("127.0.0.1:{port}"), "172.17.0.2:80")).unwrap();
    }
    let mut ports = UnpacedPorts::default();
    if let Err(error) = host.within(|| ports.follow(&ruleset)) {
        println!("SKIP: no program for sockets: {error}");
        return;
    }
    let control = |to: String| control_to(&host, &to);
    assert_eq!(control(format!("127.0.0.1:{published}")), "reno");
    assert_eq!(control(format!("192.0.2.1:{published}")), "reno");
    assert_eq!(control(format!("[::1]:{published_ipv6}")), "reno");
    assert_eq!(control(format!("127.0.0.1:{other}")), "bbr", "it is not published");
    // From one address to another: it may be the port of somebody else.
    assert_eq!(control(format!("127.0.0.2:{published}")), "bbr");

    // In another namespace it is somebody else's port.
    let neighbour = Namespace::new();
    let _listener = neighbour.within(|| TcpListener::bind(("127.0.0.1", published)).unwrap());
    if paces(&neighbour) {
        assert_eq!(control_to(&neighbour, &format!("127.0.0.1:{published}")), "bbr");
    }

    host.within(|| ports.follow(&Ruleset::default())).unwrap();
    assert_eq!(control(format!("127.0.0.1:{published}")), "bbr", "it is not published any more");
    host.within(|| ports.follow(&ruleset)).unwrap();
    assert_eq!(control(format!("127.0.0.1:{published}")), "reno");
    drop(ports);
    assert_eq!(control(format!("127.0.0.1:{published}")), "bbr", "it ends with the daemon");
}
