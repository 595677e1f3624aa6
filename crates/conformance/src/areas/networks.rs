//! Networks that users make: addresses, names, connecting and disconnecting, and what is kept apart.

use crate::check::{Check, contains, same, skip};
use crate::scope::Scope;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

const AREA: &str = "networks";
const SERVER: &str = "echo ready; while :; do echo hello | nc -l -p 80; done";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a network is made, shown, listed and removed", life),
        Check::new(AREA, "subnet, range, gateway and auxiliary addresses are kept to", addresses),
        Check::new(AREA, "what cannot be made is refused in Docker's words", refused),
        Check::new(AREA, "containers find each other by name, alias and id", names),
        Check::new(AREA, "names follow a rename, and end with the container", renamed),
        Check::new(AREA, "who comes after another with its address is reached at once", succession),
        Check::new(AREA, "other names are asked of --dns servers", forwarded),
        Check::new(AREA, "a running container is connected and disconnected", connected),
        Check::new(AREA, "a stopped container is connected and disconnected", connected_while_stopped),
        Check::new(AREA, "a container is made with several networks", several),
        Check::new(AREA, "networks do not reach each other", apart),
        Check::new(AREA, "an internal network has no way out", internal),
        Check::new(AREA, "IPv6 and IPv4 side by side", dual_stack),
        Check::new(AREA, "enable_icc=false keeps containers of one network apart", no_icc),
        Check::new(AREA, "published ports follow the default route", ports_follow),
        Check::new(AREA, "--ip, --mac-address, interface names and parameters", endpoint_options),
        Check::new(AREA, "macvlan without a parent connects its containers", macvlan),
        Check::new(AREA, "filters and prune", filters_and_prune),
        Check::new(AREA, "events tell of networks", events),
        Check::new(AREA, "docker-compose runs two services that find each other", compose),
    ]
}

/// A network of this check's own; removed with the check.
fn network(scope: &Scope<'_>, word: &str, flags: &[&str]) -> Result<String> {
    let name = scope.name(word);
    let mut arguments = vec!["network", "create"];
    arguments.extend(flags);
    arguments.push(&name);
    scope.ok(&arguments)?;
    Ok(name)
}

fn shown(scope: &Scope<'_>, network: &str) -> Result<Value> {
    scope.api("GET", &format!("/networks/{network}"))?.expect(200)?.json()
}

