//! Containers that say they are others: their neighbours do not believe them.

use crate::check::{Check, same};
use crate::scope::Scope;
use anyhow::{Context, Result, ensure};

const AREA: &str = "forgeries";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a container cannot take a neighbour's or the gateway's address", taken_address),
        Check::new(AREA, "NET_ADMIN may use other addresses, unless the network forbids it", other_addresses),
        Check::new(AREA, "a guard that there is not is refused", unknown_guard),
    ]
}

/// Sends ARP replies that say that the addresses given are here, then one that is true.
const FORGE: &str = r#"
    use Socket;
    socket(my $s, 17, 3, 0x0300) or die "socket: $!";
    my $request = pack("a16 i", "eth0", 0);
    ioctl($s, 0x8933, $request) or die "SIOCGIFINDEX: $!";
    my $index = (unpack("a16 i", $request))[1];
    ioctl($s, 0x8927, $request = pack("a16 x16", "eth0")) or die "SIOCGIFHWADDR: $!";
    my $mac = substr($request, 18, 6);
    for my $address (@ARGV) {
        my $frame = "\xff" x 6 . $mac . pack("n n n C C n", 0x806, 1, 0x800, 6, 4, 2);
        $frame .= $mac . inet_aton($address) . "\xff" x 6 . inet_aton($address);
        my $to = pack("S n i S C C a8", 17, 3, $index, 0, 0, 6, "\xff" x 6);
        send($s, $frame, 0, $to) or die "send: $!";
    }
"#;

fn network(scope: &Scope<'_>, flags: &[&str]) -> Result<String> {
    let name = scope.name("net");
    scope.ok(&[&["network", "create"], flags, &[&name]].concat())?;
    Ok(name)
}

fn address(scope: &Scope<'_>, container: &str, network: &str, key: &str) -> Result<String> {
    let endpoint = scope.inspect(container)?["NetworkSettings"]["Networks"][network][key].take();
    Ok(endpoint.as_str().with_context(|| format!("{key} of {container}"))?.to_owned())
}

/// The hardware address that a container believes an address to be at.
fn believed(scope: &Scope<'_>, container: &str, address: &str) -> Result<String> {
    let script =
        format!("while read ip _ _ mac _; do [ $ip = {address} ] && echo $mac; done < /proc/net/arp; true");
    Ok(scope.ok(&["exec", container, "sh", "-c", &script])?.trim().to_owned())
}

fn taken_address(scope: &Scope<'_>) -> Result<()> {
    let image = scope.debian()?;
    let net = network(scope, &[])?;
    let victim = scope.start("victim", &["--network", &net], &["sleep", "300"])?;
    let friend = scope.start("friend", &["--network", &net], &["sleep", "300"])?;
    let attacker = scope.start_image("attacker", image, &["--network", &net], &["sleep", "300"])?;
    let gateway = address(scope, &victim, &net, "Gateway")?;
    let friends = address(scope, &friend, &net, "IPAddress")?;
    let own = address(scope, &attacker, &net, "IPAddress")?;
    for other in [&gateway, &friends, &own] {
        scope.ok(&["exec", &victim, "ping", "-c", "1", other])?;
    }
    let before = [believed(scope, &victim, &gateway)?, believed(scope, &victim, &friends)?];
    let mac = address(scope, &attacker, &net, "MacAddress")?;
    same("the attacker's own address", believed(scope, &victim, &own)?, mac.as_str())?;
    ensure!(before.iter().all(|known| !known.is_empty() && *known != mac), "{before:?} are not {mac}");
    scope.ok(&["exec", &attacker, "perl", "-e", FORGE, &gateway, &friends, &own])?;
    let after = [believed(scope, &victim, &gateway)?, believed(scope, &victim, &friends)?];
    same("what the victim believes", after, before)
}

fn other_addresses(scope: &Scope<'_>) -> Result<()> {
    let free = |scope: &Scope<'_>, flags: &[&str], reached: bool| -> Result<()> {
        let net = network(scope, flags)?;
        let admin = ["--network", &net, "--cap-add", "NET_ADMIN"];
        let mover = scope.start("mover", &admin, &["sleep", "300"])?;
        let asker = scope.start("asker", &["--network", &net], &["sleep", "300"])?;
        scope.ok(&["exec", &mover, "ip", "address", "add", "192.0.2.1/32", "dev", "eth0"])?;
        let via = address(scope, &mover, &net, "IPAddress")?;
        let route = ["exec", "--privileged", &asker, "ip", "route", "add", "192.0.2.1", "via", &via];
        scope.ok(&route)?;
        let asked = scope.docker(&["exec", &asker, "ping", "-c", "1", "-W", "1", "192.0.2.1"])?;
        same("an answer from another address", asked.code == 0, reached)?;
        scope.ok(&["rm", "-f", &mover, &asker])?;
        scope.ok(&["network", "rm", &net]).map(drop)
    };
    free(scope, &[], true)?;
    free(scope, &["-o", "berth.network.guard=sources"], false)
}

fn unknown_guard(scope: &Scope<'_>) -> Result<()> {
    let name = scope.name("net");
    let output =
        scope.docker(&["network", "create", "-o", "berth.network.guard=perhaps", &name])?.expect_code(1)?;
    crate::check::contains(
        "stderr",
        &output.stderr,
        "invalid value \"perhaps\" for option berth.network.guard: it must be auto, sources, announcements or off",
    )
}
