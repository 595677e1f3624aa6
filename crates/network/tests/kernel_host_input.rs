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

/// A directory of the test's own, removed with it.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(word: &str) -> Self {
        let path = std::env::temp_dir().join(format!("berth-test-{word}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_deny_of_ufw_is_understood() {
    if !can_run() || !has_program("ufw") {
        return;
    }
    let (host, scratch) = (Namespace::new(), Scratch::new("ufw"));
    let at = scratch.0.display();
    // ufw's own files are copied: those of this machine stay as they are.
    let run = |words: &str| {
        let script = format!(
            "mkdir -p {at} && [ -e {at}/ufw ] || cp -a /etc/ufw {at}/ufw && cp -a /etc/default/ufw {at}/default &&
             mount --bind {at}/ufw /etc/ufw && mount --bind {at}/default /etc/default/ufw && ufw {words}"
        );
        host.run("unshare", &["--mount", "sh", "-c", &script])
    };
    for words in
        ["allow 22/tcp", "allow from 10.0.0.0/8 to any port 82 proto tcp", "limit 2222/tcp", "--force enable"]
    {
        run(words);
    }
    let (refused, some) = ("refused by ufw", "depends on ufw");
    check(
        &host,
        &[
            ("*:22/tcp", "accepted"),
            ("*6:22/tcp", "accepted"),
            ("*:82/tcp", some),
            ("*6:82/tcp", refused),
            ("192.0.2.1:8080/tcp", refused),
            ("*:53/udp", refused),
        ],
    );
    run("allow 8080");
    check(&host, &[("*:8080/tcp", "accepted"), ("*6:8080/tcp", "accepted"), ("*:8080/udp", "accepted")]);
    run("--force disable");
    check(&host, &[("*:53/udp", "accepted")]);
}

/// firewalld with a bus of its own, ended with this value.
struct Firewalld {
    scratch: Scratch,
    daemons: Vec<std::process::Child>,
}

const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path=BUS</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
<allow send_type="method_call"/><allow send_type="signal"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>"#;

impl Firewalld {
    fn start(host: &Namespace) -> Self {
        let scratch = Scratch::new("firewalld");
        let bus = scratch.0.join("bus");
        let configuration = scratch.0.join("bus.conf");
        std::fs::write(&configuration, BUS.replace("BUS", bus.to_str().unwrap())).unwrap();
        let spawn = |program: &str, words: &[&str]| {
            host.within(|| {
                let mut command = std::process::Command::new(program);
                command.args(words).env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", bus.display()));
                command.stdout(std::process::Stdio::piped()).spawn().unwrap()
            })
        };
        let configuration = format!("--config-file={}", configuration.display());
        let mut daemon = spawn("dbus-daemon", &[&configuration, "--nofork", "--print-address"]);
        let mut output = std::io::BufReader::new(daemon.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut String::new()).unwrap();
        let own = scratch.0.join("firewalld");
        std::fs::create_dir_all(&own).unwrap();
        let firewalld =
            spawn("firewalld", &["--nofork", "--nopid", "--system-config", own.to_str().unwrap()]);
        Self { scratch, daemons: vec![firewalld, daemon] }
    }

    /// What `firewall-cmd` prints; it waits for its daemon.
    fn command(&self, host: &Namespace, words: &str) -> String {
        let bus = format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={}", self.scratch.0.join("bus").display());
        let wait = "gdbus wait --system --timeout 30 org.fedoraproject.FirewallD1";
        let ready = "for round in 1 2 3 4 5 6 7 8 9 10; do firewall-cmd --state -q && break; done";
        let script = format!("{wait}; {ready}; firewall-cmd {words}");
        host.run("env", &[&bus, "sh", "-c", &script])
    }
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }
}

#[test]
fn a_deny_of_firewalld_is_understood() {
    if !can_run() || !has_program("firewalld") || !has_program("dbus-daemon") {
        return;
    }
    let host = Namespace::new();
    let firewalld = Firewalld::start(&host);
    firewalld.command(&host, "--add-port=8000-8010/tcp");
    firewalld.command(&host, "--zone=trusted --add-interface=eth1");
    let rich =
        "--add-rich-rule='rule family=ipv4 source address=10.0.0.0/8 port port=82 protocol=tcp accept'";
    firewalld.command(&host, rich);
    let refused = "refused by firewalld";
    check(
        &host,
        &[
            ("*:22/tcp", "accepted"),
            ("*6:22/tcp", "accepted"),
            ("*:8005/tcp", "accepted"),
            ("*:8011/tcp", refused),
            ("*6:8080/tcp", refused),
            ("*:82/tcp", "depends on firewalld"),
            ("*:53/udp", refused),
        ],
    );
    assert_eq!(ask(&host, "*:8080/tcp", name("eth1")), "accepted", "a zone of another interface");
}
