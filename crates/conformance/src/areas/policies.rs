//! Published ports and the host's own firewall, with a second host that knocks: each policy on a daemon of its own.

use crate::check::{Check, contains, same, skip};
use crate::hosts::{Hosts, call};
use crate::scope::{Scope, eventually};
use anyhow::Result;

const AREA: &str = "policies";
/// A filter of the host that refuses what it does not name, as ufw's and firewalld's do.
const FILTER: &str = "table inet host {
    chain input {
        type filter hook input priority 0; policy drop;
        iifname lo accept
        ct state established,related accept
        tcp dport 8081 accept
    }
}";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(
            AREA,
            "respect-host: a published port is as open as the host's firewall says",
            respect_host,
        ),
        Check::new(AREA, "docker: a port past the host's firewall is open, with a warning", docker),
        Check::new(AREA, "localhost: ports are for this host unless an address is named", localhost),
        Check::new(
            AREA,
            "rules in the chain user come before ours and survive a flush of the rest",
            user_chain,
        ),
        Check::new(AREA, "--bridge-accept-fwmark lets marked packets in, and no others", marked),
        Check::new(
            AREA,
            "a flush of the ruleset by somebody else opens nothing and closes nothing, with a daemon or without",
            flushed,
        ),
        Check::new(AREA, "a neighbour host reaches no unpublished port, whatever route it takes", direct),
        Check::new(AREA, "an endpoint is shaped when it is made and while it runs", shaped),
        Check::new(AREA, "--default-gateway gives the containers another way out", default_gateway),
    ]
}

fn respect_host(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--publish-policy", "respect-host"])?;
    hosts.serve("web", &["-p", "8080:80", "-p", "8081:80"])?;
    hosts.becomes("8080", true)?;
    hosts.nft(FILTER)?;
    hosts.becomes("8080", false)?;
    hosts.becomes("8081", true)?;
    hosts.answers_its_host("192.0.2.1", "8080")?;
    let warned = hosts.serve("other", &["-p", "8082:80"])?;
    contains("the warning", &warned.stderr, "port 8082/tcp is closed to other hosts")?;
    same("a port published behind the filter", hosts.reaches(&hosts.neighbour, "192.0.2.1", "8082")?, false)?;
    hosts.nft("add rule inet host input tcp dport 8080 accept")?;
    hosts.becomes("8080", true)?;
    hosts.nft("delete table inet host")?;
    hosts.becomes("8082", true)?;
    hosts.close()
}

fn docker(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &[])?;
    hosts.nft(FILTER)?;
    let warned = hosts.serve("web", &["-p", "8080:80"])?;
    let words = "port 8080/tcp is open to other hosts although the chain inet host input would refuse it";
    contains("the warning", &warned.stderr, words)?;
    hosts.becomes("8080", true)?;
    let quiet = hosts.serve("quiet", &["-p", "8081:80", "-p", "127.0.0.1:8083:80"])?;
    same("no warning about what the host lets in, or about localhost", quiet.stderr, String::new())?;
    hosts.close()
}

fn localhost(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--publish-policy", "localhost"])?;
    hosts.serve("web", &["-p", "8080:80", "-p", "0.0.0.0:8081:80"])?;
    hosts.becomes("8081", true)?;
    same("another host", hosts.reaches(&hosts.neighbour, "192.0.2.1", "8080")?, false)?;
    hosts.answers_its_host("127.0.0.1", "8080")?;
    hosts.close()
}

fn user_chain(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &[])?;
    hosts.serve("web", &["-p", "8080:80"])?;
    hosts.becomes("8080", true)?;
    hosts.nft("add rule inet berth-user user ip saddr 192.0.2.2 drop")?;
    hosts.becomes("8080", false)?;
    for damage in
        ["flush chain inet berth forward", "flush map inet berth published4", "delete table bridge berth"]
    {
        hosts.meddle(damage)?;
        hosts.answers_its_host("192.0.2.1", "8080")?;
        same(damage, hosts.reaches(&hosts.neighbour, "192.0.2.1", "8080")?, false)?;
    }
    hosts.nft("flush chain inet berth-user user")?;
    hosts.becomes("8080", true)?;
    hosts.nft("flush ruleset")?;
    hosts.becomes("8080", true)?;
    hosts.close()
}