/// An endpoint of a container as inspect shows it.
fn endpoint(scope: &Scope<'_>, container: &str, network: &str) -> Result<Value> {
    Ok(scope.inspect(container)?["NetworkSettings"]["Networks"][network].take())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What a shell script prints in a running container; it must succeed.
fn inside(scope: &Scope<'_>, container: &str, script: &str) -> Result<String> {
    Ok(scope.ok(&["exec", container, "sh", "-c", script])?.trim_end().to_owned())
}

fn sleeper(scope: &Scope<'_>, word: &str, flags: &[&str]) -> Result<String> {
    scope.start(word, flags, &["sleep", "300"])
}

fn life(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("net");
    let id = scope.ok(&["network", "create", "--label", "a=b", &name])?;
    same("length of the id", id.len(), 64)?;
    let network = shown(scope, &id[..12])?;
    same("Name", &network["Name"], name.as_str())?;
    same("Driver", &network["Driver"], "bridge")?;
    same("Scope", &network["Scope"], "local")?;
    same("EnableIPv6", &network["EnableIPv6"], false)?;
    same("Labels", &network["Labels"], &json!({"a": "b"}))?;
    same("Containers", &network["Containers"], &json!({}))?;
    let listed = scope.ok(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"])?;
    same("listed", listed.lines().any(|line| line == format!("{name} bridge")), true)?;
    let container = sleeper(scope, "in", &["--network", &name])?;
    let containers = shown(scope, &name)?["Containers"].take();
    same("containers", containers.as_object().map(serde_json::Map::len), Some(1))?;
    let refused = scope.api("DELETE", &format!("/networks/{name}"))?.expect(403)?;
    contains("words", &refused.message(), "has active endpoints")?;
    scope.ok(&["rm", "-f", &container])?;
    same("removed", scope.ok(&["network", "rm", &name])?, name.clone())?;
    let gone = scope.api("GET", &format!("/networks/{name}"))?.expect(404)?;
    same("words", gone.message(), format!("network {name} not found"))
}

fn addresses(scope: &Scope<'_>) -> Result<()> {
    let flags = [
        "--subnet",
        "10.201.0.0/16",
        "--ip-range",
        "10.201.5.0/24",
        "--gateway",
        "10.201.5.254",
        "--aux-address",
        "printer=10.201.5.1",
    ];
    let name = network(scope, "ranged", &flags)?;
    let config = shown(scope, &name)?["IPAM"]["Config"][0].take();
    let expected = json!({
        "Subnet": "10.201.0.0/16", "IPRange": "10.201.5.0/24", "Gateway": "10.201.5.254",
        "AuxiliaryAddresses": {"printer": "10.201.5.1"},
    });
    same("IPAM.Config", config, expected)?;
    let first = sleeper(scope, "first", &["--network", &name])?;
    let settings = endpoint(scope, &first, &name)?;
    same("IPAddress", text(&settings, "IPAddress").starts_with("10.201.5."), true)?;
    same("not the printer's", text(&settings, "IPAddress") == "10.201.5.1", false)?;
    same("Gateway", text(&settings, "Gateway"), "10.201.5.254")?;
    same("IPPrefixLen", &settings["IPPrefixLen"], 16)?;
    contains("route", &inside(scope, &first, "ip route")?, "default via 10.201.5.254 dev eth0")?;
    let fixed = sleeper(scope, "fixed", &["--network", &name, "--ip", "10.201.9.9"])?;
    contains("address", &inside(scope, &fixed, "ip -o -4 addr show eth0")?, "inet 10.201.9.9/16")?;
    let again = scope.run(&["--network", &name, "--ip", "10.201.9.9"], &["true"])?.expect_code(125)?;
    contains("stderr", &again.stderr, "Address already in use")
}

fn refused(scope: &Scope<'_>) -> Result<()> {
    let name = network(scope, "taken", &["--subnet", "10.202.0.0/24"])?;
    let plain = network(scope, "plain", &[])?;
    let create = |body: Value| scope.api_json("POST", "/networks/create", &body);
    let subnet = |subnet: &str| json!({"Config": [{"Subnet": subnet}]});
    let parent =
        |link: &str| json!({"Name": scope.name("x"), "Driver": "macvlan", "Options": {"parent": link}});
    let table = [
        (json!({"Name": name}), 409, format!("network with name {name} already exists")),
        (
            json!({"Name": "bridge"}),
            403,
            "operation is not permitted on predefined bridge network".to_owned(),
        ),
        (
            json!({"Name": scope.name("x"), "Driver": "host"}),
            403,
            "only one instance of \"host\" network is allowed".to_owned(),
        ),
        (json!({"Name": scope.name("x"), "Driver": "no-such"}), 404, "not found".to_owned()),
        (
            parent("no-such0"),
            500,
            "invalid subinterface vlan name no-such0, example formatting is eth0.10".to_owned(),
        ),
        (parent("lo"), 500, "loopback interface is not a valid macvlan parent link".to_owned()),
        (
            json!({"Name": scope.name("x"), "IPAM": subnet("10.202.0.0/25")}),
            403,
            "Pool overlaps with other one on this address space".to_owned(),
        ),
        (
            json!({"Name": scope.name("x"), "IPAM": subnet("10.203.2.3/16")}),
            400,
            "invalid network config:\ninvalid subnet 10.203.2.3/16: it should be 10.203.0.0/16".to_owned(),
        ),
    ];
    for (body, status, words) in table {
        let answer = create(body)?.expect(status)?;
        contains("words", &answer.message(), &words)?;
    }
    let runs = [
        (
            vec!["--network", &plain, "--ip", "10.202.0.9"],
            "user specified IP address is supported only when connecting to networks with user configured subnets",
        ),
        (vec!["--network", &name, "--ip", "10.99.0.9"], "no configured subnet contains IP address 10.99.0.9"),
    ];
    for (flags, words) in runs {
        contains("stderr", &scope.run(&flags, &["true"])?.expect_code(125)?.stderr, words)?;
    }
    let container = sleeper(scope, "in", &["--network", &name])?;
    let body = json!({"Container": container});
    let twice = scope.api_json("POST", &format!("/networks/{name}/connect"), &body)?.expect(403)?;
    contains("words", &twice.message(), &format!("already exists in network {name}"))?;
    let absent = scope.api_json("POST", "/networks/no-such/connect", &body)?.expect(404)?;
    same("words", absent.message(), "network no-such not found")
}

fn names(scope: &Scope<'_>) -> Result<()> {
    let name = network(scope, "named", &[])?;
    let web = sleeper(scope, "web", &["--network", &name, "--network-alias", "www", "--hostname", "shop"])?;
    let asking = sleeper(scope, "asking", &["--network", &name])?;
    let resolver = inside(scope, &asking, "cat /etc/resolv.conf")?;
    same("resolver", resolver.lines().any(|line| line == "nameserver 127.0.0.11"), true)?;
    contains("options", &resolver, "ndots:0")?;
    let settings = endpoint(scope, &web, &name)?;
    let address = text(&settings, "IPAddress").to_owned();
    let short = scope.inspect(&web)?["Id"].as_str().unwrap_or_default()[..12].to_owned();
    for known in
        [web.clone(), "www".to_owned(), "WWW".to_owned(), short, "shop".to_owned(), format!("{web}.{name}")]
    {
        let answer = inside(scope, &asking, &format!("ping -c 1 -W 5 {known} | head -n 1"))?;
        contains(&known, &answer, &format!("({address})"))?;
    }
    let link = format!("{web}:store");
    let linked = sleeper(scope, "linked", &["--network", &name, "--link", &link])?;
    contains(
        "a link",
        &inside(scope, &linked, "ping -c 1 -W 5 store | head -n 1")?,
        &format!("({address})"),
    )?;
    let back = inside(scope, &asking, &format!("nslookup {address}"))?;
    contains("the name of an address", &back, &format!("{web}.{name}"))?;
    same(
        "DNSNames",
        settings["DNSNames"].as_array().is_some_and(|names| names.contains(&json!("www"))),
        true,
    )?;
    let unknown = scope.docker(&["exec", &asking, "sh", "-c", "ping -c 1 -W 1 no-such-name.invalid"])?;
    same("an unknown name fails", unknown.code == 0, false)
}

fn renamed(scope: &Scope<'_>) -> Result<()> {
    let name = network(scope, "net", &[])?;
    let first = sleeper(scope, "first", &["--network", &name])?;
    let asking = sleeper(scope, "asking", &["--network", &name])?;
    let second = scope.name("second");
    scope.ok(&["rename", &first, &second])?;
    inside(scope, &asking, &format!("nslookup {second}"))?;
    let old = scope.docker(&[
        "exec",
        &asking,
        "sh",
        "-c",
        &format!("nslookup {first} 2>/dev/null | grep -q ^Name"),
    ])?;
    same("the old name is known", old.code == 0, false)?;
    scope.ok(&["stop", "-t", "0", &second])?;
    let stopped = scope.docker(&[
        "exec",
        &asking,
        "sh",
        "-c",
        &format!("nslookup {second} 2>/dev/null | grep -q ^Name"),
    ])?;
    same("a stopped container's name is known", stopped.code == 0, false)?;
    scope.ok(&["start", &second])?;
    inside(scope, &asking, &format!("nslookup {second}")).map(drop)
}

/// A name server of the host that answers one query with 192.0.2.77.
fn answer_one(socket: &UdpSocket) -> Result<()> {
    let mut query = [0; 512];
    let (length, client) = socket.recv_from(&mut query)?;
    let mut answer = query.get(..length).unwrap_or_default().to_vec();
    // A response with one answer; whatever the query had behind its question goes.
    let end =
        12 + answer.get(12..).unwrap_or_default().iter().position(|byte| *byte == 0).context("a name")? + 5;
    answer.truncate(end);
    let header = answer.get_mut(2..12).context("a header")?;
    header.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77]);
    socket.send_to(&answer, client)?;
    Ok(())
}

