//! Networks in their first form: none, host, the default bridge, and published ports.

use crate::check::{Check, contains, same, skip};
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

const AREA: &str = "network";

/// Answers every connection with one line and what it was asked.
const SERVER: &str = "echo ready; while :; do echo hello from $HOSTNAME | nc -l -p 80; done";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "none has a loopback and nothing else", none),
        Check::new(AREA, "host has the host's interfaces and ports", host),
        Check::new(AREA, "the bridge gives an address, a route and a resolver", bridge),
        Check::new(AREA, "two containers on the bridge reach each other", peers),
        Check::new(AREA, "a container reaches the host through its gateway", gateway),
        Check::new(AREA, "-p publishes on every address of the host", publish),
        Check::new(AREA, "-p 127.0.0.1: publishes on the loopback only", publish_loopback),
        Check::new(AREA, "-p without a host port chooses one, and says which", publish_any),
        Check::new(AREA, "-p publishes ranges of ports", publish_ranges),
        Check::new(AREA, "-p publishes UDP", publish_udp),
        Check::new(AREA, "a published port is reached from another container", publish_hairpin),
        Check::new(
            AREA,
            "a port that is taken is refused in Docker's words, and free again after rm",
            conflict,
        ),
        Check::new(AREA, "a port that a program of the host has is refused", conflict_with_host),
        Check::new(AREA, "inspect and ps show the ports", shown),
        Check::new(AREA, "addresses are given back", given_back),
        Check::new(AREA, "the three networks are there", predefined),
        Check::new(AREA, "apt-get update works in a Debian container", packages),
    ]
}

fn address(scope: &Scope<'_>, name: &str) -> Result<Ipv4Addr> {
    let found = scope.inspect(name)?;
    let text =
        found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].as_str().unwrap_or_default().to_owned();
    text.parse().with_context(|| format!("IPAddress of {name}: {text:?}"))
}

/// What a TCP server says by itself.
fn fetch(address: SocketAddr) -> Result<String> {
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).with_context(|| address.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// A port that nobody had a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

/// A container with the server of one line, and what is to be expected from it.
fn server(scope: &Scope<'_>, word: &str, flags: &[&str]) -> Result<(String, String)> {
    let name = scope.start(word, flags, &["sh", "-c", SERVER])?;
    scope.logged(&name, "ready")?;
    let hostname = scope.inspect(&name)?["Config"]["Hostname"].as_str().unwrap_or_default().to_owned();
    Ok((name, format!("hello from {hostname}\n")))
}

/// The first connections may come before the server listens again.
fn answers(scope: &Scope<'_>, address: SocketAddr, expected: &str) -> Result<()> {
    scope.eventually(&format!("{expected:?} from {address}"), || {
        Ok(fetch(address).is_ok_and(|text| text == expected).then_some(()))
    })
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn none(scope: &Scope<'_>) -> Result<()> {
    let text = scope.script(
        &["--network", "none"],
        "ls /sys/class/net; ip route; ip -o addr show lo | grep -c 127.0.0.1",
    )?;
    same("interfaces, routes, loopback", text, "lo\n1")
}

fn host(scope: &Scope<'_>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port().to_string();
    let answering = std::thread::spawn(move || -> std::io::Result<()> {
        listener.accept()?.0.write_all(b"from the host\n")
    });
    let text = scope.script(&["--network", "host"], &format!("nc 127.0.0.1 {port} < /dev/null"))?;
    same("a server of the host", text, "from the host")?;
    answering.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    same("hostname", scope.script(&["--network", "host"], "hostname")?, name.trim())
}

fn bridge(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("bridged", &[], &["sleep", "300"])?;
    let address = address(scope, &name)?;
    let inside = scope.ok(&["exec", &name, "ip", "-o", "-4", "addr", "show", "eth0"])?;
    contains("eth0", &inside, &format!("inet {address}/"))?;
    let settings = scope.inspect(&name)?["NetworkSettings"]["Networks"]["bridge"].take();
    let gateway = settings["Gateway"].as_str().unwrap_or_default().to_owned();
    contains(
        "route",
        &scope.ok(&["exec", &name, "ip", "route"])?,
        &format!("default via {gateway} dev eth0"),
    )?;
    contains("resolver", &scope.ok(&["exec", &name, "cat", "/etc/resolv.conf"])?, "nameserver ")?;
    let hostname = scope.ok(&["exec", &name, "hostname"])?;
    contains("hosts", &scope.ok(&["exec", &name, "cat", "/etc/hosts"])?, &format!("{address}\t{hostname}"))?;
    let mac = settings["MacAddress"].as_str().unwrap_or_default().to_owned();
    same("MAC", scope.ok(&["exec", &name, "cat", "/sys/class/net/eth0/address"])?, mac)
}

fn peers(scope: &Scope<'_>) -> Result<()> {
    let (name, expected) = server(scope, "server", &[])?;
    let address = address(scope, &name)?;
    let text = scope.script(&[], &format!("until nc {address} 80 < /dev/null; do sleep 0.1; done"))?;
    same("answer", text, expected.trim_end())
}

fn gateway(scope: &Scope<'_>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    let answering = std::thread::spawn(move || -> std::io::Result<()> {
        listener.accept()?.0.write_all(b"from the host\n")
    });
    let script = format!("nc $(ip route | awk '/^default/{{print $3}}') {port} < /dev/null");
    same("answer", scope.script(&[], &script)?, "from the host")?;
    answering.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    Ok(())
}

