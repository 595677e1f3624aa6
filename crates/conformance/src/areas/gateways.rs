//! Gateway modes and options of bridge networks, with a neighbour host that routes to the containers directly.

use crate::check::{Check, contains, same};
use crate::hosts::{Hosts, call, printed};
use crate::scope::{Scope, eventually};
use anyhow::{Context, Result, ensure};

const AREA: &str = "gateways";
const MODE: &str = "com.docker.network.bridge.gateway_mode_ipv";
/// Answers on port 80, which is published, and on port 81, which is not.
const SERVERS: &str =
    "(while :; do echo hello | nc -l -p 81; done) & while :; do echo hello | nc -l -p 80; done";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "each gateway mode lets a neighbour host in as far as it says, and no further",
            modes,
        ),
        Check::new(AREA, "trusted_host_interfaces opens a network to what is behind them", trusted),
        Check::new(
            AREA,
            "packets leave with the host's address, the one that was named, or their own",
            sources,
        ),
        Check::new(AREA, "inhibit_ipv4, bridge.name, mtu and the prefix of interfaces are kept to", links),
        Check::new(AREA, "host_binding_ipv4 is where ports are published when nobody says", binding),
        Check::new(
            AREA,
            "a port that a program of the host takes is refused, and nothing of the start is left",
            grabbed,
        ),
    ]
}

fn ip(name: &str, words: &str) -> Result<()> {
    let words: Vec<&str> = words.split(' ').collect();
    call("ip", &[&["-n", name], &words[..]].concat())
}

/// A network with subnets 10.221.`number`.0/24 and fd00:221:`number`::/64 and a server in it at .9 and ::9.
fn serve(hosts: &Hosts, number: u8, flags: &[&str], published: &[&str]) -> Result<()> {
    let name = format!("net{number}");
    let subnets = [format!("10.221.{number}.0/24"), format!("fd00:221:{number}::/64")];
    let create = ["network", "create", "--ipv6", "--subnet", &subnets[0], "--subnet", &subnets[1]];
    hosts.client.expect(&[&create[..], flags, &[&name]].concat())?;
    let addresses = [format!("10.221.{number}.9"), format!("fd00:221:{number}::9")];
    let run = ["run", "-d", "--name", &format!("web{number}"), "--network", &name];
    let at = ["--ip", &addresses[0], "--ip6", &addresses[1]];
    let command = [crate::fixture::BUSYBOX, "sh", "-c", SERVERS];
    hosts.client.expect(&[&run[..], &at, published, &command].concat())?;
    for port in ["80", "81"] {
        eventually(&format!("an answer of web{number} to itself"), || {
            let ask = ["exec", &format!("web{number}"), "nc", "-w", "5", "127.0.0.1", port];
            Ok((hosts.client.call(&ask)?.stdout == "hello\n").then_some(()))
        })?;
    }
    Ok(())
}

/// A neighbour that routes to the networks through the host.
fn neighbours(scope: &Scope<'_>, flags: &[&str]) -> Result<Hosts> {
    let hosts = Hosts::new(scope, flags)?;
    ip(&hosts.neighbour, "route add 10.221.0.0/16 via 192.0.2.1")?;
    ip(&hosts.neighbour, "-6 route add fd00:221::/32 via 2001:db8::1")?;
    Ok(hosts)
}

/// What the neighbour does not reach of the doors it knocks at: all at the same time, for each may take its while.
fn closed(hosts: &Hosts, doors: &[(String, &str)]) -> Result<Vec<String>> {
    std::thread::scope(|threads| {
        let knocks: Vec<_> = doors
            .iter()
            .map(|(address, port)| {
                (address, port, threads.spawn(|| hosts.reaches(&hosts.neighbour, address, port)))
            })
            .collect();
        let mut closed = Vec::new();
        for (address, port, knock) in knocks {
            if !knock.join().map_err(|_| anyhow::anyhow!("a knock panicked"))?? {
                closed.push(format!("{address} {port}"));
            }
        }
        Ok(closed)
    })
}