/// A neighbour remembers the hardware address of an address for longer than a connection waits.
fn succession(scope: &Scope<'_>) -> Result<()> {
    let net = network(scope, "net", &["--subnet", "10.209.0.0/24"])?;
    let client = sleeper(scope, "client", &["--network", &net])?;
    let first = sleeper(scope, "first", &["--network", &net, "--ip", "10.209.0.9"])?;
    let known = |container: &str| -> Result<String> {
        inside(scope, &client, "ping -c 1 -W 10 10.209.0.9")?;
        let told = inside(scope, &client, "grep -w 10.209.0.9 /proc/net/arp")?;
        let own = inside(scope, container, "cat /sys/class/net/eth0/address")?;
        contains("what the neighbour knows", &told, &own)?;
        Ok(own)
    };
    let address = known(&first)?;
    scope.ok(&["rm", "-f", &first])?;
    let second = sleeper(scope, "second", &["--network", &net, "--ip", "10.209.0.9"])?;
    let told = inside(scope, &client, "grep -w 10.209.0.9 /proc/net/arp")?;
    contains("what the neighbour still knows", &told, &address)?;
    same("the successor's hardware address", known(&second)?, address)
}

fn forwarded(scope: &Scope<'_>) -> Result<()> {
    let name = network(scope, "net", &["--subnet", "10.204.0.0/24"])?;
    let socket = UdpSocket::bind("10.204.0.1:53").context("a name server on the gateway")?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let answering = std::thread::spawn(move || answer_one(&socket));
    let script = "nslookup -type=a example.invalid";
    let answer = scope.script(&["--network", &name, "--dns", "10.204.0.1"], script)?;
    contains("answer", &answer, "192.0.2.77")?;
    answering.join().map_err(|_| anyhow::anyhow!("the name server panicked"))?
}

