//! SCTP through a published port, spoken by perl: the kernel of the machine tier has it, others need not.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use network::{Network, NetworkRules, Protocol, Ruleset};
use support::{World, bridge, can_run, container_on, kernel_has, name, port, prefix};

const PROBE: &str = "use Socket; socket(S, PF_INET, SOCK_STREAM, 132) or die $!";
const SERVE: &str = "use Socket; $| = 1; socket(S, PF_INET, SOCK_STREAM, 132) or die $!; \
    bind(S, sockaddr_in(80, INADDR_ANY)) or die $!; listen(S, 5) or die $!; print qq(ready\\n); \
    for (1 .. 3) { accept(C, S) or die $!; syswrite(C, qq(hello\\n)); close(C) }";
const ASK: &str = "use Socket; socket(S, PF_INET, SOCK_STREAM, 132) or die $!; \
    connect(S, sockaddr_in($ARGV[1], inet_aton($ARGV[0]))) or die $!; sysread(S, $line, 99); print $line";

#[test]
fn an_sctp_port_is_published() {
    if !can_run() {
        return;
    }
    let world = World::new();
    if !kernel_has("SCTP", world.host.try_run("perl", &["-e", PROBE])) {
        return;
    }
    let mut ruleset = Ruleset::default();
    ruleset.set_network("default", NetworkRules::new(name("docker0"), vec![prefix("172.17.0.0/16")]));
    ruleset.publish(port(Protocol::Sctp, "0.0.0.0:8080", "172.17.0.2:80")).unwrap();
    world.host.within(|| {
        let mut network = Network::open().unwrap();
        network.sync_firewall(&ruleset).unwrap();
        network.ensure_bridge(&bridge("docker0", &["172.17.0.1/16"])).unwrap();
    });
    let container = container_on(&world, "docker0", 1, &["172.17.0.2/16"], &["172.17.0.1"]);
    let mut server =
        container.within(|| Command::new("perl").args(["-e", SERVE]).stdout(Stdio::piped()).spawn()).unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    for (from, address) in
        [(&world.neighbour, "192.0.2.1"), (&world.host, "192.0.2.1"), (&world.host, "127.0.0.1")]
    {
        assert_eq!(from.run("perl", &["-e", ASK, address, "8080"]), "hello\n", "{address}");
    }
    assert!(server.wait().unwrap().success());
}
