//! Bridges, ports and addresses that somebody takes apart while containers run: put together again by the daemon.

use crate::check::{Check, contains};
use crate::hosts::{Hosts, call, printed};
use crate::scope::{Scope, eventually};
use anyhow::{Context, Result, ensure};

const AREA: &str = "mending";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "a bridge that somebody deletes or changes is put right at once", bridge),
        Check::new(AREA, "rules that somebody flushes are restored within a second of being told", rules),
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
    within_a_second(&hosts, "what was taken apart is put right", 4)?;
    hosts.close()
}

/// Each repair ended within a second of the kernel telling of the change.
fn within_a_second(hosts: &Hosts, what: &str, at_least: usize) -> Result<()> {
    let repairs = eventually(what, || {
        let repairs = hosts.repairs(what)?;
        Ok((repairs.len() >= at_least).then_some(repairs))
    })?;
    ensure!(repairs.iter().all(|milliseconds| *milliseconds < 1000), "milliseconds: {repairs:?}");
    Ok(())
}

fn rules(scope: &Scope<'_>) -> Result<()> {
    let hosts = Hosts::new(scope, &["--bip", "10.75.0.1/24", "--firewall-lock=false"])?;
    hosts.serve("web", &["-p", "8080:80"])?;
    hosts.becomes("8080", true)?;
    let words = ["netns", "exec", &hosts.host, "nft", "-s", "list", "ruleset"];
    // In which order they are listed means nothing.
    let listed = || -> Result<Vec<String>> {
        let listed = printed("ip", &words)?;
        let mut parts: Vec<String> =
            listed.split([' ', ',', '\n', '\t']).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        parts.sort();
        Ok(parts)
    };
    let before = listed()?;
    let damages = [
        "flush ruleset",
        "delete table inet berth",
        "flush chain inet berth forward",
        "flush map inet berth published4",
        "delete table bridge berth",
        "delete table inet berth-user",
        "add rule inet berth postrouting accept",
        "flush ruleset",
    ];
    for damage in damages {
        hosts.nft(damage)?;
        eventually(&format!("the rules after {damage}"), || Ok((listed()? == before).then_some(())))?;
    }
    within_a_second(&hosts, "they are restored", damages.len())?;
    hosts.becomes("8080", true)?;
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