fn connected(scope: &Scope<'_>) -> Result<()> {
    let (one, two) = (network(scope, "one", &[])?, network(scope, "two", &["--subnet", "10.205.0.0/24"])?);
    let moving = sleeper(scope, "moving", &["--network", &one])?;
    let other = sleeper(scope, "other", &["--network", &two])?;
    scope.ok(&["network", "connect", "--ip", "10.205.0.40", "--alias", "guest", &two, &moving])?;
    contains("eth1", &inside(scope, &moving, "ip -o -4 addr show eth1")?, "inet 10.205.0.40/24")?;
    contains("hosts", &inside(scope, &moving, "cat /etc/hosts")?, "10.205.0.40\t")?;
    inside(scope, &other, "ping -c 1 -W 5 guest")?;
    inside(scope, &moving, &format!("ping -c 1 -W 5 {other}"))?;
    same("IPAddress", text(&endpoint(scope, &moving, &two)?, "IPAddress"), "10.205.0.40")?;
    scope.ok(&["network", "disconnect", &one, &moving])?;
    contains("the way out", &inside(scope, &moving, "ip route")?, "default via 10.205.0.1 dev eth1")?;
    scope.ok(&["network", "disconnect", &two, &moving])?;
    same("interfaces", inside(scope, &moving, "ls /sys/class/net")?, "lo")?;
    same("networks", scope.inspect(&moving)?["NetworkSettings"]["Networks"].take(), json!({}))?;
    scope.ok(&["network", "connect", &one, &moving])?;
    same("interfaces", inside(scope, &moving, "ls /sys/class/net")?, "eth0\nlo")
}