fn modes(scope: &Scope<'_>) -> Result<()> {
    let hosts = neighbours(scope, &[])?;
    let modes = ["nat", "nat-unprotected", "routed", "isolated"];
    for (mode, number) in modes.iter().zip(1..) {
        let options = [format!("{MODE}4={mode}"), format!("{MODE}6={mode}")];
        let mut flags = vec!["-o", &options[0], "-o", &options[1]];
        flags.extend((*mode == "isolated").then_some("--internal"));
        serve(&hosts, number, &flags, &["-p", &format!("808{number}:80")])?;
    }
    // What is open, by mode: the published port of the host, the same of the container, another one of the container.
    let table = [[true, false, false], [true, true, true], [false, true, false], [false, false, false]];
    let mut shut = Vec::new();
    for (row, number) in table.iter().zip(1..) {
        let host = format!("808{number}");
        for (on_host, container) in
            [("192.0.2.1", format!("10.221.{number}.9")), ("2001:db8::1", format!("fd00:221:{number}::9"))]
        {
            let doors = [(on_host.to_owned(), &*host), (container.clone(), "80"), (container, "81")];
            for (door, open) in doors.into_iter().zip(row) {
                let (address, port) = &door;
                if *open {
                    eventually(&format!("{} {address} {port}", modes[number - 1]), || {
                        Ok(hosts.reaches(&hosts.neighbour, address, port)?.then_some(()))
                    })?;
                } else {
                    shut.push((address.clone(), (*port).to_owned()));
                }
            }
        }
    }
    let doors: Vec<(String, &str)> = shut.iter().map(|(address, port)| (address.clone(), &**port)).collect();
    let all: Vec<String> = doors.iter().map(|(address, port)| format!("{address} {port}")).collect();
    same("what stays closed", closed(&hosts, &doors)?, all)?;
    for family in ["-4", "-6"] {
        let shown = printed("ip", &["-n", &hosts.host, family, "route"])?;
        let number = if family == "-4" { "10.221.4." } else { "fd00:221:4:" };
        ensure!(!shown.contains(number), "the host has no address in an isolated network:\n{shown}");
    }
    ping(&hosts, "10.221.3.9").context("a routed container answers ping")?;
    hosts.close()
}

fn ping(hosts: &Hosts, address: &str) -> Result<()> {
    let words = ["netns", "exec", &hosts.neighbour, "/bin/busybox", "ping", "-c", "1", "-W", "10", address];
    call("ip", &words)
}

fn trusted(scope: &Scope<'_>) -> Result<()> {
    let hosts = neighbours(scope, &[])?;
    let option = "com.docker.network.bridge.trusted_host_interfaces=eth7:eth0";
    serve(&hosts, 1, &["-o", option], &[])?;
    serve(&hosts, 2, &["-o", "com.docker.network.bridge.trusted_host_interfaces=eth7"], &[])?;
    for address in ["10.221.1.9", "fd00:221:1::9"] {
        eventually(&format!("an answer from {address}"), || {
            Ok(hosts.reaches(&hosts.neighbour, address, "81")?.then_some(()))
        })?;
    }
    let doors = ["10.221.2.9", "fd00:221:2::9"].map(|address| (address.to_owned(), "81"));
    same("closed to others", closed(&hosts, &doors)?.len(), 2)?;
    hosts.close()
}

fn sources(scope: &Scope<'_>) -> Result<()> {
    let hosts = neighbours(scope, &[])?;
    ip(&hosts.host, "address add 192.0.2.77/24 dev eth0")?;
    ip(&hosts.host, "address add 2001:db8::77/64 dev eth0 nodad preferred_lft 0")?;
    serve(&hosts, 1, &[], &[])?;
    let named =
        ["-o", "com.docker.network.host_ipv4=192.0.2.77", "-o", "com.docker.network.host_ipv6=2001:db8::77"];
    serve(&hosts, 2, &named, &[])?;
    serve(&hosts, 3, &["-o", "com.docker.network.bridge.enable_ip_masquerade=false"], &[])?;
    // The neighbour answers those alone who come from where they should.
    let table = "table inet who {
        set known { type ipv4_addr
        }
        set known6 { type ipv6_addr
        }
        chain asked { ip saddr @known accept; ip6 saddr @known6 accept; drop
        }
        chain input {
            type filter hook input priority 0; policy accept;
            icmp type echo-request jump asked
            icmpv6 type echo-request jump asked
        }
    }";
    let nft = |script: &str| call("ip", &["netns", "exec", &hosts.neighbour, "nft", script]);
    nft(table)?;
    for (number, v4, v6) in [
        ("1", "192.0.2.1", "2001:db8::1"),
        ("2", "192.0.2.77", "2001:db8::77"),
        ("3", "10.221.3.9", "fd00:221:3::9"),
    ] {
        nft("flush set inet who known; flush set inet who known6")?;
        nft(&format!("add element inet who known {{ {v4} }}; add element inet who known6 {{ {v6} }}"))?;
        for target in ["192.0.2.2", "2001:db8::2"] {
            let name = format!("web{number}");
            eventually(&format!("{target} sees {v4} and {v6}"), || {
                let output = hosts.client.call(&["exec", &name, "ping", "-c", "1", "-W", "5", target])?;
                Ok((output.code == 0).then_some(()))
            })?;
        }
    }
    hosts.close()
}

