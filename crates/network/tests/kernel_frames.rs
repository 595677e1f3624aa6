//! Forged frames: a container says that it is somebody else, or a router, and nobody hears it.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

use network::{BridgePort, Guard, MacAddress, Network, NetworkRules, Ruleset};
use support::{Namespace, World, bridge, can_run, container_on, has_program, name, prefix};

const ATTACKER: MacAddress = MacAddress([2, 0x42, 0, 0, 1, 2]);
const VICTIM: MacAddress = MacAddress([2, 0x42, 0, 0, 1, 3]);
const EVERYBODY: [u8; 6] = [0xff; 6];

/// Opens a packet socket on eth0, `$index`.
const OPEN: &str = r#"
    socket(my $s, 17, 3, 0x0300) or die "socket: $!";
    my $request = pack("a16 i", "eth0", 0);
    ioctl($s, 0x8933, $request) or die "SIOCGIFINDEX: $!";
    my $index = (unpack("a16 i", $request))[1];
"#;
/// Sends each frame that is given in hexadecimal digits.
const SEND: &str = r#"
    for my $frame (map { pack("H*", $_) } @ARGV) {
        my $to = pack("S n i S C C a8", 17, 3, $index, 0, 0, 6, substr($frame, 0, 6));
        send($s, $frame, 0, $to) or die "send: $!";
    }
"#;
/// Prints the names at the ends of the frames that come, until the last.
const LISTEN: &str = r#"
    bind($s, pack("S n i S C C a8", 17, 3, $index, 0, 0, 0, "")) or die "bind: $!";
    $| = 1;
    print "ready\n";
    while (1) {
        recv($s, my $frame, 2048, 0) // die "recv: $!";
        my ($mark) = $frame =~ /<([^<>]*)>\z/ or next;
        last if $mark eq "the end";
        print "$mark\n";
    }
"#;

fn ethernet(from: MacAddress, carried: u16, payload: &[u8]) -> Vec<u8> {
    [&EVERYBODY[..], &from.0, &carried.to_be_bytes(), payload].concat()
}

fn ipv4(source: &str) -> Vec<u8> {
    let (source, to): (Ipv4Addr, Ipv4Addr) = (source.parse().unwrap(), [172, 18, 0, 3].into());
    let start = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    [&start[..], &source.octets(), &to.octets(), &[0, 9, 0, 9, 0, 8, 0, 0]].concat()
}

fn arp(hardware: MacAddress, address: &str) -> Vec<u8> {
    let address: Ipv4Addr = address.parse().unwrap();
    let start = [0, 1, 8, 0, 6, 4, 0, 2];
    [&start[..], &hardware.0, &address.octets(), &EVERYBODY, &[172, 18, 0, 3]].concat()
}

