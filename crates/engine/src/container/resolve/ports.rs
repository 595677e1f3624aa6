//! The container's part in networks: mode, published ports, names and addresses.

use std::net::IpAddr;

use api::config::Config;
use api::host_config::HostConfig;

use super::super::spec::{NetworkSpec, PortSpec};
use super::Facts;
use crate::{Error, Result};

pub(super) fn network(
    config: &Config,
    host: &HostConfig,
    mac: &str,
    facts: &Facts<'_>,
) -> Result<NetworkSpec> {
    let mode = match host.network_mode.as_str() {
        _ if config.network_disabled => "none",
        "" | "default" => "bridge",
        mode => mode,
    };
    if mode.starts_with("container:") {
        refuse_with_shared_network(config, host, mac)?;
    }
    if mode == "host" && host.links.as_ref().is_some_and(|links| !links.is_empty()) {
        return Err(Error::invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ));
    }
    // As Docker: host and none networks ignore published ports.
    let ports = if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        published(config, host, facts)?;
        Vec::new()
    } else {
        published(config, host, facts)?
    };
    let or = |own: &Option<Vec<String>>, default: &[String]| match own {
        Some(list) if !list.is_empty() => list.clone(),
        _ => default.to_vec(),
    };
    // An empty word says nothing.
    let words = |list: Vec<String>, what: &str| {
        let list: Vec<String> = list.into_iter().filter(|word| !word.is_empty()).collect();
        match list.iter().find(|word| !is_one_word(word)) {
            Some(bad) => Err(Error::invalid(format!("invalid {what}: {bad:?}"))),
            None => Ok(list),
        }
    };
    let dns = or(&host.dns, &facts.config.dns);
    if let Some(bad) = dns.iter().find(|address| address.parse::<IpAddr>().is_err()) {
        return Err(Error::invalid(format!("invalid nameserver address: {bad}")));
    }
    Ok(NetworkSpec {
        mode: mode.to_owned(),
        ports,
        dns,
        dns_options: words(or(&host.dns_options, &facts.config.dns_options), "DNS option")?,
        dns_search: words(or(&host.dns_search, &facts.config.dns_search), "DNS search domain")?,
        extra_hosts: extra_hosts(host, &facts.config.host_gateway)?,
        mac_address: mac_address(mac)?,
    })
}

fn refuse_with_shared_network(config: &Config, host: &HostConfig, mac: &str) -> Result<()> {
    let conflict = |what: &str| Err(Error::invalid(format!("conflicting options: {what}")));
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if some(&host.links) {
        return conflict(
            "container type network can't be used with links. This would result in undefined behavior",
        );
    }
    if some(&host.dns) {
        return conflict("dns and the network mode");
    }
    if some(&host.extra_hosts) {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    if !mac.is_empty() {
        return conflict("mac-address and the network mode");
    }
    if host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) || host.publish_all_ports {
        return conflict("port publishing and the container type network mode");
    }
    if !config.exposed_ports.is_empty() {
        return conflict("port exposing and the container type network mode");
    }
    Ok(())
}

/// `80/tcp`, `53/udp`, `80`.
pub(crate) fn container_port(text: &str) -> Result<(u16, String)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let number: u16 =
        port.parse().map_err(|_| Error::invalid(format!("invalid port specification: \"{text}\"")))?;
    if number == 0 || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Error::invalid(format!("invalid port specification: \"{text}\"")));
    }
    Ok((number, protocol))
}

fn host_ports(text: &str) -> Result<(u16, u16)> {
    let invalid = || Error::invalid(format!("invalid port specification: \"{text}\""));
    if text.is_empty() || text == "0" {
        return Ok((0, 0));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) =
        (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
    if first == 0 || first > last { Err(invalid()) } else { Ok((first, last)) }
}

pub(super) fn published(config: &Config, host: &HostConfig, facts: &Facts<'_>) -> Result<Vec<PortSpec>> {
    let mut ports = Vec::new();
    for (key, bindings) in host.port_bindings.iter().flatten() {
        let (container_port, protocol) = (key.number, key.protocol.as_str().to_owned());
        if container_port == 0 {
            return Err(Error::invalid(format!("invalid port specification: \"{key}\"")));
        }
        let bindings = bindings.clone().unwrap_or_default();
        let bindings = if bindings.is_empty() { vec![Default::default()] } else { bindings };
        for binding in bindings {
            let host_ip = match binding.host_ip.trim_matches(['[', ']']) {
                "" if facts.config.bridge.publish_address != "0.0.0.0" => {
                    facts.config.bridge.publish_address.clone()
                }
                ip => ip.to_owned(),
            };
            if !host_ip.is_empty() && host_ip.parse::<IpAddr>().is_err() {
                return Err(Error::invalid(format!("invalid IP address: {host_ip}")));
            }
            let host_ports = host_ports(&binding.host_port)?;
            let port = PortSpec { container_port, protocol: protocol.clone(), host_ip, host_ports };
            // The very same twice is meant once; any port of the host's is another one each time.
            if port.host_ports == (0, 0) || !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    if host.publish_all_ports {
        for key in config.exposed_ports.keys() {
            let (container_port, protocol) = container_port(key)?;
            if !ports.iter().any(|port| port.container_port == container_port && port.protocol == protocol) {
                let host_ip = String::new();
                ports.push(PortSpec { container_port, protocol, host_ip, host_ports: (0, 0) });
            }
        }
    }
    for key in config.exposed_ports.keys() {
        container_port(key)?;
    }
    Ok(ports)
}

/// Names and addresses for the hosts file. What `host-gateway` means is filled in later, unless the daemon was told.
fn extra_hosts(host: &HostConfig, host_gateway: &[IpAddr]) -> Result<Vec<(String, String)>> {
    let mut hosts = Vec::new();
    for entry in host.extra_hosts.iter().flatten() {
        let parts = entry.split_once('=').or_else(|| entry.split_once(':'));
        let Some((name, address)) = parts.filter(|(name, _)| is_one_word(name)) else {
            return Err(Error::invalid(format!("bad format for add-host: \"{entry}\"")));
        };
        let address = address.trim_matches(['[', ']']);
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            return Err(Error::invalid(format!("invalid IP address in add-host: \"{address}\"")));
        }
        if address == "host-gateway" && !host_gateway.is_empty() {
            hosts.extend(host_gateway.iter().map(|address| (name.to_owned(), address.to_string())));
            continue;
        }
        hosts.push((name.to_owned(), address.to_owned()));
    }
    Ok(hosts)
}

/// What a line of a file can hold.
fn is_one_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

fn mac_address(text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let valid =
        parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok());
    if text.is_empty() || valid {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Error::invalid(format!("{text} is not a valid mac address")))
}
