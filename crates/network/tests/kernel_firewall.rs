//! The table in the kernel: nft(8) reads in it what we print, changes are whole or nothing, a flush is noticed.

mod support;

use std::time::Instant;

use network::{
    BridgePort, GatewayMode, Guard, MacAddress, Network, NetworkRules, Passage, Protocol, Refused, Ruleset,
};
use support::{Namespace, can_run, has_program, name, port, prefix};

/// A ruleset with everything in it.
fn full() -> Ruleset {
    let mut ruleset = Ruleset::default();
    ruleset.drop_foreign_forwarding = true;
    ruleset.accepted_mark = Some((0x10, 0xf0));
    let mut default =
        NetworkRules::new(name("docker0"), vec![prefix("172.17.0.0/16"), prefix("fd00:17::/64")]);
    default.trusted_interfaces = vec![name("eth1")];
    default.host_ipv4 = Some("192.0.2.7".parse().unwrap());
    let mut routed =
        NetworkRules::new(name("br-routed"), vec![prefix("172.18.0.0/23"), prefix("fd00:18::/64")]);
    routed.gateway_mode_ipv4 = GatewayMode::Routed;
    routed.gateway_mode_ipv6 = GatewayMode::Routed;
    let mut open = NetworkRules::new(name("br-open"), vec![prefix("172.19.0.0/16")]);
    open.gateway_mode_ipv4 = GatewayMode::NatUnprotected;
    open.communication = false;
    let mut internal = NetworkRules::new(name("br-int"), vec![prefix("172.20.0.0/16")]);
    internal.internal = true;
    ruleset.set_network("0d", default);
    ruleset.set_network("1r", routed);
    ruleset.set_network("2o", open);
    ruleset.set_network("3i", internal);
    for published in [
        port(Protocol::Tcp, "0.0.0.0:8080", "172.17.0.2:80"),
        port(Protocol::Udp, "127.0.0.1:53", "172.17.0.3:5353"),
        port(Protocol::Sctp, "0.0.0.0:9", "172.19.0.4:9"),
        port(Protocol::Tcp, "[::]:8080", "[fd00:17::2]:80"),
        port(Protocol::Tcp, "[2001:db8::1]:443", "[fd00:17::2]:443"),
        port(Protocol::Tcp, "0.0.0.0:81", "172.18.0.2:80"),
        port(Protocol::Tcp, "[::]:81", "[fd00:18::2]:80"),
    ] {
        ruleset.publish(published).unwrap();
    }
    let refused = |port, ipv6| Refused { interface: name("eth0"), ipv6, protocol: Protocol::Tcp, port };
    ruleset.set_refused([refused(8080, false), refused(443, true)].into());
    ruleset.let_pass([passage(80), passage(81)]);
    ruleset.guard_frames = true;
    for (number, guard) in [(1, Guard::Sources), (2, Guard::Announcements), (3, Guard::Off)] {
        let addresses = vec![[172, 17, 0, number].into(), "fd00:17::9".parse().unwrap()];
        let port = BridgePort { mac: MacAddress([2, 0, 0, 0, 0, number]), addresses, guard };
        ruleset.set_port(&name(&format!("veth{number}")), port);
    }
    ruleset
}

fn passage(port: u16) -> Passage {
    let (from, to) = ([172, 17, 0, 3].into(), [172, 17, 0, 2].into());
    Passage { bridge: name("docker0"), from, to, protocol: Protocol::Tcp, port }
}

/// The tables as a script. nft(8) 1.0.6 cannot read yet what a neighbour advertisement is about.
fn script_of(ruleset: &Ruleset) -> String {
    let frames = ruleset.frames().map(|table| table.to_string()).unwrap_or_default();
    format!("{}{}{}", ruleset.table(), ruleset.user(), without_neighbours(&frames))
}

