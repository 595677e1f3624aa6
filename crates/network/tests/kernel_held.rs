//! Tables that are held: a flush by somebody else leaves them out, and the next daemon takes them over.

mod support;

use network::{Network, NetworkRules, Ruleset};
use support::{Namespace, World, bridge, can_run, container_on, has_program, kernel_has, name, prefix, tcp};

/// What somebody else would have to do to open or close something.
const DAMAGES: [&str; 7] = [
    "delete table inet berth",
    "flush table inet berth",
    "flush chain inet berth forward",
    "delete element inet berth published4 { tcp . 8080 }",
    "insert rule inet berth forward accept",
    "add chain inet berth more",
    "delete table bridge berth",
];

fn ruleset() -> Ruleset {
    let mut ruleset = Ruleset::default();
    ruleset.set_network("default", NetworkRules::new(name("docker0"), vec![prefix("172.17.0.0/16")]));
    ruleset.publish(tcp("0.0.0.0:8080", "172.17.0.2:80")).unwrap();
    ruleset.drop_foreign_forwarding = true;
    ruleset.hold = true;
    ruleset
}

/// Whether this kernel's tables can be held; says so when they cannot.
fn kernel_holds(host: &Namespace) -> bool {
    let keeps = host.within(|| Network::open().unwrap().keeps_tables()).unwrap();
    assert_eq!(host.run("nft", &["list", "tables"]), "", "the trial leaves nothing behind");
    kernel_has("tables that are held (Linux 6.9)", (keeps, "EOPNOTSUPP".to_owned()))
}

#[test]
fn a_flush_by_others_closes_nothing_and_opens_nothing() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let world = World::new();
    if !kernel_holds(&world.host) {
        return;
    }
    let mut ruleset = ruleset();
    let mut daemon = world.host.within(|| Network::open().unwrap());
    ruleset.guard_frames = world.host.within(|| daemon.sees_frames()).unwrap();
    world.host.within(|| {
        daemon.sync_firewall(&ruleset).unwrap();
        daemon.ensure_bridge(&bridge("docker0", &["172.17.0.1/16"])).unwrap();
    });
    let mut open = ruleset.clone();
    open.guard_frames = false;
    let one = container_on(&world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    let (_published, _unpublished) = (one.serve_tcp(80), one.serve_tcp(81));
    let check = |when: &str| {
        let neighbour = |to: &str| world.neighbour.ask_tcp(to);
        assert_eq!(neighbour("192.0.2.1:8080").as_deref(), Ok("192.0.2.2"), "{when}");
        assert!(neighbour("172.17.0.2:81").is_err(), "not published, {when}");
        assert_eq!(world.host.ask_tcp("127.0.0.1:8080").as_deref(), Ok("172.17.0.1"), "{when}");
    };
    world.host.within(|| daemon.change_firewall(&ruleset, &open)).unwrap();
    check("before");
    for damage in DAMAGES {
        let (done, words) = world.host.try_run("nft", &[damage]);
        assert!(!done && words.contains("Operation not permitted"), "{damage}: {words}");
    }
    world.host.run("nft", &["add rule inet berth-user user tcp dport 80 counter"]);
    world.host.run("nft", &["flush ruleset"]);
    check("after a flush, with nothing mended");
    let words = world.host.within(|| daemon.sync_firewall(&open)).unwrap();
    assert_eq!(words.as_deref(), Some("for the administrator: set bridges is missing"));
    assert_eq!(world.host.within(|| daemon.sync_firewall(&open)).unwrap(), None);
}

#[test]
fn the_next_daemon_takes_what_the_last_one_held() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let host = Namespace::new();
    if !kernel_holds(&host) {
        return;
    }
    let ruleset = ruleset();
    let mut more = ruleset.clone();
    more.publish(tcp("0.0.0.0:8081", "172.17.0.2:81")).unwrap();
    host.within(|| {
        let mut first = Network::open().unwrap();
        first.sync_firewall(&ruleset).unwrap();
        let mut second = Network::open().unwrap();
        assert_eq!(second.sync_firewall(&ruleset).unwrap(), None, "looking is free");
        let error = second.sync_firewall(&more).unwrap_err();
        assert!(error.is_held(), "{error}");
        let error = second.change_firewall(&ruleset, &more).unwrap_err();
        assert!(error.is_held(), "{error}");
        drop(first);
        assert_eq!(second.sync_firewall(&ruleset).unwrap().as_deref(), Some("nobody holds the tables"));
        assert_eq!(second.sync_firewall(&ruleset).unwrap(), None);
        second.change_firewall(&ruleset, &more).unwrap();
    });
    // While nobody holds them they are anybody's, as tables are; what was taken is put back whole.
    host.run("nft", &["delete element inet berth published4 { tcp . 8080 }"]);
    let words = host.within(|| Network::open().unwrap().sync_firewall(&more)).unwrap();
    assert_eq!(words.as_deref(), Some("map published4 has other elements"));
}

#[test]
fn tables_of_before_become_held_ones_unless_somebody_else_has_rules_there() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let (host, shared) = (Namespace::new(), Namespace::new());
    if !kernel_holds(&host) {
        return;
    }
    let ruleset = ruleset();
    let mut free = ruleset.clone();
    free.hold = false;
    for namespace in [&host, &shared] {
        namespace.within(|| Network::open().unwrap().sync_firewall(&free)).unwrap();
    }
    host.within(|| {
        let mut network = Network::open().unwrap();
        assert_eq!(network.sync_firewall(&ruleset).unwrap().as_deref(), Some("nobody holds the tables"));
        assert_eq!(network.sync_firewall(&ruleset).unwrap(), None);
        assert!(!host.try_run("nft", &["flush table inet berth"]).0);
    });
    shared.run("nft", &["add chain inet berth theirs"]);
    shared.within(|| {
        let mut network = Network::open().unwrap();
        assert_eq!(network.sync_firewall(&ruleset).unwrap(), None);
        shared.run("nft", &["flush chain inet berth forward"]);
        assert!(network.sync_firewall(&ruleset).unwrap().is_some());
    });
    assert!(shared.run("nft", &["list", "ruleset"]).contains("chain theirs"));
}

#[test]
fn who_is_allowed_everything_in_a_container_may_not_touch_the_hosts_tables() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let (host, container) = (Namespace::new(), Namespace::of_container());
    if !kernel_holds(&host) {
        return;
    }
    let ruleset = ruleset();
    let mut daemon = host.within(|| Network::open().unwrap());
    host.within(|| daemon.sync_firewall(&ruleset)).unwrap();
    container.run("nft", &["flush ruleset"]);
    assert_eq!(host.within(|| daemon.sync_firewall(&ruleset)).unwrap(), None);
}