fn connected_while_stopped(scope: &Scope<'_>) -> Result<()> {
    let (one, two) = (network(scope, "one", &[])?, network(scope, "two", &[])?);
    let name = scope.name("stopped");
    scope.ok(&["create", "--name", &name, "--network", &one, crate::fixture::BUSYBOX, "sleep", "300"])?;
    scope.ok(&["network", "connect", &two, &name])?;
    scope.ok(&["network", "disconnect", &one, &name])?;
    scope.ok(&["start", &name])?;
    let networks = scope.inspect(&name)?["NetworkSettings"]["Networks"].take();
    same(
        "networks",
        networks.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()),
        Some(vec![two]),
    )?;
    same("interfaces", inside(scope, &name, "ls /sys/class/net")?, "eth0\nlo")
}

fn several(scope: &Scope<'_>) -> Result<()> {
    let one = network(scope, "one", &["--subnet", "10.206.1.0/24"])?;
    let two = network(scope, "two", &["--subnet", "10.206.2.0/24"])?;
    let second = format!("name={two},gw-priority=5,alias=both");
    let name = sleeper(scope, "several", &["--network", &one, "--network", &second])?;
    same("interfaces", inside(scope, &name, "ls /sys/class/net")?, "eth0\neth1\nlo")?;
    contains("route", &inside(scope, &name, "ip route")?, "default via 10.206.2.1")?;
    let asking = sleeper(scope, "asking", &["--network", &two])?;
    inside(scope, &asking, "ping -c 1 -W 5 both").map(drop)
}

fn apart(scope: &Scope<'_>) -> Result<()> {
    let (one, two) = (network(scope, "one", &[])?, network(scope, "two", &[])?);
    let target = scope.start("target", &["--network", &one], &["sh", "-c", SERVER])?;
    scope.logged(&target, "ready")?;
    let address = text(&endpoint(scope, &target, &one)?, "IPAddress").to_owned();
    let ask = format!("nc -w 1 {address} 80 < /dev/null");
    same(
        "from the same network",
        scope.script(&["--network", &one], &format!("until {ask}; do :; done"))?,
        "hello",
    )?;
    for flags in [&["--network", &two][..], &["--network", "bridge"]] {
        let output = scope.run(flags, &["sh", "-c", &ask])?;
        same("from another network", (output.code == 0, output.stdout.as_str()), (false, ""))?;
    }
    Ok(())
}

fn internal(scope: &Scope<'_>) -> Result<()> {
    let name = network(scope, "inner", &["--internal"])?;
    same("Internal", &shown(scope, &name)?["Internal"], true)?;
    let one = sleeper(scope, "one", &["--network", &name])?;
    let two = sleeper(scope, "two", &["--network", &name])?;
    inside(scope, &one, &format!("ping -c 1 -W 5 {two}"))?;
    let routes = inside(scope, &one, "ip route")?;
    same("a default route", routes.contains("default"), false)
}

fn dual_stack(scope: &Scope<'_>) -> Result<()> {
    let flags = ["--ipv6", "--subnet", "10.207.0.0/24", "--subnet", "fd00:207::/64"];
    let name = network(scope, "dual", &flags)?;
    let web = scope.start(
        "web",
        &["--network", &name, "--ip6", "fd00:207::77", "-p", "80"],
        &["sh", "-c", "echo ready; while :; do echo hello | nc -l -p 80; done"],
    )?;
    scope.logged(&web, "ready")?;
    let settings = endpoint(scope, &web, &name)?;
    same("GlobalIPv6Address", text(&settings, "GlobalIPv6Address"), "fd00:207::77")?;
    same("IPv6Gateway", text(&settings, "IPv6Gateway"), "fd00:207::1")?;
    same("GlobalIPv6PrefixLen", &settings["GlobalIPv6PrefixLen"], 64)?;
    scope.script(&["--network", &name], &format!("ping -6 -c 1 -W 5 {web} && ping -4 -c 1 -W 5 {web}"))?;
    let ports = scope.inspect(&web)?["NetworkSettings"]["Ports"]["80/tcp"].take();
    let rows: Vec<(&str, &str)> = ports
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (text(row, "HostIp"), text(row, "HostPort")))
        .collect();
    same(
        "host addresses",
        rows.iter().map(|(address, _)| *address).collect::<Vec<_>>(),
        vec!["0.0.0.0", "::"],
    )?;
    same("the same port", rows.iter().all(|(_, port)| *port == rows[0].1), true)?;
    let port: u16 = rows[0].1.parse()?;
    for address in ["127.0.0.1", "fd00:207::1"] {
        answers(scope, SocketAddr::new(address.parse()?, port))?;
    }
    let any = network(scope, "any", &["--ipv6"])?;
    let config = shown(scope, &any)?["IPAM"]["Config"].take();
    let local = config.as_array().into_iter().flatten().any(|row| text(row, "Subnet").starts_with("fd"));
    same("a unique local subnet", local, true)
}