fn without_neighbours(text: &str) -> String {
    let lines =
        text.lines().filter(|line| !line.contains("nd-neighbor-advert") && !line.contains("icmpv6 type 136"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// What nft(8) reads in the kernel, with the elements of each set in order.
fn list(host: &Namespace) -> String {
    let listed = without_neighbours(&host.run("nft", &["-n", "list", "ruleset"]));
    let mut lines: Vec<String> = Vec::new();
    let mut elements: Option<String> = None;
    for line in listed.lines() {
        if let Some(rest) = line.trim().strip_prefix("elements = {") {
            elements = Some(rest.to_owned());
        } else if let Some(more) = &mut elements {
            more.push_str(line);
        } else {
            lines.push(line.to_owned());
        }
        if let Some(all) = elements.take_if(|all| all.contains('}')) {
            let mut sorted: Vec<&str> = all.trim_end_matches([' ', '}']).split(',').map(str::trim).collect();
            sorted.sort_unstable();
            lines.push(sorted.join(", "));
        }
    }
    lines.join("\n")
}

#[test]
fn nft_reads_in_the_kernel_what_we_print() {
    if !can_run() || !has_program("nft") {
        return;
    }
    for ruleset in [Ruleset::default(), full()] {
        let (ours, theirs) = (Namespace::new(), Namespace::new());
        ours.within(|| Network::open().unwrap().sync_firewall(&ruleset)).unwrap();
        theirs.run_with_input("nft", &["-f", "-"], &script_of(&ruleset));
        assert_eq!(list(&ours), list(&theirs));
        let difference =
            theirs.within(|| Network::open().unwrap().observe_firewall().unwrap().difference(&ruleset));
        let unreadable = ruleset.guard_frames.then(|| "for frames: chain sources has other rules".to_owned());
        assert_eq!(difference, unreadable, "what nft wrote is what we would have written");
    }
}

#[test]
fn a_change_ends_where_a_fresh_start_does() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let mut small = full();
    small.remove_network("1r");
    small.unpublish(&port(Protocol::Tcp, "0.0.0.0:8080", "172.17.0.2:80"));
    let mut moved = small.clone();
    moved.publish(port(Protocol::Tcp, "0.0.0.0:8080", "172.17.0.9:80")).unwrap();
    moved.drop_foreign_forwarding = false;
    moved.ipv6_localhost = true;
    moved.set_refused([].into());
    moved.remove_port(&name("veth3"));
    moved.stop_passing(&[passage(81)].into());
    let port = BridgePort { guard: Guard::Sources, ..moved.ports()[&name("veth2")].clone() };
    moved.set_port(&name("veth2"), port);
    let mut empty = Ruleset::default();
    empty.guard_frames = true;
    let states = [empty.clone(), full(), small, moved, empty];
    let host = Namespace::new();
    host.within(|| Network::open().unwrap().sync_firewall(&states[0])).unwrap();
    for pair in states.windows(2) {
        let batch = pair[1].change_from(&pair[0]);
        let script = Namespace::new();
        script.run_with_input("nft", &["-f", "-"], &script_of(&pair[0]));
        script.run_with_input("nft", &["-f", "-"], &without_neighbours(&batch.to_string()));
        host.within(|| Network::open().unwrap().apply_firewall(&batch)).unwrap();
        let fresh = Namespace::new();
        fresh.within(|| Network::open().unwrap().sync_firewall(&pair[1])).unwrap();
        let sorted = |namespace: &Namespace| {
            let mut lines: Vec<String> = list(namespace).split('}').map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(sorted(&host), sorted(&fresh), "{batch}");
        assert_eq!(sorted(&host), sorted(&script), "{batch}");
        assert!(pair[1].change_from(&pair[1]).is_empty());
    }
}

#[test]
fn whatever_somebody_does_to_the_table_is_noticed_and_put_right() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let host = Namespace::new();
    let ruleset = full();
    let sync = || host.within(|| Network::open().unwrap().sync_firewall(&ruleset)).unwrap();
    assert_eq!(sync().as_deref(), Some("set bridges is missing"));
    assert_eq!(sync(), None);
    for (damage, words) in [
        ("flush ruleset", "set bridges is missing"),
        ("delete table inet berth", "set bridges is missing"),
        ("flush table inet berth", "chain published has other rules"),
        ("flush chain inet berth forward", "chain forward has other rules"),
        ("delete element inet berth published4 { tcp . 8080 }", "map published4 has other elements"),
        ("add element inet berth bridges { \"eth0\" }", "set bridges has other elements"),
        ("add rule inet berth forward accept", "chain forward has other rules"),
        (
            "chain inet berth forward { policy accept; }",
            "chain forward hangs elsewhere, or has another policy",
        ),
        ("add rule inet berth outward-0d accept", "chain outward-0d has other rules"),
        ("delete table inet berth-user", "for the administrator: set bridges is missing"),
        ("flush chain inet berth-user forward", "for the administrator: chain forward has other rules"),
        ("delete table bridge berth", "for frames: set hardware is missing"),
        ("flush chain bridge berth sources", "for frames: chain sources has other rules"),
        ("delete element bridge berth ports { \"veth1\" }", "for frames: map ports has other elements"),
    ] {
        host.run("nft", &[damage]);
        assert_eq!(sync().as_deref(), Some(words), "{damage}");
        assert_eq!(sync(), None, "{damage}");
    }
}

#[test]
fn the_administrators_rules_are_kept() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let host = Namespace::new();
    let ruleset = full();
    host.within(|| Network::open().unwrap().sync_firewall(&Ruleset::default())).unwrap();
    for line in [
        "add set inet berth-user mine { type ipv4_addr; }",
        "add chain inet berth-user helper",
        "add rule inet berth-user helper ip saddr @mine drop",
        "add rule inet berth-user user iifname @bridges jump helper",
    ] {
        host.run("nft", &[line]);
    }
    host.within(|| {
        let mut network = Network::open().unwrap();
        assert_eq!(network.observe_firewall().unwrap().difference(&Ruleset::default()), None);
        network.change_firewall(&Ruleset::default(), &ruleset).unwrap();
    });
    host.run("nft", &["flush chain inet berth forward"]);
    host.run("nft", &["flush chain inet berth-user forward"]);
    host.within(|| Network::open().unwrap().sync_firewall(&ruleset)).unwrap();
    let listed = list(&host);
    for line in ["iifname @bridges jump helper", "ip saddr @mine drop"] {
        assert!(listed.contains(line), "{listed}");
    }
}

#[test]
fn a_change_of_a_flushed_table_puts_all_of_it_right() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let host = Namespace::new();
    let (old, mut new) = (full(), full());
    new.unpublish(&port(Protocol::Tcp, "0.0.0.0:8080", "172.17.0.2:80"));
    host.within(|| Network::open().unwrap().sync_firewall(&old)).unwrap();
    host.run("nft", &["flush ruleset"]);
    host.within(|| {
        let mut network = Network::open().unwrap();
        let error = network.apply_firewall(&new.change_from(&old)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "delete element inet berth published4 { tcp . 8080 } = ENOENT: No such file or directory"
        );
        assert!(network.observe_firewall().unwrap().is_empty(), "nothing of a refused batch was done");
        network.change_firewall(&old, &new).unwrap();
        assert_eq!(network.observe_firewall().unwrap().difference(&new), None);
    });
}

