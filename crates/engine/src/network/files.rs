//! The text of /etc/hosts, /etc/hostname and /etc/resolv.conf.

use std::net::IpAddr;

use crate::container::record::{Attachment, Record};
use crate::container::spec::Share;
use crate::{Error, Result};

/// Nameservers for containers when the host has none that they can reach.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// The three files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) hosts: String,
    pub(crate) hostname: String,
    pub(crate) resolv_conf: String,
}

/// What the host's resolver says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Resolver {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

pub(super) fn files(
    record: &Record,
    attachment: Option<&Attachment>,
    gateway: Option<IpAddr>,
    servers: &[String],
    search: &[String],
    options: &[String],
) -> Result<Files> {
    let spec = &record.spec;
    let host_network = spec.namespaces.network == Share::Host;
    let own = Resolver {
        servers: pick(&spec.network.dns, servers),
        search: pick(&spec.network.dns_search, search),
        options: pick(&spec.network.dns_options, options),
    };
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let resolv_conf = resolv_conf(&parse(&host), &own, host_network);
    let hosts = if host_network {
        // As Docker: the host's own file, with what was added by hand.
        let mut text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        for (name, address) in extra(spec, gateway)? {
            text.push_str(&format!("{address}\t{name}\n"));
        }
        text
    } else {
        let address = attachment.and_then(Attachment::address);
        hosts(address, &spec.hostname, &spec.domainname, &extra(spec, gateway)?)
    };
    Ok(Files { hosts, hostname: format!("{}\n", spec.hostname), resolv_conf })
}

fn pick(own: &[String], default: &[String]) -> Vec<String> {
    if own.is_empty() { default.to_vec() } else { own.to_vec() }
}

fn extra(
    spec: &crate::container::spec::ContainerSpec,
    gateway: Option<IpAddr>,
) -> Result<Vec<(String, String)>> {
    let resolve = |(name, address): &(String, String)| {
        if address != "host-gateway" {
            return Ok((name.clone(), address.clone()));
        }
        let gateway =
            gateway.ok_or_else(|| Error::invalid("unable to derive the IP value for host-gateway"))?;
        Ok((name.clone(), gateway.to_string()))
    };
    spec.network.extra_hosts.iter().map(resolve).collect()
}

/// The container's own hosts file.
fn hosts(address: Option<IpAddr>, hostname: &str, domainname: &str, extra: &[(String, String)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if let Some(address) = address {
        let names = if domainname.is_empty() {
            hostname.to_owned()
        } else {
            format!("{hostname}.{domainname} {hostname}")
        };
        text.push_str(&format!("{address}\t{names}\n"));
    }
    text
}

/// Reads resolv.conf(5).
fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let rest = |words: std::str::SplitWhitespace<'_>| words.map(str::to_owned).collect::<Vec<_>>();
        match words.next() {
            Some("nameserver") => resolver.servers.extend(words.next().map(str::to_owned)),
            // The last of these lines counts.
            Some("search" | "domain") => resolver.search = rest(words),
            Some("options") => resolver.options.extend(rest(words)),
            _ => {}
        }
    }
    resolver
}

fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or(server);
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host's settings with the container's in their place. A nameserver on the host's loopback cannot be reached from
/// a namespace of one's own.
fn resolv_conf(host: &Resolver, own: &Resolver, host_network: bool) -> String {
    let mut servers = if own.servers.is_empty() { host.servers.clone() } else { own.servers.clone() };
    if own.servers.is_empty() && !host_network {
        servers.retain(|server| !is_loopback(server));
        if servers.is_empty() {
            servers = FALLBACK.map(str::to_owned).to_vec();
        }
    }
    let search = if own.search.is_empty() { &host.search } else { &own.search };
    let options = if own.options.is_empty() { &host.options } else { &own.options };
    let mut text = String::from(
        "# Written by the container engine from the host's settings; changed again at each start.\n",
    );
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !search.is_empty() && search != &["."] {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, own: &Resolver, host_network: bool, expected: &str) {
        let text = resolv_conf(&parse(host), own, host_network);
        assert_eq!(text.split_once('\n').map(|(_, rest)| rest), Some(expected), "{host}");
    }

    #[test]
    fn nameservers_of_the_host_are_used_unless_they_cannot_be_reached() {
        let none = Resolver::default();
        check(
            "nameserver 10.0.0.2\nsearch a b\noptions ndots:2\n",
            &none,
            false,
            "nameserver 10.0.0.2\nsearch a b\noptions ndots:2\n",
        );
        check("nameserver 127.0.0.53\n", &none, false, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        check("nameserver 127.0.0.53\n", &none, true, "nameserver 127.0.0.53\n");
        check("nameserver ::1%lo\nnameserver 9.9.9.9\n", &none, false, "nameserver 9.9.9.9\n");
        let own = Resolver { servers: vec!["1.1.1.1".into()], search: vec![".".into()], options: vec![] };
        check("nameserver 10.0.0.2\nsearch a\n", &own, false, "nameserver 1.1.1.1\n");
    }

    #[test]
    fn hosts_name_the_container_and_what_was_added() {
        let text =
            hosts("172.17.0.2".parse().ok(), "web", "example.org", &[("db".into(), "10.0.0.9".into())]);
        assert!(text.ends_with("10.0.0.9\tdb\n172.17.0.2\tweb.example.org web\n"), "{text}");
    }
}
