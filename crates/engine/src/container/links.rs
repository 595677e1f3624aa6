//! Legacy links of the default bridge (`--link`): another name for a container, in the hosts file and the environment of
//! one other. In a network of the user's a link is a name that the network's own name server knows.
//!
//! The container that has the link records it by the other's identifier, so renaming either needs no change here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use api::host_config::HostConfig;
use api::port::{Port, Protocol};
use network::files::HostsEntry;
use network::{InterfaceName, Passage};

use super::net_files;
use super::record::{Attachment, Link, Record};
use super::registry::Handle;
use super::view::View;
use crate::engine::Engine;
use crate::network::{PREDEFINED, exposed};
use crate::{Error, Kind, Result};

/// The only network with links of this kind.
const NETWORK: &str = PREDEFINED[0];
/// How long a start waits for the hosts files of containers that are linked to it.
const PATIENCE: Duration = Duration::from_secs(1);

/// `name` or `name:alias`; also `/name:/other/alias`, as inspect shows it.
fn parse(text: &str) -> Result<(&str, &str)> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [""] => Err(Error::invalid("empty string specified for links")),
        [name] => Ok((name, name)),
        [name, alias] => match name.strip_prefix('/') {
            Some(name) => Ok((name, alias.rsplit('/').next().unwrap_or(alias))),
            None => Ok((name, alias)),
        },
        _ => Err(Error::invalid(format!("bad format for links: {text}"))),
    }
}

/// The links that a new container asks for; none in a network of the user's.
pub(super) fn resolve(engine: &Engine, host: &HostConfig) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    if !matches!(host.network_mode.as_str(), "bridge" | "none") {
        return Ok(links);
    }
    for text in host.links.iter().flatten() {
        let (name, alias) = parse(text)?;
        let child = child(engine, name).map_err(|error| match error.kind {
            // A 404 would have clients pull the image.
            Kind::NotFound => {
                Error::invalid(format!("could not get container for {name}: {}", error.message))
            }
            _ => error,
        })?;
        if child.view().record.host_config.network_mode == "host" {
            return Err(Error::invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            ));
        }
        // As Docker: of links by the same name the first counts.
        if !links.iter().any(|link| link.alias == alias) {
            links.push(Link { container_id: child.id.to_string(), alias: alias.to_owned() });
        }
    }
    Ok(links)
}

/// The container of a name, or the one whose network it shares.
fn child(engine: &Engine, name: &str) -> Result<Handle> {
    let mut handle = engine.containers.find(name)?;
    loop {
        let view = handle.view();
        match view.record.host_config.network_mode.strip_prefix("container:") {
            Some(donor) => handle = engine.containers.find(donor)?,
            None => return Ok(handle),
        }
    }
}

/// The links as inspect shows them: `/child:/parent/alias`.
pub(super) fn shown(engine: &Engine, record: &Record) -> Option<Vec<String>> {
    let words: Vec<String> = record
        .links
        .iter()
        .filter_map(|link| {
            let child = engine.containers.find(&link.container_id).ok()?.view();
            Some(format!("/{}:/{}/{}", child.record.name, record.name, link.alias))
        })
        .collect();
    (!words.is_empty()).then_some(words)
}

/// The names that containers have by the links of others: `/parent/alias`, by identifier.
pub(super) fn names<'a>(records: impl Iterator<Item = &'a Record>) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records {
        for link in &record.links {
            names
                .entry(link.container_id.clone())
                .or_default()
                .push(format!("/{}/{}", record.name, link.alias));
        }
    }
    names
}

/// A linked container, as a start sees it.
struct Linked {
    alias: String,
    /// `/parent/alias`.
    name: String,
    addresses: Vec<IpAddr>,
    view: Arc<View>,
}

/// Those of a container's links that hold an address now; the others are named in the error list.
fn gather(engine: &Engine, record: &Record) -> (Vec<Linked>, Vec<Error>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    if !record.endpoints.contains_key(NETWORK) {
        return (found, problems);
    }
    for link in &record.links {
        // A container that was removed takes its links along.
        let Ok(child) = engine.containers.find(&link.container_id) else { continue };
        let view = child.view();
        let name = format!("/{}/{}", record.name, link.alias);
        let held = view.record.attachments.iter().find(|held| held.network_name == NETWORK);
        match held {
            Some(held) => found.push(Linked {
                alias: link.alias.clone(),
                name,
                addresses: held.endpoint.addresses.iter().map(network::Prefix::address).collect(),
                view,
            }),
            None if view.state().running().is_none() => problems.push(Error::system(format!(
                "Cannot link to a non running container: /{} AS {name}",
                view.record.name
            ))),
            None => problems.push(Error::system(format!(
                "Cannot link to /{}, as it does not belong to the default network",
                view.record.name
            ))),
        }
    }
    (found, problems)
}