#[test]
fn others_that_drop_forwarded_packets_are_seen() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let host = Namespace::new();
    let script = "add table ip filter\nadd chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }";
    host.run_with_input("nft", &["-f", "-"], script);
    let facts = host.within(|| {
        let mut network = Network::open().unwrap();
        network.sync_firewall(&full()).unwrap();
        network.gather_facts().unwrap()
    });
    let seen: Vec<String> = facts
        .forward_drops
        .iter()
        .map(|drop| format!("{} {} {}", drop.family, drop.table, drop.chain))
        .collect();
    assert_eq!(seen, ["ip filter FORWARD"]);
}

#[test]
fn a_thousand_ports_are_one_quick_change() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    let mut before = full();
    for number in 0..1000 {
        let host = format!("0.0.0.0:{}", 10_000 + number);
        before.publish(port(Protocol::Tcp, &host, &format!("172.17.1.2:{}", 10_000 + number))).unwrap();
    }
    let mut after = before.clone();
    after.publish(port(Protocol::Tcp, "0.0.0.0:9999", "172.17.0.2:99")).unwrap();
    host.within(|| {
        let mut network = Network::open().unwrap();
        let begin = Instant::now();
        network.sync_firewall(&before).unwrap();
        let thousand = begin.elapsed();
        let begin = Instant::now();
        let batch = after.change_from(&before);
        let difference = begin.elapsed();
        network.apply_firewall(&batch).unwrap();
        let one = begin.elapsed();
        let begin = Instant::now();
        assert_eq!(network.observe_firewall().unwrap().difference(&after), None);
        println!(
            "1000 ports: {thousand:?}; one more: {one:?} (of it the difference {difference:?}); looking: {:?}",
            begin.elapsed()
        );
    });
}