fn answers(scope: &Scope<'_>, address: SocketAddr) -> Result<()> {
    let fetch = || -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    scope.eventually(&format!("an answer from {address}"), || {
        Ok(fetch().is_ok_and(|text| text == "hello\n").then_some(()))
    })
}

fn no_icc(scope: &Scope<'_>) -> Result<()> {
    let name = network(scope, "quiet", &["-o", "com.docker.network.bridge.enable_icc=false"])?;
    let one = sleeper(scope, "one", &["--network", &name])?;
    let two = sleeper(scope, "two", &["--network", &name])?;
    let address: IpAddr = text(&endpoint(scope, &two, &name)?, "IPAddress").parse()?;
    let ping = scope.docker(&["exec", &one, "ping", "-c", "1", "-W", "1", &address.to_string()])?;
    same("one reaches the other", ping.code == 0, false)?;
    let gateway = text(&endpoint(scope, &one, &name)?, "Gateway").to_owned();
    inside(scope, &one, &format!("ping -c 1 -W 5 {gateway}")).map(drop)
}

fn ports_follow(scope: &Scope<'_>) -> Result<()> {
    let one = network(scope, "one", &["--subnet", "10.208.1.0/24"])?;
    let two = network(scope, "two", &["--subnet", "10.208.2.0/24"])?;
    let web = scope.start("web", &["--network", &one, "-p", "127.0.0.1::80"], &["sh", "-c", SERVER])?;
    scope.logged(&web, "ready")?;
    let port = || -> Result<u16> {
        let ports = scope.inspect(&web)?["NetworkSettings"]["Ports"]["80/tcp"].take();
        Ok(text(&ports[0], "HostPort").parse()?)
    };
    let first = port()?;
    let place = SocketAddr::from(([127, 0, 0, 1], first));
    answers(scope, place)?;
    scope.ok(&["network", "connect", &two, &web])?;
    answers(scope, place)?;
    scope.ok(&["network", "disconnect", &one, &web])?;
    same("the same port", port()?, first)?;
    answers(scope, place)
}