fn links(scope: &Scope<'_>) -> Result<()> {
    let hosts = neighbours(scope, &[])?;
    let options = [
        "com.docker.network.bridge.inhibit_ipv4=true",
        "com.docker.network.bridge.name=lan7",
        "com.docker.network.driver.mtu=1300",
        "com.docker.network.container_iface_prefix=lan",
    ];
    let flags: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
    serve(&hosts, 1, &flags, &[])?;
    let shown = printed("ip", &["-n", &hosts.host, "address", "show", "lan7"])?;
    contains("the bridge", &shown, "mtu 1300")?;
    contains("the bridge", &shown, "fd00:221:1::1/64")?;
    ensure!(!shown.contains("10.221.1.1"), "inhibit_ipv4: {shown}");
    let inside = hosts.client.expect(&["exec", "web1", "ip", "link", "show", "lan0"])?;
    contains("the container's interface", &inside, "mtu 1300")?;
    hosts.close()
}

fn binding(scope: &Scope<'_>) -> Result<()> {
    let hosts = neighbours(scope, &[])?;
    let option = "com.docker.network.bridge.host_binding_ipv4=127.0.0.1";
    serve(&hosts, 1, &["-o", option], &["-p", "8081:80", "-p", "192.0.2.1:8082:80"])?;
    eventually("an answer from the address that is named", || {
        Ok(hosts.reaches(&hosts.neighbour, "192.0.2.1", "8082")?.then_some(()))
    })?;
    hosts.answers_its_host("127.0.0.1", "8081")?;
    same("closed", closed(&hosts, &[("192.0.2.1".to_owned(), "8081")])?.len(), 1)?;
    hosts.close()
}

fn grabbed(scope: &Scope<'_>) -> Result<()> {
    let hosts = neighbours(scope, &[])?;
    let words = ["netns", "exec", &hosts.host, "/bin/busybox", "nc", "-l", "-p", "8085"];
    let mut program =
        std::process::Command::new("ip").args(words).stdin(std::process::Stdio::null()).spawn()?;
    let listens = || printed("ip", &["netns", "exec", &hosts.host, "ss", "-ltn"]);
    eventually("a program of the host", || Ok(listens()?.contains(":8085").then_some(())))?;
    let run = [
        "run",
        "-d",
        "--name",
        "late",
        "-p",
        "8084:80",
        "-p",
        "8085:80",
        crate::fixture::BUSYBOX,
        "sleep",
        "300",
    ];
    let refused = hosts.client.call(&run)?.expect_code(125)?;
    contains("the refusal", &refused.stderr, "8085")?;
    contains("the refusal", &refused.stderr, "address already in use")?;
    program.kill()?;
    program.wait()?;
    let rules =
        printed("ip", &["netns", "exec", &hosts.host, "nft", "list", "map", "inet", "berth", "published4"])?;
    ensure!(!rules.contains("808"), "rules of a container that did not start:\n{rules}");
    ensure!(!listens()?.contains(":8084"), "a port that is held for a container that did not start");
    let links = printed("ip", &["-n", &hosts.host, "-o", "link", "show", "master", "docker0"])?;
    same("links of a container that did not start", links, String::new())?;
    // The same container starts when the port is free.
    hosts.client.expect(&["start", "late"])?;
    hosts.close()
}
