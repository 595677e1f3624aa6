//! Bridges, ports and addresses that somebody takes apart while containers run: put together again by the daemon.

use crate::check::{Check, contains};
use crate::hosts::{Hosts, call, printed};
use crate::scope::{Scope, eventually};
use anyhow::{Context, Result};

const AREA: &str = "mending";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a bridge that somebody deletes or changes is put right at once", bridge),
        Check::new(AREA, "a container's link that somebody deletes or takes out is plugged in again", link),
    ]
}

fn ip(hosts: &Hosts, words: &str) -> Result<()> {
    let words: Vec<&str> = words.split(' ').collect();
    call("ip", &[&["-n", &hosts.host], &words[..]].concat())
}

/// The host's end of the only container's interface.
fn port(hosts: &Hosts) -> Result<String> {
    eventually("a port of the bridge", || {
        let words = ["-n", &hosts.host, "-o", "link", "show", "master", "docker0"];
        let links = printed("ip", &words).unwrap_or_default();
        let name = links.split(": ").nth(1).and_then(|name| name.split('@').next());
        Ok(name.map(str::to_owned))
    })
}

fn bridge(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--bip", "10.78.0.1/24"])?;
    hosts.serve("web", &["-p", "8080:80"])?;
    hosts.becomes("8080", true)?;
    for damage in [
        "link delete docker0",
        "address delete 10.78.0.1/24 dev docker0",
        "link set docker0 down",
        "address flush dev docker0",
    ] {
        ip(&hosts, damage).context(damage)?;
        hosts.becomes("8080", true).context(damage)?;
        eventually(&format!("the bridge's address after {damage}"), || {
            let shown = printed("ip", &["-n", &hosts.host, "-4", "address", "show", "docker0"])?;
            Ok(shown.contains("10.78.0.1/24").then_some(()))
        })?;
        let address = hosts.address("web")?;
        hosts.answers_its_host(&address, "80").context(damage)?;
    }
    hosts.close()
}

fn link(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--bip", "10.79.0.1/24"])?;
    hosts.serve("web", &["-p", "8080:80"])?;
    hosts.becomes("8080", true)?;
    for damage in ["link delete dev", "link set nomaster dev", "link set down dev"] {
        ip(&hosts, &format!("{damage} {}", port(&hosts)?)).context(damage)?;
        hosts.becomes("8080", true).context(damage)?;
    }
    let routes = hosts.client.expect(&["exec", "web", "ip", "route"])?;
    contains("the routes", &routes, "default via 10.79.0.1 dev eth0")?;
    hosts.close()
}