fn endpoint_options(scope: &Scope<'_>) -> Result<()> {
    let name =
        network(scope, "net", &["--subnet", "10.209.0.0/24", "-o", "com.docker.network.driver.mtu=1400"])?;
    let wishes = format!(
        "name={name},ip=10.209.0.44,mac-address=02:42:0a:d1:00:2c,driver-opt=com.docker.network.endpoint.ifname=lan7,\
         driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    );
    let one = sleeper(scope, "one", &["--network", &wishes])?;
    let link = inside(scope, &one, "ip addr show lan7")?;
    for part in ["inet 10.209.0.44/24", "02:42:0a:d1:00:2c", "mtu 1400"] {
        contains("lan7", &link, part)?;
    }
    same("sysctl", inside(scope, &one, "cat /proc/sys/net/ipv4/conf/lan7/log_martians")?, "1")?;
    let bad = format!("name={name},driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1");
    let refused = scope.run(&["--network", &bad], &["true"])?.expect_code(125)?;
    contains("stderr", &refused.stderr, "net.ipv4.ip_forward=1")
}

fn macvlan(scope: &Scope<'_>) -> Result<()> {
    let name = network(scope, "mac", &["-d", "macvlan", "--subnet", "10.210.0.0/24"])?;
    let one = sleeper(scope, "one", &["--network", &name])?;
    let two = sleeper(scope, "two", &["--network", &name])?;
    inside(scope, &one, &format!("ping -c 1 -W 5 {two}"))?;
    let bad = scope.docker(&[
        "network",
        "create",
        "-d",
        "macvlan",
        "-o",
        "macvlan_mode=odd",
        &scope.name("odd"),
    ])?;
    contains("stderr", &bad.stderr, "requested macvlan mode 'odd' is not valid")
}

fn filters_and_prune(scope: &Scope<'_>) -> Result<()> {
    let label = format!("mark={}", scope.name("mark"));
    let used = network(scope, "used", &["--label", &label])?;
    let unused = network(scope, "unused", &["--label", &label])?;
    sleeper(scope, "in", &["--network", &used])?;
    let list = |filter: &str| -> Result<Vec<String>> {
        let own = format!("label={label}");
        let text = scope.ok(&[
            "network",
            "ls",
            "-q",
            "--no-trunc",
            "--filter",
            &own,
            "--filter",
            filter,
            "--format",
            "{{.Name}}",
        ])?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    same("driver", list("driver=bridge")?.len(), 2)?;
    same("type", list("type=builtin")?.len(), 0)?;
    same("name", list(&format!("name={unused}"))?, vec![unused.clone()])?;
    same("dangling", list("dangling=true")?, vec![unused.clone()])?;
    let unknown = scope.docker(&["network", "ls", "--filter", "no-such=1"])?;
    same("an unknown filter", unknown.code == 0, false)?;
    let pruned = scope.ok(&["network", "prune", "-f", "--filter", &format!("label={label}")])?;
    contains("pruned", &pruned, &unused)?;
    same("left", list("scope=local")?, vec![used])
}

fn events(scope: &Scope<'_>) -> Result<()> {
    let name = network(scope, "told", &[])?;
    let container = sleeper(scope, "in", &["--network", &name])?;
    scope.ok(&["network", "disconnect", &name, &container])?;
    scope.ok(&["network", "connect", &name, &container])?;
    scope.ok(&["rm", "-f", &container])?;
    scope.ok(&["network", "rm", &name])?;
    let arguments = [
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        "type=network",
        "--filter",
        &format!("network={name}"),
        "--format",
        "{{.Action}}",
    ];
    // The client's "now" is a whole second: the last event may be later.
    let expected = "create\nconnect\ndisconnect\nconnect\ndisconnect\ndestroy";
    scope.eventually("the events of the network", || Ok((scope.ok(&arguments)? == expected).then_some(())))
}

const COMPOSE_FILE: &str = "version: '3.8'
services:
  web:
    image: IMAGE
    command: sh -c 'until nc db 5432 < /dev/null; do sleep 0.1; done; exec nc -ll -p 80 -e echo hello'
    ports: ['127.0.0.1::80']
    depends_on: [db]
    networks: [front, back]
  db:
    image: IMAGE
    command: nc -ll -p 5432 -e echo ready
    networks: {back: {aliases: [database]}}
networks:
  front: {}
  back: {internal: true}
";

fn compose(scope: &Scope<'_>) -> Result<()> {
    let directory = scope.directory()?.to_owned();
    std::fs::write(
        directory.join("docker-compose.yml"),
        COMPOSE_FILE.replace("IMAGE", crate::fixture::BUSYBOX),
    )?;
    let project = scope.name("project");
    let compose = |arguments: &[&str]| -> Result<String> {
        let output = std::process::Command::new("docker-compose")
            .current_dir(&directory)
            .env("DOCKER_HOST", format!("unix://{}", scope.engine.socket.display()))
            .args(["--project-name", &project])
            .args(arguments)
            .output();
        let output = match output {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(skip("docker-compose is not installed"));
            }
            other => other?,
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "docker-compose {arguments:?}: {errors}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    compose(&["up", "--detach"])?;
    let place = compose(&["port", "web", "80"])?;
    answers(scope, place.parse().with_context(|| place.clone())?)?;
    compose(&["exec", "-T", "web", "nslookup", "database"])?;
    compose(&["down"])?;
    let left = scope.ok(&["network", "ls", "-q", "--filter", &format!("name={project}")])?;
    same("networks after down", left, "")
}
