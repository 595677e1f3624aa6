//! Networks on interfaces of the host (macvlan, ipvlan, VLANs), and endpoints that are late and lossy: what needs more of
//! the kernel than bridges do.

use crate::check::{Check, contains, same};
use crate::hosts::{Hosts, call};
use crate::scope::{Scope, eventually};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const AREA: &str = "uplinks";
const SERVER: &str = "exec nc -ll -p 80 -e echo hello";

pub(crate) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::new(AREA, "macvlan on an interface of the host, in each mode", macvlan),
        Check::new(AREA, "link-local addresses and other ways out are given", ways_out),
    ];
    // The machine tier's guest has a kernel with all kinds of links and queues; others need not have them.
    if std::env::var_os("BERTH_GUEST").is_some() {
        checks.extend([
            Check::new(AREA, "ipvlan on an interface of the host, in each mode", ipvlan),
            Check::new(AREA, "a VLAN of an interface is made for a network, and goes with it", vlan),
            Check::new(AREA, "an endpoint is as late and lossy as it is told, while it runs", late),
        ]);
    }
    checks
}

/// A network with a server `one` and a container `two`; addresses .11 and .12 of a subnet of /24.
fn serve(hosts: &Hosts, driver: &str, subnet: &str, options: &[&str]) -> Result<()> {
    let range = format!("{subnet}.0/24");
    let options: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
    let create = ["network", "create", "-d", driver, "--subnet", &range];
    let gateway = format!("{subnet}.2");
    let gateway: &[&str] = if subnet == "192.0.2" { &["--gateway", &gateway] } else { &[] };
    hosts.client.expect(&[&create[..], gateway, &options, &["lan"]].concat())?;
    for (name, last) in [("one", 11), ("two", 12)] {
        let address = format!("{subnet}.{last}");
        let flags = ["run", "-d", "--name", name, "--network", "lan", "--ip", &address];
        hosts.client.expect(&[&flags[..], &[crate::fixture::BUSYBOX, "sh", "-c", SERVER]].concat())?;
        eventually(&format!("an answer of {name} to itself"), || {
            Ok((answer(hosts, name, "127.0.0.1")?).then_some(()))
        })?;
    }
    Ok(())
}

fn answer(hosts: &Hosts, container: &str, address: &str) -> Result<bool> {
    Ok(hosts.client.call(&["exec", container, "nc", "-w", "1", address, "80"])?.stdout == "hello\n")
}

fn clear(hosts: &Hosts, containers: &[&str]) -> Result<()> {
    hosts.client.expect(&[&["rm", "-f"], containers].concat())?;
    hosts.client.expect(&["network", "rm", "lan"]).map(drop)
}

/// The neighbour reaches the server by its own address; the other container does, or does not.
fn reached(hosts: &Hosts, server: &str, by_the_other: bool) -> Result<()> {
    eventually(&format!("the neighbour reaches {server}"), || {
        Ok(hosts.reaches(&hosts.neighbour, server, "80")?.then_some(()))
    })?;
    if by_the_other {
        return eventually(&format!("the other container reaches {server}"), || {
            Ok(answer(hosts, "two", server)?.then_some(()))
        });
    }
    same("the other container", answer(hosts, "two", server)?, false)
}

fn macvlan(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &[])?;
    for (mode, by_the_other) in [("bridge", true), ("private", false), ("vepa", false)] {
        serve(&hosts, "macvlan", "192.0.2", &["parent=eth0", &format!("macvlan_mode={mode}")])?;
        reached(&hosts, "192.0.2.11", by_the_other)?;
        clear(&hosts, &["one", "two"])?;
    }
    // One container alone can have the interface for itself.
    let create = ["network", "create", "-d", "macvlan", "--subnet", "192.0.2.0/24", "--gateway", "192.0.2.2"];
    hosts
        .client
        .expect(&[&create[..], &["-o", "parent=eth0", "-o", "macvlan_mode=passthru", "lan"]].concat())?;
    let run = |name: &str| {
        let flags = ["run", "-d", "--name", name, "--network", "lan"];
        hosts.client.call(&[&flags[..], &[crate::fixture::BUSYBOX, "sh", "-c", SERVER]].concat())
    };
    run("one")?.expect_code(0)?;
    ensure!(run("two")?.code != 0, "a second container on an interface that is passed through");
    eventually("the neighbour reaches it", || {
        Ok(hosts.reaches(&hosts.neighbour, &hosts.address("one")?, "80")?.then_some(()))
    })?;
    clear(&hosts, &["one", "two"])?;
    hosts.close()
}

/// The kernel tests of crate network have all modes with all flags.
fn ipvlan(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &[])?;
    call("ip", &["-n", &hosts.neighbour, "route", "add", "10.219.0.0/24", "via", "192.0.2.1"])?;
    for (mode, flag, by_the_other) in [
        ("l2", "bridge", true),
        ("l2", "private", false),
        ("l2", "vepa", false),
        ("l3", "bridge", true),
        ("l3", "private", false),
        ("l3", "vepa", false),
        ("l3s", "bridge", true),
        ("l3s", "private", false),
        ("l3s", "vepa", false),
    ] {
        let subnet = if mode == "l2" { "192.0.2" } else { "10.219.0" };
        let options = [format!("ipvlan_mode={mode}"), format!("ipvlan_flag={flag}")];
        serve(&hosts, "ipvlan", subnet, &["parent=eth0", &options[0], &options[1]])?;
        reached(&hosts, &format!("{subnet}.11"), by_the_other)?;
        let inside = hosts.client.expect(&["exec", "one", "cat", "/sys/class/net/eth0/address"])?;
        let words = ["netns", "exec", &hosts.host, "cat", "/sys/class/net/eth0/address"];
        same(
            "the hardware address is the host's",
            inside.trim(),
            crate::hosts::printed("ip", &words)?.trim(),
        )?;
        clear(&hosts, &["one", "two"])?;
    }
    hosts.close()
}