fn marked(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--bridge-accept-fwmark", "0x10/0xf0"])?;
    hosts.serve("web", &[])?;
    call("ip", &["-n", &hosts.neighbour, "route", "add", "172.16.0.0/12", "via", "192.0.2.1"])?;
    let address = hosts.address("web")?;
    hosts.answers_its_host(&address, "80")?;
    same("without a mark", hosts.reaches(&hosts.neighbour, &address, "80")?, false)?;
    hosts.nft("add rule inet berth-user user ip saddr 192.0.2.2 meta mark set 0x21")?;
    same("another mark", hosts.reaches(&hosts.neighbour, &address, "80")?, false)?;
    hosts.nft("add rule inet berth-user user ip saddr 192.0.2.2 meta mark set 0x11")?;
    eventually("an answer to marked packets", || {
        Ok(hosts.reaches(&hosts.neighbour, &address, "80")?.then_some(()))
    })?;
    hosts.close()
}

fn flushed(scope: &Scope<'_>) -> Result<()> {
    let mut hosts = Hosts::new(scope, &[])?;
    hosts.serve("web", &["-p", "8080:80"])?;
    hosts.becomes("8080", true)?;
    if hosts.meddle("delete table inet berth")? {
        return Err(skip(
            "this kernel keeps no tables for the daemon (Linux 6.9): they are restored instead",
        ));
    }
    call("ip", &["-n", &hosts.neighbour, "route", "add", "172.16.0.0/12", "via", "192.0.2.1"])?;
    let address = hosts.address("web")?;
    std::thread::scope(|threads| {
        let flushing = threads.spawn(|| (0..60).try_for_each(|_| hosts.meddle("flush ruleset").map(drop)));
        let mut rounds = 0;
        while !flushing.is_finished() || rounds == 0 {
            rounds += 1;
            same("not published", hosts.reaches(&hosts.neighbour, &address, "80")?, false)?;
            hosts.becomes("8080", true)?;
        }
        flushing.join().map_err(|_| anyhow::anyhow!("the flushing thread panicked"))?
    })?;
    hosts.crash()?;
    hosts.becomes("8080", true)?;
    same("not published, without a daemon", hosts.reaches(&hosts.neighbour, &address, "80")?, false)?;
    hosts.revive()?;
    same("the next daemon holds the tables", hosts.meddle("flush chain inet berth forward")?, false)?;
    hosts.nft("flush ruleset")?;
    hosts.becomes("8080", true)?;
    same("not published, after all", hosts.reaches(&hosts.neighbour, &address, "80")?, false)?;
    hosts.close()
}

fn direct(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &[])?;
    hosts.serve("web", &["-p", "8080:80"])?;
    hosts.serve("inner", &[])?;
    hosts.becomes("8080", true)?;
    call("ip", &["-n", &hosts.neighbour, "route", "add", "172.16.0.0/12", "via", "192.0.2.1"])?;
    for name in ["web", "inner"] {
        let address = hosts.address(name)?;
        same(name, hosts.reaches(&hosts.neighbour, &address, "80")?, false)?;
        hosts.answers_its_host(&address, "80")?;
    }
    hosts.close()
}

fn default_gateway(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--bip", "10.77.0.1/24", "--default-gateway", "10.77.0.9"])?;
    hosts.serve("web", &[])?;
    let routes = hosts.client.expect(&["exec", "web", "ip", "route"])?;
    contains("the routes", &routes, "default via 10.77.0.9 dev eth0")?;
    hosts.close()
}

fn shaped(scope: &Scope<'_>) -> Result<()> {
    let net = scope.name("net");
    scope.ok(&["network", "create", &net])?;
    let option = format!("name={net},driver-opt=berth.endpoint.egress_rate=20mbit");
    let name = scope.start("slow", &["--network", &option], &["sleep", "300"])?;
    let queue = || scope.ok(&["exec", &name, "tc", "qdisc", "show", "dev", "eth0"]);
    contains("the queue", &queue()?, "tbf")?;
    let path = format!("/networks/{net}/shape");
    let shape = |options: serde_json::Value| {
        let body = serde_json::json!({"Container": name, "EndpointConfig": {"DriverOpts": options}});
        scope.api_json("POST", &path, &body)
    };
    shape(serde_json::json!({"berth.endpoint.egress_rate": ""}))?.expect(200)?;
    same("without a shape", queue()?.contains("tbf"), false)?;
    shape(serde_json::json!({"berth.endpoint.egress_rate": "5mbit"}))?.expect(200)?;
    scope.ok(&["restart", "-t", "0", &name])?;
    contains("the queue after a restart", &queue()?, "tbf")?;
    let refused = shape(serde_json::json!({"berth.endpoint.egress_rate": "fast"}))?.expect(400)?;
    contains("a rate that is none", &refused.message(), "it must be a rate such as 10mbit")?;
    let refused = shape(serde_json::json!({"other": "x"}))?.expect(400)?;
    contains("another option", &refused.message(), "option other cannot be changed")
}