/// Lines of a hosts file: the alias, the other's host name and its own name.
pub(super) fn hosts(engine: &Engine, record: &Record) -> Vec<HostsEntry> {
    let entry = |linked: &Linked, address: IpAddr| {
        let child = &linked.view.record;
        let mut names = vec![linked.alias.clone(), child.spec.hostname.clone()];
        if child.name != linked.alias {
            names.push(child.name.clone());
        }
        HostsEntry { address, names }
    };
    let (linked, _) = gather(engine, record);
    linked.iter().flat_map(|one| one.addresses.iter().map(move |address| entry(one, *address))).collect()
}

/// What the links add to the environment of a program. A start fails when one of them leads nowhere.
pub(super) fn environment(engine: &Engine, record: &Record, start: bool) -> Result<Vec<String>> {
    let (linked, mut problems) = gather(engine, record);
    if start && !problems.is_empty() {
        return Err(problems.remove(0));
    }
    let variables = linked.iter().flat_map(|one| {
        let config = &one.view.record.config;
        let ports: Vec<Port> = config.exposed_ports.keys().filter_map(|text| text.parse().ok()).collect();
        let address = one.addresses.iter().find(|address| address.is_ipv4()).or(one.addresses.first());
        let environment = config.env.clone().unwrap_or_default();
        address.map(|address| variables(&one.name, &one.alias, *address, ports, &environment))
    });
    Ok(variables.flatten().collect())
}

/// The variables of one link: where its ports are, its name, and its own environment.
fn variables(
    name: &str,
    alias: &str,
    address: IpAddr,
    mut ports: Vec<Port>,
    environment: &[String],
) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    ports.sort_by_key(|port| (port.protocol != Protocol::Tcp, port.protocol.as_str(), port.number));
    let url = |port: &Port| format!("{}://{address}:{}", port.protocol.as_str(), port.number);
    let key =
        |port: &Port| format!("{prefix}_PORT_{}_{}", port.number, port.protocol.as_str().to_uppercase());
    let mut env: Vec<String> = Vec::new();
    env.extend(ports.first().map(|port| format!("{prefix}_PORT={}", url(port))));
    for range in ports.chunk_by(|a, b| a.protocol == b.protocol && a.number.checked_add(1) == Some(b.number))
    {
        for port in range {
            let key = key(port);
            env.push(format!("{key}={}", url(port)));
            env.push(format!("{key}_ADDR={address}"));
            env.push(format!("{key}_PORT={}", port.number));
            env.push(format!("{key}_PROTO={}", port.protocol.as_str()));
        }
        if let [first, .., last] = range {
            let key = key(first);
            env.push(format!("{key}_START={}", url(first)));
            env.push(format!("{key}_PORT_START={}", first.number));
            env.push(format!("{key}_END={}", url(last)));
            env.push(format!("{key}_PORT_END={}", last.number));
        }
    }
    env.push(format!("{prefix}_NAME={name}"));
    let own = environment.iter().filter_map(|entry| entry.split_once('='));
    env.extend(
        own.filter(|(name, _)| !matches!(*name, "HOME" | "PATH"))
            .map(|(name, value)| format!("{prefix}_ENV_{name}={value}")),
    );
    env
}

/// Lets a container and those that it has links with through to each other's ports, where the default network keeps its
/// containers apart.
pub(crate) fn let_pass(engine: &Engine, record: &Record, attachments: &[Attachment]) -> Result<()> {
    let Some(bridge) = engine.networks.kept_apart() else { return Ok(()) };
    let own = address(attachments);
    let mut linked = BTreeSet::new();
    for link in &record.links {
        let Ok(child) = engine.containers.find(&link.container_id) else { continue };
        let child = &child.view().record;
        linked.extend(passages(&bridge, own, address(&child.attachments), child));
    }
    for parent in engine.containers.all() {
        let parent = &parent.view().record;
        if parent.links.iter().any(|link| link.container_id == record.id) {
            linked.extend(passages(&bridge, address(&parent.attachments), own, record));
        }
    }
    engine.networks.let_pass(linked, &BTreeSet::new())
}

/// The same for all containers that an earlier daemon left running.
pub(crate) fn let_all_pass(engine: &Engine) -> Result<()> {
    let running = engine.containers.all().into_iter().map(|handle| handle.view());
    for view in running.filter(|view| view.live.is_some()) {
        let_pass(engine, &view.record, &view.record.attachments)?;
    }
    Ok(())
}

/// The IPv4 address in the default network, which is the only one that links let through, as with Docker.
fn address(attachments: &[Attachment]) -> Option<Ipv4Addr> {
    let held = attachments.iter().find(|held| held.network_name == NETWORK)?;
    held.endpoint.addresses.iter().find_map(|prefix| match prefix.address() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })
}

/// What a link lets through: from the parent to the ports that the child exposes.
fn passages(
    bridge: &InterfaceName,
    parent: Option<Ipv4Addr>,
    child: Option<Ipv4Addr>,
    exposing: &Record,
) -> BTreeSet<Passage> {
    let (Some(from), Some(to)) = (parent, child) else { return BTreeSet::new() };
    let passage = |(protocol, port)| Passage { bridge: bridge.clone(), from, to, protocol, port };
    exposed(exposing).into_iter().map(passage).collect()
}

