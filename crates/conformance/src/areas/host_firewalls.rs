//! ufw and firewalld themselves beside a whole daemon: what each publish policy makes of their denials, and their reloads.

use crate::check::{Check, contains, same, skip};
use crate::hosts::{Hosts, call, printed};
use crate::scope::{Scope, eventually};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const AREA: &str = "host-firewalls";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "ufw denies, and published ports go past it with a warning (docker)", |scope| {
            past(scope, Ufw::start)
        }),
        Check::new(AREA, "ufw denies and allows, and published ports follow it (respect-host)", |scope| {
            followed(scope, Ufw::start)
        }),
        Check::new(
            AREA,
            "firewalld denies, and published ports go past it with a warning (docker)",
            |scope| past(scope, Firewalld::start),
        ),
        Check::new(
            AREA,
            "firewalld denies and allows, and published ports follow it (respect-host)",
            |scope| followed(scope, Firewalld::start),
        ),
        Check::new(
            AREA,
            "bridges are in a zone of firewalld as long as their networks are, or where somebody put them",
            zones,
        ),
        Check::new(AREA, "a port on localhost is no matter of ufw's (localhost)", localhost),
    ]
}

/// A firewall of the host that refuses what nobody allowed.
trait Firewall {
    /// What warnings call it.
    const NAME: &'static str;
    /// Allows 8080/tcp, for good.
    fn allow(&self, hosts: &Hosts) -> Result<()>;
    /// Makes its rules anew.
    fn reload(&self, hosts: &Hosts) -> Result<()>;
}

/// ufw with copies of its own files: those of this machine stay as they are.
struct Ufw(PathBuf);

impl Ufw {
    fn start(scope: &Scope<'_>, hosts: &Hosts) -> Result<Self> {
        if !has("ufw") {
            return Err(skip("no ufw here"));
        }
        let own = Self(scope.directory()?.join("ufw"));
        std::fs::create_dir_all(&own.0)?;
        for (from, to) in [("/etc/ufw", "rules"), ("/etc/default/ufw", "default")] {
            call("cp", &["-aT", from, &own.0.join(to).display().to_string()])?;
        }
        own.run(hosts, "--force enable")?;
        Ok(own)
    }

    fn run(&self, hosts: &Hosts, words: &str) -> Result<()> {
        let at = self.0.display();
        let script = format!(
            "mount --bind {at}/rules /etc/ufw && mount --bind {at}/default /etc/default/ufw && exec ufw {words}"
        );
        call("ip", &["netns", "exec", &hosts.host, "unshare", "--mount", "sh", "-c", &script])
    }
}

impl Firewall for Ufw {
    const NAME: &'static str = "ufw";

    fn allow(&self, hosts: &Hosts) -> Result<()> {
        self.run(hosts, "allow 8080/tcp")
    }

    fn reload(&self, hosts: &Hosts) -> Result<()> {
        self.run(hosts, "reload")
    }
}

/// firewalld with a bus of its own; both end with this value.
struct Firewalld {
    bus: String,
    daemons: Vec<Child>,
}

const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path=BUS</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
<allow send_type="method_call"/><allow send_type="signal"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>"#;

impl Firewalld {
    fn start(scope: &Scope<'_>, hosts: &Hosts) -> Result<Self> {
        if !["firewalld", "dbus-daemon", "gdbus"].into_iter().all(has) {
            return Err(skip("no firewalld here"));
        }
        let directory = scope.directory()?.to_owned();
        let (socket, own) = (Hosts::bus(&directory), directory.join("firewalld"));
        let configuration = directory.join("bus.conf");
        std::fs::write(&configuration, BUS.replace("BUS", &socket.display().to_string()))?;
        std::fs::create_dir_all(&own)?;
        let bus = format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={}", socket.display());
        let mut firewalld = Self { bus, daemons: Vec::new() };
        let configuration = format!("--config-file={}", configuration.display());
        firewalld.spawn(hosts, &["dbus-daemon", &configuration, "--nofork"])?;
        eventually("the bus", || Ok(socket.exists().then_some(())))?;
        let own = own.display().to_string();
        firewalld.spawn(hosts, &["firewalld", "--nofork", "--nopid", "--system-config", &own])?;
        eventually("firewalld", || Ok(firewalld.command(hosts, "--state").ok()))?;
        Ok(firewalld)
    }

    fn spawn(&mut self, hosts: &Hosts, words: &[&str]) -> Result<()> {
        let daemon = Command::new("ip")
            .args(["netns", "exec", &hosts.host, "env", &self.bus])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("ip")?;
        self.daemons.push(daemon);
        Ok(())
    }

    fn command(&self, hosts: &Hosts, words: &str) -> Result<()> {
        call("ip", &["netns", "exec", &hosts.host, "env", &self.bus, "firewall-cmd", "-q", words])
    }
}

impl Firewall for Firewalld {
    const NAME: &'static str = "firewalld";

    fn allow(&self, hosts: &Hosts) -> Result<()> {
        self.command(hosts, "--add-port=8080/tcp")?;
        self.command(hosts, "--runtime-to-permanent")
    }

    fn reload(&self, hosts: &Hosts) -> Result<()> {
        self.command(hosts, "--complete-reload")
    }
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
    }
}

fn has(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin"].iter().any(|directory| Path::new(directory).join(program).exists())
}

