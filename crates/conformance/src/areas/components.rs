//! Real servers and clients of Debian's packages in containers: what people run, and what they would notice.

use crate::check::{Check, contains, same};
use crate::fixture::BUSYBOX;
use crate::hosts::Hosts;
use crate::nameserver::{MANY, NameServer, TRUTH};
use crate::scope::{Scope, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::os::fd::AsFd;

pub(crate) const AREA: &str = "components";
const POSTGRES: &str = "/usr/lib/postgresql/15/bin";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "nginx answers curl by name and by published port, over IPv4 and IPv6", nginx),
        Check::new(AREA, "redis keeps its data in a volume when it is killed", redis),
        Check::new(AREA, "postgres on a volume survives rm -f and restarts", postgres),
        Check::new(AREA, "dig asks the name server of a container everything that it may", dig),
        Check::new(AREA, "dig gets what other name servers say, and no forgery", dig_forwarded),
        Check::new(
            AREA,
            "a name server of the host that dies or changes is followed while containers run",
            followed,
        ),
        Check::new(AREA, "socat talks UDP and TCP through published ports and by name", socat),
        Check::new(AREA, "iperf3 measures between containers, and through a published port", iperf),
        Check::new(
            AREA,
            "rsyslog gets lines over TLS in each format, from those it knows",
            super::rsyslog::check,
        ),
    ]
}

fn network(scope: &Scope<'_>, word: &str, flags: &[&str]) -> Result<String> {
    let name = scope.name(word);
    scope.ok(&[&["network", "create"], flags, &[&name]].concat())?;
    Ok(name)
}

/// A container of the image with servers.
pub(super) fn start(scope: &Scope<'_>, word: &str, flags: &[&str], command: &[&str]) -> Result<String> {
    scope.start_image(word, scope.servers()?, flags, command)
}

fn inside(scope: &Scope<'_>, container: &str, script: &str) -> Result<String> {
    Ok(scope.ok(&["exec", container, "sh", "-c", script])?.trim_end().to_owned())
}

/// Waits until a script in a container succeeds; what it prints.
pub(super) fn becomes(scope: &Scope<'_>, container: &str, script: &str) -> Result<String> {
    scope.eventually(&format!("{script:?} in {container}"), || {
        let output = scope.docker(&["exec", container, "sh", "-c", script])?;
        Ok((output.code == 0).then(|| output.stdout.trim_end().to_owned()))
    })
}

/// The number on the host of a published port.
pub(super) fn published(scope: &Scope<'_>, container: &str, port: &str) -> Result<String> {
    let ports = scope.inspect(container)?["NetworkSettings"]["Ports"][port].take();
    Ok(ports[0]["HostPort"].as_str().with_context(|| format!("{port}: {ports}"))?.to_owned())
}

fn nginx(scope: &Scope<'_>) -> Result<()> {
    let net = network(scope, "net", &["--ipv6"])?;
    let flags = ["--network", &net, "--network-alias", "www", "-p", "80"];
    let web = start(scope, "web", &flags, &["nginx", "-g", "daemon off;"])?;
    let client = start(scope, "client", &["--network", &net], &["sleep", "300"])?;
    let host = start(scope, "host", &["--network", "host"], &["sleep", "300"])?;
    inside(scope, &web, "head -c 1000000 /dev/urandom > /var/www/html/big")?;
    let sum = inside(scope, &web, "sha256sum < /var/www/html/big")?;
    let port = published(scope, &web, "80/tcp")?;
    let settings = scope.inspect(&web)?["NetworkSettings"]["Networks"][&net].take();
    let gateway = settings["IPv6Gateway"].as_str().unwrap_or_default();
    for (container, family, at) in [
        (&client, "-4", "www"),
        (&client, "-6", "www"),
        (&client, "-4", web.as_str()),
        (&host, "-4", &format!("127.0.0.1:{port}")),
        (&host, "-6", &format!("[{gateway}]:{port}")),
    ] {
        let page = becomes(scope, container, &format!("curl -sSg {family} http://{at}/"))?;
        contains(at, &page, "Welcome to nginx")?;
        let got = inside(scope, container, &format!("curl -sSg {family} http://{at}/big | sha256sum"))?;
        same(at, &got, &sum)?;
    }
    let many = format!(
        "curl -sS -Z --parallel-max 20 -o /dev/null -w '%{{http_code}}\\n' 'http://127.0.0.1:{port}/?[1-60]' | sort | uniq -c"
    );
    contains("60 requests, 20 at a time", &inside(scope, &host, &many)?, "60 200")
}