/// An IPv6 packet to all nodes, with an extension header when asked for.
fn ipv6(source: &str, extended: bool, next: u8, payload: &[u8]) -> Vec<u8> {
    let (source, to): (Ipv6Addr, Ipv6Addr) = (source.parse().unwrap(), "ff02::1".parse().unwrap());
    let extension: &[u8] = if extended { &[next, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
    let length = u16::try_from(payload.len() + extension.len()).unwrap().to_be_bytes();
    let first = if extended { 0 } else { next };
    let start = [0x60, 0, 0, 0, length[0], length[1], first, 255];
    [&start[..], &source.octets(), &to.octets(), extension, payload].concat()
}

fn icmpv6(kind: u8, target: &str) -> Vec<u8> {
    let target: Ipv6Addr = target.parse().unwrap();
    [&[kind, 0, 0, 0, 0x20, 0, 0, 0][..], &target.octets()].concat()
}

/// What the attacker says, by name, with the guards that let it through.
fn frames() -> Vec<(&'static str, Vec<u8>, &'static [Guard])> {
    use Guard::{Announcements, Off, Sources};
    const OWN4: &str = "172.18.0.2";
    const OWN6: &str = "fd00:18::2";
    const LINK_LOCAL: &str = "fe80::42:ff:fe00:102";
    let all: &[Guard] = &[Sources, Announcements, Off];
    let trusted: &[Guard] = &[Announcements, Off];
    let off: &[Guard] = &[Off];
    let (advertisement, redirect, neighbour) = (134, 137, 136);
    let packet = |source, payload: &[u8]| ipv6(source, false, 58, payload);
    let list = [
        ("an IPv4 packet", 0x0800, ipv4(OWN4), all),
        ("an IPv4 packet of the victim", 0x0800, ipv4("172.18.0.3"), trusted),
        ("an IPv4 packet from elsewhere", 0x0800, ipv4("192.0.2.9"), trusted),
        ("where it is", 0x0806, arp(ATTACKER, OWN4), all),
        ("that it is the gateway", 0x0806, arp(ATTACKER, "172.18.0.1"), trusted),
        ("that its address is at the victim's", 0x0806, arp(VICTIM, OWN4), trusted),
        ("an IPv6 packet", 0x86dd, ipv6(OWN6, false, 17, &[0, 9, 0, 9, 0, 8, 0, 0]), all),
        ("an IPv6 packet of the victim", 0x86dd, ipv6("fd00:18::3", false, 17, &[0; 8]), trusted),
        ("an IPv6 packet of its link", 0x86dd, packet(LINK_LOCAL, &icmpv6(135, OWN6)), all),
        ("an IPv6 packet of another's link", 0x86dd, packet("fe80::1", &icmpv6(135, OWN6)), trusted),
        ("where it is by IPv6", 0x86dd, packet(OWN6, &icmpv6(neighbour, OWN6)), all),
        ("that it is the gateway by IPv6", 0x86dd, packet(OWN6, &icmpv6(neighbour, "fd00:18::1")), trusted),
        ("that it is a router", 0x86dd, packet(LINK_LOCAL, &icmpv6(advertisement, "::")), off),
        (
            "that it is a router, behind an extension",
            0x86dd,
            ipv6(LINK_LOCAL, true, 58, &icmpv6(advertisement, "::")),
            off,
        ),
        ("a better way", 0x86dd, packet(LINK_LOCAL, &icmpv6(redirect, "fd00:18::1")), off),
        ("something else", 0x88b5, vec![0; 50], all),
    ];
    let mut frames: Vec<_> = list
        .into_iter()
        .map(|(words, carried, payload, guards)| (words, ethernet(ATTACKER, carried, &payload), guards))
        .collect();
    frames.push(("something as the victim", ethernet(VICTIM, 0x88b5, &[0; 50]), trusted));
    frames.push(("an IPv4 packet as the victim", ethernet(VICTIM, 0x0800, &ipv4(OWN4)), trusted));
    frames
}

/// A frame with a name at its end, as hexadecimal digits. Packets are made to be as long as they say, and right.
fn marked(frame: &[u8], words: &str) -> String {
    let mark = format!("<{words}>");
    let mut bytes = [frame, mark.as_bytes()].concat();
    let mut lengthen = |at: usize| {
        let length = u16::from_be_bytes([bytes[at], bytes[at + 1]]) + u16::try_from(mark.len()).unwrap();
        bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
    };
    match (frame[12], frame[13]) {
        (0x08, 0x00) => {
            lengthen(16);
            let pairs = bytes[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let sum: u32 = pairs.sum();
            let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
            bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        (0x86, 0xdd) => lengthen(18),
        _ => {}
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn perl(namespace: &Namespace, script: &str, arguments: &[String]) -> std::process::Child {
    namespace.within(|| {
        let mut command = Command::new("perl");
        command.args(["-e", &format!("{OPEN}{script}")]).args(arguments);
        command.stdout(Stdio::piped()).spawn().unwrap()
    })
}

/// What the victim hears of these frames. What the attacker says last goes a way that nothing blocks.
fn heard(world: &World, attacker: &Namespace, victim: &Namespace, frames: &[(&str, Vec<u8>)]) -> Vec<String> {
    let mut listener = perl(victim, LISTEN, &[]);
    let mut output = BufReader::new(listener.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let forged: Vec<String> = frames.iter().map(|(words, frame)| marked(frame, words)).collect();
    assert!(perl(attacker, SEND, &forged).wait().unwrap().success());
    // Frames of one bridge are handled in order: the last one is not overtaken by those before.
    let end = ethernet(MacAddress([2, 0x42, 0, 0, 0, 1]), 0x88b5, &[0; 50]);
    let send = SEND.to_owned();
    let open = OPEN.replace("\"eth0\"", "\"br0\"");
    let last = marked(&end, "the end");
    world.host.run("perl", &["-e", &format!("{open}{send}"), &last]);
    let mut all = String::new();
    output.read_to_string(&mut all).unwrap();
    assert!(listener.wait().unwrap().success());
    all.lines().map(str::to_owned).collect()
}

#[test]
fn nobody_hears_a_container_that_speaks_for_others() {
    if !can_run() || !has_program("perl") {
        return;
    }
    let world = World::new();
    let mut rules = Ruleset::default();
    rules.guard_frames = true;
    let subnets = vec![prefix("172.18.0.0/16"), prefix("fd00:18::/64")];
    rules.set_network("n", NetworkRules::new(name("br0"), subnets));
    let port = |mac, addresses: [&str; 2], guard| BridgePort {
        mac,
        addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
        guard,
    };
    rules.set_port(&name("veth0000003"), port(VICTIM, ["172.18.0.3", "fd00:18::3"], Guard::Sources));
    let sync = |rules: &Ruleset| world.host.within(|| Network::open().unwrap().sync_firewall(rules)).unwrap();
    assert!(world.host.within(|| Network::open().unwrap().sees_frames()).unwrap());
    sync(&rules);
    let config = bridge("br0", &["172.18.0.1/16", "fd00:18::1/64"]);
    world.host.within(|| Network::open().unwrap().ensure_bridge(&config)).unwrap();
    let attacker = container_on(&world, "br0", 2, &["172.18.0.2/16", "fd00:18::2/64"], &[]);
    let victim = container_on(&world, "br0", 3, &["172.18.0.3/16", "fd00:18::3/64"], &[]);
    let frames = frames();
    let said: Vec<(&str, Vec<u8>)> = frames.iter().map(|(words, frame, _)| (*words, frame.clone())).collect();
    assert_eq!(heard(&world, &attacker, &victim, &said), Vec::<String>::new(), "a port that is not known");
    for guard in [Guard::Sources, Guard::Announcements, Guard::Off] {
        let before = rules.clone();
        rules.set_port(&name("veth0000002"), port(ATTACKER, ["172.18.0.2", "fd00:18::2"], guard));
        world.host.within(|| Network::open().unwrap().change_firewall(&before, &rules)).unwrap();
        assert_eq!(sync(&rules), None, "the change made what a fresh start would have");
        let expected: Vec<&str> =
            frames.iter().filter(|(.., guards)| guards.contains(&guard)).map(|(words, ..)| *words).collect();
        assert_eq!(heard(&world, &attacker, &victim, &said), expected, "{guard:?}");
    }
}

#[test]
fn guarded_containers_reach_each_other_and_the_outside() {
    if !can_run() {
        return;
    }
    let world = World::new();
    let mut rules = Ruleset::default();
    rules.guard_frames = true;
    let subnets = vec![prefix("172.18.0.0/16"), prefix("fd00:18::/64")];
    rules.set_network("n", NetworkRules::new(name("br0"), subnets));
    for number in [2, 3] {
        let addresses = [format!("172.18.0.{number}"), format!("fd00:18::{number}")];
        let port = BridgePort {
            mac: MacAddress([2, 0x42, 0, 0, 1, number]),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            guard: Guard::Sources,
        };
        rules.set_port(&name(&format!("veth{number:07x}")), port);
    }
    world.host.within(|| Network::open().unwrap().sync_firewall(&rules)).unwrap();
    let config = bridge("br0", &["172.18.0.1/16", "fd00:18::1/64"]);
    world.host.within(|| Network::open().unwrap().ensure_bridge(&config)).unwrap();
    let container = |number: u8| {
        let addresses = [format!("172.18.0.{number}/16"), format!("fd00:18::{number}/64")];
        container_on(&world, "br0", number, &[&addresses[0], &addresses[1]], &["172.18.0.1", "fd00:18::1"])
    };
    let (one, other) = (container(2), container(3));
    let server = other.serve_tcp(80);
    let outside = world.neighbour.serve_tcp(80);
    for (address, seen) in [("172.18.0.3", "172.18.0.2"), ("[fd00:18::3]", "fd00:18::2")] {
        assert_eq!(one.ask_tcp(&format!("{address}:{}", server.port)).as_deref(), Ok(seen));
    }
    for (address, seen) in [("192.0.2.2", "192.0.2.1"), ("[2001:db8::2]", "2001:db8::1")] {
        assert_eq!(one.ask_tcp(&format!("{address}:{}", outside.port)).as_deref(), Ok(seen));
    }
}