fn publish(scope: &Scope<'_>) -> Result<()> {
    let port = free_port()?;
    let (name, expected) = server(scope, "published", &["-p", &format!("{port}:80")])?;
    answers(scope, local(port), &expected)?;
    let gateway = scope.inspect(&name)?["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    answers(scope, SocketAddr::from((gateway.parse::<Ipv4Addr>()?, port)), &expected)?;
    same(
        "docker port",
        scope.ok(&["port", &name, "80/tcp"])?.lines().next(),
        Some(format!("0.0.0.0:{port}").as_str()),
    )
}

fn publish_loopback(scope: &Scope<'_>) -> Result<()> {
    let port = free_port()?;
    let (name, expected) = server(scope, "loopback", &["-p", &format!("127.0.0.1:{port}:80")])?;
    answers(scope, local(port), &expected)?;
    let gateway: Ipv4Addr = scope.inspect(&name)?["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        .as_str()
        .unwrap_or_default()
        .parse()?;
    same("on another address", fetch(SocketAddr::from((gateway, port))).is_ok(), false)?;
    same("docker port", scope.ok(&["port", &name])?, format!("80/tcp -> 127.0.0.1:{port}"))
}

fn publish_any(scope: &Scope<'_>) -> Result<()> {
    let (name, expected) = server(scope, "any", &["-p", "80"])?;
    let text = scope.ok(&["port", &name, "80"])?;
    let port =
        text.lines().next().and_then(|line| line.rsplit(':').next()).and_then(|port| port.parse().ok());
    answers(scope, local(port.with_context(|| format!("docker port: {text:?}"))?), &expected)
}

fn publish_ranges(scope: &Scope<'_>) -> Result<()> {
    let serve = "for port in 81 82 83; do nc -ll -p $port -e echo $port & done; wait";
    // Numbers that were free a moment ago may be taken meanwhile: others are tried then.
    let (name, first) = scope.eventually("three free ports in a row", || {
        let first = free_port()?;
        let (range, name) = (format!("{first}-{}:81-83", u32::from(first) + 2), scope.name("range"));
        let words = ["run", "-d", "--name", &name, "-p", &range, crate::fixture::BUSYBOX, "sh", "-c", serve];
        if scope.docker(&words)?.code == 0 {
            return Ok(Some((name, first)));
        }
        scope.docker(&["rm", "-f", &name])?;
        Ok(None)
    })?;
    for number in 0..3 {
        answers(scope, local(first + number), &format!("{}\n", 81 + number))?;
    }
    let shown = scope.ok(&["port", &name, "82"])?;
    contains("docker port", &shown, &format!("0.0.0.0:{}", first + 1))?;
    // One port of the container, and whichever of the range is free.
    let range = format!("127.0.0.1:{first}-{}:80", u32::from(first) + 9);
    let (chosen, expected) = server(scope, "chosen", &["-p", &range])?;
    let text = scope.ok(&["port", &chosen, "80"])?;
    let port: u16 = text.rsplit(':').next().unwrap_or_default().trim().parse()?;
    same("one that was free", (first + 3..=first + 9).contains(&port), true)?;
    answers(scope, local(port), &expected)?;
    for range in ["8000-8002:80-81", "8002-8000:80"] {
        let refused = scope.run(&["-p", range], &["true"])?;
        same(range, refused.code, 125)?;
    }
    Ok(())
}

/// Sends every datagram back.
const UDP_SERVER: &str = "use Socket; $|=1; socket(S,PF_INET,SOCK_DGRAM,0); bind(S,sockaddr_in(53,INADDR_ANY)); print \"ready\\n\"; \
    while($peer=recv(S,$data,99,0)){send(S,$data,0,$peer)}";

fn publish_udp(scope: &Scope<'_>) -> Result<()> {
    let port = free_port()?;
    let image = scope.debian()?;
    let name =
        scope.start_image("udp", image, &["-p", &format!("{port}:53/udp")], &["perl", "-e", UDP_SERVER])?;
    scope.logged(&name, "ready")?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.connect(local(port))?;
    scope.eventually("an echo over UDP", || {
        let mut bytes = [0; 16];
        // A datagram may be lost.
        let answered = socket.send(b"ping").and_then(|_| socket.recv(&mut bytes));
        Ok(answered.is_ok_and(|length| &bytes[..length] == b"ping").then_some(()))
    })
}

fn publish_hairpin(scope: &Scope<'_>) -> Result<()> {
    let port = free_port()?;
    let (name, expected) = server(scope, "hairpin", &["-p", &format!("{port}:80")])?;
    let gateway = scope.inspect(&name)?["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let text = scope.script(&[], &format!("until nc {gateway} {port} < /dev/null; do sleep 0.1; done"))?;
    same("answer", text, expected.trim_end())
}

fn conflict(scope: &Scope<'_>) -> Result<()> {
    let port = free_port()?;
    let publish = format!("{port}:80");
    let (name, _) = server(scope, "first", &["-p", &publish])?;
    let second = scope.name("second");
    let output = scope.docker(&[
        "run",
        "-d",
        "--name",
        &second,
        "-p",
        &publish,
        crate::fixture::BUSYBOX,
        "sleep",
        "300",
    ])?;
    same("exit code", output.code, 125)?;
    contains(
        "stderr",
        &output.stderr,
        &format!("Bind for 0.0.0.0:{port} failed: port is already allocated"),
    )?;
    same("the second one", &scope.inspect(&second)?["State"]["Status"], "created")?;
    scope.ok(&["rm", "-f", &name])?;
    scope.ok(&["start", &second])?;
    same("the second one", &scope.inspect(&second)?["State"]["Status"], "running")
}

fn conflict_with_host(scope: &Scope<'_>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let publish = format!("{}:80", listener.local_addr()?.port());
    let output = scope.run(&["-p", &publish], &["true"])?.expect_code(125)?;
    contains("stderr", &output.stderr, "address already in use")
}

fn shown(scope: &Scope<'_>) -> Result<()> {
    let port = free_port()?;
    let (name, _) = server(scope, "shown", &["-p", &format!("127.0.0.1:{port}:80"), "--expose", "99/udp"])?;
    let ports = scope.inspect(&name)?["NetworkSettings"]["Ports"].take();
    let expected =
        json!({ "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }], "99/udp": null });
    same("inspect", ports, expected)?;
    let text = scope.ok(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Ports}}"])?;
    contains("ps", &text, &format!("127.0.0.1:{port}->80/tcp"))?;
    contains("ps", &text, "99/udp")?;
    let found = scope.inspect(&name)?["HostConfig"]["PortBindings"].take();
    same("HostConfig", found, json!({ "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }] }))
}

fn given_back(scope: &Scope<'_>) -> Result<()> {
    let name = scope.start("first", &[], &["sleep", "300"])?;
    scope.ok(&["stop", "-t", "0", &name])?;
    let settings = scope.inspect(&name)?["NetworkSettings"]["Networks"]["bridge"].take();
    same("IPAddress of a stopped one", &settings["IPAddress"], "")?;
    scope.ok(&["start", &name])?;
    address(scope, &name).map(drop)
}

fn predefined(scope: &Scope<'_>) -> Result<()> {
    let rows = scope.api("GET", "/networks")?.expect(200)?.json()?;
    let names: Vec<&str> =
        rows.as_array().into_iter().flatten().filter_map(|row| row["Name"].as_str()).collect();
    for name in ["bridge", "host", "none"] {
        same(name, names.contains(&name), true)?;
        let answer = scope.api("DELETE", &format!("/networks/{name}"))?.expect(403)?;
        contains(
            "words",
            &answer.message(),
            &format!("{name} is a pre-defined network and cannot be removed"),
        )?;
    }
    let found: Value = scope.api("GET", "/networks/bridge")?.expect(200)?.json()?;
    same("Driver", &found["Driver"], "bridge")?;
    same("a subnet", found["IPAM"]["Config"][0]["Subnet"].is_string(), true)
}

fn packages(scope: &Scope<'_>) -> Result<()> {
    if !scope.engine.has_uplink {
        return Err(skip("no uplink: nothing outside can be reached from here"));
    }
    let (image, name) = (scope.debian()?, scope.name("apt"));
    let output = scope.docker(&[
        "run",
        "--rm",
        "--name",
        &name,
        image,
        "apt-get",
        "-q",
        "-o",
        "Acquire::Retries=3",
        "update",
    ])?;
    contains("stdout", &output.expect_code(0)?.stdout, "Reading package lists...")
}