/// Has the hosts files of running containers that are linked to one that has just started say where it is now.
pub(super) async fn tell_parents(engine: &Engine, id: &str) {
    let is_parent = |handle: &Handle| {
        let view = handle.view();
        view.live.is_some() && view.record.links.iter().any(|link| link.container_id == id)
    };
    for parent in engine.containers.all().into_iter().filter(is_parent) {
        let (owned, name) = (engine.clone(), parent.id.to_string());
        let told = tokio::spawn(async move {
            parent
                .work(move |record, live| match live {
                    Some(_) => net_files::rewrite(&owned, record),
                    None => Ok(()),
                })
                .await
        });
        // One that is busy gets it later; this start does not depend on it.
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(Err(error))) => {
                tracing::warn!(container = crate::id::short(&name), %error, "cannot tell of a link");
            }
            Ok(Err(error)) => {
                tracing::error!(container = crate::id::short(&name), %error, "cannot tell of a link");
            }
            _ => {}
        }
    }
}

/// Removes a link: `parent/alias`. Neither container is touched otherwise.
pub async fn unlink(engine: &Engine, reference: &str) -> Result<()> {
    engine.containers.find(reference)?;
    let name = reference.strip_prefix('/').unwrap_or(reference);
    let Some((parent, alias)) = name.rsplit_once('/') else {
        return Err(Error::system("Conflict, cannot remove the default link name of the container"));
    };
    let handle = engine
        .containers
        .find(parent)
        .map_err(|error| error.context(format!("Cannot get parent {parent} for link name {name}")))?;
    let (owned, alias) = (engine.clone(), alias.to_owned());
    handle
        .work(move |record, live| {
            let gone =
                record.links.iter().find(|link| link.alias == alias).map(|link| link.container_id.clone());
            record.links.retain(|link| link.alias != alias);
            if let (Some(child), Some(bridge)) = (gone, owned.networks.kept_apart())
                && let Ok(child) = owned.containers.find(&child)
            {
                let child = &child.view().record;
                let (own, other) = (address(&record.attachments), address(&child.attachments));
                owned.networks.let_pass(BTreeSet::new(), &passages(&bridge, own, other, child))?;
                // Another link may lead to the same container.
                let_pass(&owned, record, &record.attachments)?;
            }
            match live {
                Some(_) => net_files::rewrite(&owned, record),
                None => Ok(()),
            }
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_written_in_three_ways() {
        let shown = |text| parse(text).map_err(|error| error.message);
        assert_eq!(shown("db"), Ok(("db", "db")));
        assert_eq!(shown("db:data"), Ok(("db", "data")));
        assert_eq!(shown("/db:/web/data"), Ok(("db", "data")));
        assert_eq!(shown("a:b:c"), Err("bad format for links: a:b:c".to_owned()));
        assert_eq!(shown(""), Err("empty string specified for links".to_owned()));
    }

    #[test]
    fn the_environment_tells_ports_ranges_and_the_others_variables() {
        let ports = ["53/udp", "80/tcp", "81/tcp", "443/tcp"].map(|text| text.parse().expect("a port"));
        let env = ["A=b".to_owned(), "HOME=/root".to_owned(), "C".to_owned()];
        let address = "172.17.0.2".parse().expect("an address");
        let found = variables("/web/my-db", "my-db", address, ports.to_vec(), &env);
        let expected = "\
MY_DB_PORT=tcp://172.17.0.2:80
MY_DB_PORT_80_TCP=tcp://172.17.0.2:80
MY_DB_PORT_80_TCP_ADDR=172.17.0.2
MY_DB_PORT_80_TCP_PORT=80
MY_DB_PORT_80_TCP_PROTO=tcp
MY_DB_PORT_81_TCP=tcp://172.17.0.2:81
MY_DB_PORT_81_TCP_ADDR=172.17.0.2
MY_DB_PORT_81_TCP_PORT=81
MY_DB_PORT_81_TCP_PROTO=tcp
MY_DB_PORT_80_TCP_START=tcp://172.17.0.2:80
MY_DB_PORT_80_TCP_PORT_START=80
MY_DB_PORT_80_TCP_END=tcp://172.17.0.2:81
MY_DB_PORT_80_TCP_PORT_END=81
MY_DB_PORT_443_TCP=tcp://172.17.0.2:443
MY_DB_PORT_443_TCP_ADDR=172.17.0.2
MY_DB_PORT_443_TCP_PORT=443
MY_DB_PORT_443_TCP_PROTO=tcp
MY_DB_PORT_53_UDP=udp://172.17.0.2:53
MY_DB_PORT_53_UDP_ADDR=172.17.0.2
MY_DB_PORT_53_UDP_PORT=53
MY_DB_PORT_53_UDP_PROTO=udp
MY_DB_NAME=/web/my-db
MY_DB_ENV_A=b";
        assert_eq!(found.join("\n"), expected);
    }
}