fn redis(scope: &Scope<'_>) -> Result<()> {
    let (net, volume) = (network(scope, "net", &[])?, scope.name("data"));
    let mount = format!("{volume}:/data");
    let flags = ["--network", &net, "--network-alias", "cache", "-v", &mount];
    let serve =
        ["redis-server", "--bind", "*", "--protected-mode", "no", "--dir", "/data", "--appendonly", "yes"];
    let serve = [&serve[..], &["--appendfsync", "always"]].concat();
    let server = start(scope, "redis", &flags, &serve)?;
    let client = start(scope, "client", &["--network", &net], &["sleep", "300"])?;
    let ask = |words: &str| becomes(scope, &client, &format!("redis-cli -e -h cache {words}"));
    same("PING", ask("ping")?.as_str(), "PONG")?;
    same("SET", ask("set answer 42")?.as_str(), "OK")?;
    scope.ok(&["kill", &server])?;
    scope.ended(&server)?;
    scope.ok(&["start", &server])?;
    same("after kill and start", ask("get answer")?.as_str(), "42")?;
    scope.ok(&["rm", "-f", &server])?;
    start(scope, "redis2", &flags, &serve)?;
    same("of another container on the volume", ask("get answer")?.as_str(), "42")?;
    scope.ok(&["rm", "-f", &scope.name("redis2")])?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn postgres(scope: &Scope<'_>) -> Result<()> {
    let (net, volume) = (network(scope, "net", &[])?, scope.name("data"));
    // The volume gets the cluster that is in the image, with its owner.
    let mount = format!("{volume}:/srv/postgres");
    let flags = [
        "--network",
        &net,
        "--network-alias",
        "db",
        "-v",
        &mount,
        "--stop-signal",
        "SIGINT",
        "-u",
        "postgres",
    ];
    let program = format!("{POSTGRES}/postgres");
    let serve = [&program, "-D", "/srv/postgres", "-c", "listen_addresses=*", "-c", "jit=off", "-k", "/tmp"];
    let first = start(scope, "first", &flags, &serve)?;
    let client = start(scope, "client", &["--network", &net], &["sleep", "300"])?;
    let ask = |statement: &str| {
        becomes(scope, &client, &format!("{POSTGRES}/psql -h db -U postgres -At -c \"{statement}\""))
    };
    scope.logged(&first, "ready to accept")?;
    ask("create table if not exists t as select n from generate_series(1, 1000) n")?;
    let count = "select count(*) from t";
    same("at first", ask(count)?.as_str(), "1000")?;
    scope.ok(&["rm", "-f", &first])?;
    let second = start(scope, "second", &flags, &serve)?;
    contains("it recovered", &scope.logged(&second, "ready to accept")?, "was not properly shut down")?;
    same("of another container, after rm -f", ask(count)?.as_str(), "1000")?;
    scope.ok(&["restart", "-t", "60", &second])?;
    same("after a restart", ask(count)?.as_str(), "1000")?;
    scope.logged(&second, "database system is shut down")?;
    scope.ok(&["rm", "-f", &second])?;
    scope.ok(&["volume", "rm", &volume]).map(drop)
}

fn dig(scope: &Scope<'_>) -> Result<()> {
    let net = network(scope, "net", &["--internal", "--subnet", "10.231.0.0/24"])?;
    let flags = ["--network", &net, "--network-alias", "www", "--ip", "10.231.0.9", "--expose", "80"];
    let web = scope.start("web", &flags, &["sleep", "300"])?;
    let client = start(scope, "client", &["--network", &net], &["sleep", "300"])?;
    let name = format!("{web}.{net}.");
    for (words, expected) in [
        ("+short www", "10.231.0.9"),
        ("+short +tcp www", "10.231.0.9"),
        ("+short WwW", "10.231.0.9"),
        ("www", "status: NOERROR"),
        ("www", "ANSWER: 1,"),
        ("AAAA www", "status: NOERROR"),
        ("AAAA www", "ANSWER: 0,"),
        ("AAAA +tcp www", "ANSWER: 0,"),
        ("TXT www", "ANSWER: 0,"),
        ("+short -x 10.231.0.9", &name),
        ("+short +tcp -x 10.231.0.9", &name),
        ("SRV _http._tcp.www", "IN\tSRV\t"),
        ("+short SRV _80._tcp.www", "0 0 80 "),
        ("+bufsize=1232 www", "EDNS: version: 0"),
        ("www.nowhere.example", "status: SERVFAIL"),
    ] {
        let printed = inside(scope, &client, &format!("dig @127.0.0.11 {words}"))?;
        contains(&format!("dig {words}"), &printed, expected)?;
    }
    let plain = inside(scope, &client, "dig @127.0.0.11 +noedns www")?;
    ensure!(!plain.contains("EDNS"), "an answer with EDNS to a question without:\n{plain}");
    scope.ok(&["rm", "-f", &web])?;
    let gone = inside(scope, &client, "dig @127.0.0.11 www")?;
    ensure!(!gone.contains("10.231.0.9"), "the name of a container that has gone:\n{gone}");
    Ok(())
}

fn dig_forwarded(scope: &Scope<'_>) -> Result<()> {
    let net = network(scope, "net", &["--subnet", "10.232.0.0/24"])?;
    // The first one is not there: nobody listens at port 53 of the address.
    let _server = NameServer::start("10.232.0.1".parse()?)?;
    let flags = ["--network", &net, "--dns", "10.232.0.254", "--dns", "10.232.0.1"];
    let client = start(scope, "client", &flags, &["sleep", "300"])?;
    for (words, expected) in [
        ("+short plain.example", TRUTH),
        ("+short +tcp plain.example", TRUTH),
        ("+short lied.example", TRUTH),
        ("AAAA plain.example", "ANSWER: 0,"),
        ("nobody.example", "status: NXDOMAIN"),
        ("+ignore big.example", "flags: qr tc"),
        ("broken.example", "status: SERVFAIL"),
    ] {
        let printed = inside(scope, &client, &format!("dig @127.0.0.11 +time=25 +tries=1 {words}"))?;
        contains(&format!("dig {words}"), &printed, expected)?;
    }
    let all = inside(scope, &client, "dig @127.0.0.11 +time=25 +tries=1 +short big.example | wc -l")?;
    same("addresses, by TCP after a cut answer", all, MANY.to_string())
}

/// A name server on the wire of a daemon's host.
fn on_the_wire(hosts: &Hosts, last: u8) -> Result<NameServer> {
    let namespace = std::fs::File::open(format!("/run/netns/{}", hosts.neighbour))?;
    let start = || NameServer::start([192, 0, 2, last].into());
    linux::netns::run_in(namespace.as_fd(), start)?
}

fn followed(scope: &Scope<'_>) -> Result<()> {
    let file = scope.directory()?.join("resolv.conf");
    let says = |lines: &str| std::fs::write(&file, lines).with_context(|| file.display().to_string());
    says("nameserver 192.0.2.2\n")?;
    let hosts = Hosts::with_resolver(scope, &[], Some(&file))?;
    let address = ["-n", &hosts.neighbour, "address", "add", "192.0.2.3/24", "dev", "eth0"];
    crate::hosts::call("ip", &address)?;
    hosts.client.expect(&["network", "create", "own"])?;
    let run = ["run", "-d", "--name", "asking", "--network", "own", BUSYBOX, "sleep", "300"];
    hosts.client.expect(&run)?;
    let first = on_the_wire(&hosts, 2)?;
    let ask = || -> Result<bool> {
        let words = ["exec", "asking", "nslookup", "-type=a", "plain.example"];
        Ok(hosts.client.call(&words)?.stdout.contains(TRUTH))
    };
    let answers = |what: &str| eventually(what, || Ok(ask()?.then_some(())));
    answers("an answer of the first")?;
    drop(first);
    same("an answer of one that is dead", ask()?, false)?;
    let second = on_the_wire(&hosts, 3)?;
    same("an answer of one that nobody named", ask()?, false)?;
    says("nameserver 192.0.2.2\nnameserver 192.0.2.3\n")?;
    answers("an answer of the second, after the first has not answered")?;
    says("# the first has gone\nnameserver 192.0.2.3\n")?;
    answers("an answer of the second alone")?;
    says("# nobody\n")?;
    eventually("no answer", || Ok((!ask()?).then_some(())))?;
    drop(second);
    hosts.close()
}

fn socat(scope: &Scope<'_>) -> Result<()> {
    let net = network(scope, "net", &["--ipv6"])?;
    let echo = "socat UDP6-LISTEN:7,fork EXEC:cat & socat UDP6-LISTEN:9,fork EXEC:cat &
                exec socat TCP6-LISTEN:7,fork,reuseaddr EXEC:cat";
    let flags = ["--network", &net, "-p", "7/udp", "-p", "7/tcp", "-p", "9/udp", "-p", "10/sctp"];
    let server = start(scope, "server", &flags, &["sh", "-c", echo])?;
    let client = start(scope, "client", &["--network", &net], &["sleep", "300"])?;
    let host = start(scope, "host", &["--network", "host"], &["sleep", "300"])?;
    let settings = scope.inspect(&server)?["NetworkSettings"]["Networks"][&net].take();
    let gateway = settings["IPv6Gateway"].as_str().unwrap_or_default();
    let (udp, tcp) = (published(scope, &server, "7/udp")?, published(scope, &server, "7/tcp")?);
    let other = published(scope, &server, "9/udp")?;
    published(scope, &server, "10/sctp")?;
    for (container, target) in [
        (&client, format!("UDP4:{server}:7")),
        (&client, format!("UDP6:{server}:7")),
        (&client, format!("TCP4:{server}:7")),
        (&client, format!("TCP6:{server}:7")),
        (&host, format!("UDP4:127.0.0.1:{udp}")),
        (&host, format!("UDP6:[{gateway}]:{udp}")),
        (&host, format!("UDP4:127.0.0.1:{other}")),
        (&host, format!("TCP4:127.0.0.1:{tcp}")),
        (&host, format!("TCP6:[{gateway}]:{tcp}")),
    ] {
        // A datagram may come before the server listens: it is sent again then.
        let script = format!("test \"$(echo hello | timeout 20 socat -t 5 - {target})\" = hello");
        becomes(scope, container, &script).with_context(|| target.clone())?;
    }
    Ok(())
}

fn iperf(scope: &Scope<'_>) -> Result<()> {
    let net = network(scope, "net", &[])?;
    let flags = ["--network", &net, "-p", "5201/tcp", "-p", "5201/udp"];
    let server = start(scope, "server", &flags, &["iperf3", "-s"])?;
    let client = start(scope, "client", &["--network", &net], &["sleep", "300"])?;
    let host = start(scope, "host", &["--network", "host"], &["sleep", "300"])?;
    let port = published(scope, &server, "5201/tcp")?;
    for (container, at) in [
        (&client, format!("-c {server}")),
        (&client, format!("-R -c {server}")),
        (&client, format!("-u -b 10M -c {server}")),
        (&host, format!("-p {port} -c 127.0.0.1")),
    ] {
        let printed = becomes(scope, container, &format!("iperf3 -J -n 4M {at}"))?;
        let report: Value = serde_json::from_str(&printed).with_context(|| printed.clone())?;
        let bytes = |sum: &str| report["end"][sum]["bytes"].as_f64().unwrap_or_default();
        let (sent, arrived) =
            if at.starts_with("-u") { ("sum", "sum") } else { ("sum_sent", "sum_received") };
        ensure!(bytes(sent) >= 4_000_000.0, "iperf3 {at}: {} bytes of 4 MiB sent:\n{printed}", bytes(sent));
        // Whoever receives stops counting when the other says that everything is sent, however much is still to come.
        ensure!(bytes(arrived) > 0.0, "iperf3 {at}: nothing arrived:\n{printed}");
    }
    Ok(())
}