fn vlan(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &[])?;
    let neighbour = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        call("ip", &[&["-n", &hosts.neighbour], &words[..]].concat())
    };
    neighbour("link add lan7 link eth0 type vlan id 7")?;
    neighbour("address add 10.218.0.2/24 dev lan7")?;
    neighbour("link set lan7 up")?;
    serve(&hosts, "macvlan", "10.218.0", &["parent=eth0.7"])?;
    reached(&hosts, "10.218.0.11", true)?;
    let links = || crate::hosts::printed("ip", &["-n", &hosts.host, "-o", "link"]);
    contains("links", &links()?, "eth0.7@eth0")?;
    clear(&hosts, &["one", "two"])?;
    ensure!(!links()?.contains("eth0.7"), "a VLAN without its network: {}", links()?);
    hosts.close()
}

fn late(scope: &Scope<'_>) -> Result<()> {
    let net = scope.name("net");
    scope.ok(&["network", "create", &net])?;
    let option = format!("name={net},driver-opt=berth.endpoint.egress_delay=120ms");
    let name = scope.start("late", &["--network", &option], &["sleep", "300"])?;
    let server = scope.start("server", &["--network", &net], &["sh", "-c", SERVER])?;
    let ping =
        |seconds: &str| scope.docker(&["exec", &name, "ping", "-q", "-c", "2", "-W", seconds, &server]);
    let delayed = |least: Duration| -> Result<()> {
        let begun = Instant::now();
        ping("30")?.expect_code(0)?;
        ensure!(begun.elapsed() >= least, "two answers after {:?}", begun.elapsed());
        Ok(())
    };
    delayed(Duration::from_millis(120))?;
    let shape = |options: serde_json::Value| {
        let body = serde_json::json!({"Container": name, "EndpointConfig": {"DriverOpts": options}});
        scope.api_json("POST", &format!("/networks/{net}/shape"), &body)?.expect(200)
    };
    shape(serde_json::json!({"berth.endpoint.egress_delay": "", "berth.endpoint.ingress_delay": "300ms"}))?;
    delayed(Duration::from_millis(300))?;
    shape(serde_json::json!({"berth.endpoint.ingress_delay": "", "berth.endpoint.egress_loss": "100%"}))?;
    same("all is lost", ping("1")?.code == 0, false)?;
    shape(serde_json::json!({"berth.endpoint.egress_loss": ""}))?;
    ping("30")?.expect_code(0)?;
    let queue = scope.ok(&["exec", &name, "tc", "qdisc", "show", "dev", "eth0"])?;
    ensure!(!queue.contains("netem"), "{queue}");
    Ok(())
}

fn ways_out(scope: &Scope<'_>) -> Result<()> {
    let flags = [
        ["--ipv6", "--bip", "10.77.0.1/24"],
        ["--default-gateway=10.77.0.9", "--bip6=fd00:77::1/64", "--default-gateway-v6=fd00:77::9"],
    ];
    let hosts = Hosts::new(scope, &flags.concat())?;
    hosts.serve("web", &[])?;
    for (family, expected) in
        [("-4", "default via 10.77.0.9 dev eth0"), ("-6", "default via fd00:77::9 dev eth0")]
    {
        contains(family, &hosts.client.expect(&["exec", "web", "ip", family, "route"])?, expected)?;
    }
    let aux =
        ["--aux-address", "DefaultGatewayIPv4=10.78.0.9", "--aux-address", "DefaultGatewayIPv6=fd00:78::9"];
    let subnets = ["--ipv6", "--subnet", "10.78.0.0/24", "--subnet", "fd00:78::/64"];
    hosts.client.expect(&[&["network", "create"], &subnets[..], &aux, &["own"]].concat())?;
    let local = ["--network", "own", "--link-local-ip", "169.254.7.8", "--link-local-ip", "fe80::7:8"];
    hosts.serve("local", &local)?;
    for (family, expected) in
        [("-4", "default via 10.78.0.9 dev eth0"), ("-6", "default via fd00:78::9 dev eth0")]
    {
        contains(family, &hosts.client.expect(&["exec", "local", "ip", family, "route"])?, expected)?;
    }
    let shown = hosts.client.expect(&["exec", "local", "ip", "address", "show", "eth0"])?;
    contains("addresses", &shown, "inet 169.254.7.8/16")?;
    contains("addresses", &shown, "inet6 fe80::7:8/64")?;
    let words =
        ["inspect", "-f", "{{(index .NetworkSettings.Networks \"own\").IPAMConfig.LinkLocalIPs}}", "local"];
    contains("inspect", &hosts.client.expect(&words)?, "169.254.7.8")?;
    let bad =
        ["run", "--rm", "--network", "own", "--link-local-ip", "10.78.0.5", crate::fixture::BUSYBOX, "true"];
    contains(
        "one that is none",
        &hosts.client.call(&bad)?.stderr,
        "invalid link-local IP address: 10.78.0.5",
    )?;
    hosts.close()
}