/// Docker's policy: open all the same, said when it is published, and so after the firewall has made its rules anew.
fn past<F: Firewall>(scope: &Scope<'_>, start: impl Fn(&Scope<'_>, &Hosts) -> Result<F>) -> Result<()> {
    let hosts = Hosts::new(scope, &[])?;
    let firewall = start(scope, &hosts)?;
    let warned = hosts.serve("web", &["-p", "8080:80"])?;
    let words = format!("port 8080/tcp is open to other hosts although {} would refuse it", F::NAME);
    contains("the warning", &warned.stderr, &words)?;
    hosts.becomes("8080", true)?;
    for _ in 0..3 {
        firewall.reload(&hosts)?;
        hosts.becomes("8080", true)?;
    }
    let address = hosts.address("web")?;
    hosts.answers_its_host(&address, "80")?;
    // The way out of a container is forwarded as well.
    let listener = listen(&hosts)?;
    eventually("the container reaches the neighbour", || {
        let heard = hosts.client.call(&["exec", "web", "nc", "-w", "1", "192.0.2.2", "80"])?;
        Ok((heard.stdout == "outside\n").then_some(()))
    })?;
    drop(listener);
    drop(firewall);
    hosts.close()
}

/// A server at the neighbour, ended with this value.
struct Listener(Child);

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn listen(hosts: &Hosts) -> Result<Listener> {
    let child = Command::new("ip")
        .args(["netns", "exec", &hosts.neighbour])
        .arg(&hosts.busybox)
        .args(["nc", "-ll", "-p", "80", "-e", "echo", "outside"])
        .stdin(Stdio::null())
        .spawn()?;
    Ok(Listener(child))
}

/// What the host's firewall says is what counts, also later, and after it has made its rules anew.
fn followed<F: Firewall>(scope: &Scope<'_>, start: impl Fn(&Scope<'_>, &Hosts) -> Result<F>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--publish-policy", "respect-host"])?;
    hosts.serve("web", &["-p", "8080:80", "-p", "8081:80"])?;
    hosts.becomes("8080", true)?;
    let firewall = start(scope, &hosts)?;
    hosts.becomes("8080", false)?;
    let warned = hosts.serve("late", &["-p", "8082:80"])?;
    contains("the warning", &warned.stderr, "port 8082/tcp is closed to other hosts")?;
    contains("the warning", &warned.stderr, F::NAME)?;
    firewall.allow(&hosts)?;
    hosts.becomes("8080", true)?;
    same("what is not allowed", hosts.reaches(&hosts.neighbour, "192.0.2.1", "8081")?, false)?;
    for _ in 0..3 {
        firewall.reload(&hosts)?;
        hosts.becomes("8080", true)?;
        hosts.becomes("8081", false)?;
    }
    hosts.answers_its_host("127.0.0.1", "8081")?;
    drop(firewall);
    hosts.close()
}

fn zones(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &[])?;
    let firewalld = Firewalld::start(scope, &hosts)?;
    let bridge = |network: &str| -> Result<String> {
        hosts.client.expect(&[
            "network",
            "create",
            "-o",
            &format!("com.docker.network.bridge.name=br-{network}"),
            network,
        ])?;
        Ok(format!("br-{network}"))
    };
    let members = |zone: &str| {
        let words =
            ["netns", "exec", &hosts.host, "env", &firewalld.bus, "firewall-cmd", zone, "--list-interfaces"];
        printed("ip", &words)
    };
    let is_in = |zone: &str, bridge: &str| -> Result<bool> {
        Ok(members(zone)?.split_whitespace().any(|name| name == bridge))
    };
    let becomes = |zone: &str, bridge: &str, wanted: bool| {
        eventually(&format!("{bridge} in {zone}: {wanted}"), || {
            Ok((is_in(zone, bridge)? == wanted).then_some(()))
        })
    };
    becomes("--zone=trusted", "docker0", true)?;
    let lan = bridge("lan")?;
    becomes("--zone=trusted", &lan, true)?;
    printed(
        "ip",
        &[
            "netns",
            "exec",
            &hosts.host,
            "env",
            &firewalld.bus,
            "firewall-cmd",
            "--zone=internal",
            "--change-interface=docker0",
        ],
    )?;
    let other = bridge("other")?;
    becomes("--zone=trusted", &other, true)?;
    same("where somebody put it", is_in("--zone=internal", "docker0")?, true)?;
    hosts.client.expect(&["network", "rm", "lan"])?;
    becomes("--zone=trusted", &lan, false)?;
    same("the other one", is_in("--zone=trusted", &other)?, true)?;
    hosts.client.expect(&["network", "rm", "other"])?;
    drop(firewalld);
    hosts.close()
}

fn localhost(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--publish-policy", "localhost"])?;
    let firewall = Ufw::start(scope, &hosts)?;
    let quiet = hosts.serve("web", &["-p", "8080:80"])?;
    same("no warning", quiet.stderr, String::new())?;
    hosts.answers_its_host("127.0.0.1", "8080")?;
    same("another host", hosts.reaches(&hosts.neighbour, "192.0.2.1", "8080")?, false)?;
    let warned = hosts.serve("named", &["-p", "0.0.0.0:8081:80"])?;
    contains("the warning", &warned.stderr, "port 8081/tcp is open to other hosts although ufw")?;
    hosts.becomes("8081", true)?;
    let listed = printed("ip", &["netns", "exec", &hosts.host, "nft", "list", "table", "inet", "berth"])?;
    contains("where it is published", &listed, "127.0.0.1 . tcp . 8080")?;
    drop(firewall);
    hosts.close()
}
