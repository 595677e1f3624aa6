//! What the host's own firewall would do with a packet to a port: as nft, iptables, ufw and firewalld write it.

mod support;

use network::{Answer, InterfaceName, Knock, Network, Protocol};
use support::{Namespace, can_run, has_program, name};

fn ask(host: &Namespace, knock: &str, interface: InterfaceName) -> String {
    let (address, rest) = knock.rsplit_once(':').unwrap();
    let (port, protocol) = rest.split_once('/').unwrap();
    let any = address.starts_with('*');
    let knock = Knock {
        protocol: protocol.parse::<Protocol>().unwrap(),
        ipv6: address == "*6" || address.contains(':'),
        address: (!any).then(|| address.parse().unwrap()),
        port: port.parse().unwrap(),
        interface,
    };
    match host.within(|| Network::open().unwrap().read_host_input()).unwrap().ask(&knock) {
        Answer::Accepted => "accepted".to_owned(),
        Answer::Refused { by } => format!("refused by {by}"),
        Answer::Depends { by } => format!("depends on {by}"),
    }
}

/// Each knock with its answer, on eth0.
fn check(host: &Namespace, expected: &[(&str, &str)]) {
    let found: Vec<(&str, String)> =
        expected.iter().map(|(knock, _)| (*knock, ask(host, knock, name("eth0")))).collect();
    let found: Vec<(&str, &str)> = found.iter().map(|(knock, answer)| (*knock, answer.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_host_without_filters_accepts_everything() {
    if !can_run() {
        return;
    }
    check(&Namespace::new(), &[("*:80/tcp", "accepted"), ("*6:80/tcp", "accepted")]);
}

#[test]
fn rules_of_nft_are_understood() {
    if !can_run() || !has_program("nft") {
        return;
    }
    let host = Namespace::new();
    let script = r#"
        table inet filter {
            set open { type inet_service; flags interval; elements = { 1000-1999, 3000 } }
            map zones { type ifname : verdict; elements = { "eth1" : jump lenient } }
            chain lenient { tcp dport 5000 accept; }
            chain services {
                tcp dport { 22, 443 } accept
                tcp dport @open accept
                udp dport 60000-61000 accept
                ip daddr 192.0.2.1 tcp dport 81 accept
                ip saddr 10.0.0.0/8 tcp dport 82 accept
                meta mark & 0xff == 1 tcp dport 83 accept
                tcp dport 84 limit rate 1/second accept
                tcp dport 85 goto away
                tcp dport != 86 return
                tcp dport 86 counter log accept
            }
            chain away { meta nfproto ipv6 accept; }
            chain input {
                type filter hook input priority 0; policy drop;
                iifname "lo" accept
                ct state established,related accept
                ct state invalid drop
                iifname vmap @zones
                meta l4proto { icmp, ipv6-icmp } accept
                jump services
                fib daddr type local tcp dport 90 accept
                tcp dport 91 reject
            }
        }"#;
    host.run_with_input("nft", &["-f", "-"], script);
    let refused = "refused by the chain inet filter input";
    check(
        &host,
        &[
            ("*:22/tcp", "accepted"),
            ("*6:443/tcp", "accepted"),
            ("*:22/udp", refused),
            ("*:999/tcp", refused),
            ("*:1000/tcp", "accepted"),
            ("*:1999/tcp", "accepted"),
            ("*:2000/tcp", refused),
            ("*:3000/tcp", "accepted"),
            ("*:60500/udp", "accepted"),
            ("*:61001/udp", refused),
            ("192.0.2.1:81/tcp", "accepted"),
            ("192.0.2.2:81/tcp", refused),
            ("*:81/tcp", "depends on the chain inet filter input"),
            ("*:82/tcp", "depends on the chain inet filter input"),
            ("*6:82/tcp", refused),
            ("*:83/tcp", refused),
            ("*:84/tcp", "accepted"),
            ("*6:85/tcp", "accepted"),
            ("*:85/tcp", refused),
            ("*:86/tcp", "accepted"),
            ("*:90/tcp", "accepted"),
            ("*:91/tcp", refused),
            ("*:5000/tcp", refused),
        ],
    );
    assert_eq!(ask(&host, "*:5000/tcp", name("eth1")), "accepted");
    // A second filter has its own say.
    let script = "table ip other { chain last { type filter hook input priority 10; tcp dport 22 drop; }\n}";
    host.run_with_input("nft", &["-f", "-"], script);
    check(
        &host,
        &[
            ("*:22/tcp", "refused by the chain ip other last"),
            ("*6:22/tcp", "accepted"),
            ("*:443/tcp", "accepted"),
        ],
    );
}

#[test]
fn rules_of_iptables_are_understood() {
    if !can_run() || !has_program("iptables-nft") {
        return;
    }
    let host = Namespace::new();
    for rule in [
        "-P INPUT DROP",
        "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-A INPUT -m conntrack --ctstate INVALID -j DROP",
        "-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT",
        "-A INPUT -p tcp -m multiport --dports 443,8000:8010 -m comment --comment web -j ACCEPT",
        "-A INPUT -m addrtype --dst-type LOCAL -p udp --dport 53 -j ACCEPT",
        "-A INPUT -p udp --dport 54 -m limit --limit 1/s -j ACCEPT",
        "-A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT",
        "-A INPUT -p tcp --dport 1:1023 -j REJECT",
        "-A INPUT -i eth7 -j ACCEPT",
        "-A INPUT -p tcp --dport 9000 -m string --string x --algo bm -j ACCEPT",
    ] {
        let (done, output) = host.try_run("iptables-nft", &rule.split(' ').collect::<Vec<_>>());
        // Not every kernel has every match; those that it has not are not asked about.
        assert!(done || rule.contains("string") || rule.contains("limit"), "{rule}: {output}");
    }
    let refused = "refused by the chain ip filter INPUT";
    check(
        &host,
        &[
            ("*:80/tcp", "accepted"),
            ("*:443/tcp", "accepted"),
            ("*:8005/tcp", "accepted"),
            ("*:8011/tcp", refused),
            ("*:53/udp", "accepted"),
            ("*:22/tcp", "depends on the chain ip filter INPUT"),
            ("*:23/tcp", refused),
            ("*:5000/tcp", refused),
            ("*6:5000/tcp", "accepted"),
        ],
    );
    assert_eq!(ask(&host, "*:5000/tcp", name("eth7")), "accepted");
}
