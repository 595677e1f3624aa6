//! The text of /etc/hosts, /etc/hostname and /etc/resolv.conf: which settings go in; the network crate writes them.

use std::net::IpAddr;

use network::files::{
    DnsOverrides, HostResolver, HostsEntry, Resolver, hostname_file, hosts_file, hosts_file_on_host,
    resolver_file,
};

use super::Dns;
use crate::container::record::{Attachment, Record};
use crate::container::spec::{ContainerSpec, Share};
use crate::{Error, Result};

/// The three files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) hosts: String,
    pub(crate) hostname: String,
    pub(crate) resolv_conf: String,
}

pub(super) fn files(
    record: &Record,
    attachments: &[Attachment],
    linked: &[HostsEntry],
    gateway: Option<IpAddr>,
    dns: &Dns,
) -> Result<Files> {
    let spec = &record.spec;
    let on_host = spec.namespaces.network == Share::Host;
    let invalid = |error: network::files::InvalidText| Error::invalid(error.to_string());
    let mut extra = extra(spec, gateway)?;
    extra.extend_from_slice(linked);
    let hosts = if on_host {
        hosts_file_on_host(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), &extra)
    } else {
        let own: Vec<IpAddr> = attachments
            .iter()
            .flat_map(|attachment| &attachment.endpoint.addresses)
            .map(network::Prefix::address)
            .collect();
        hosts_file(&extra, &own, &spec.hostname, &spec.domainname)
    };
    let resolver = if on_host {
        Resolver::Host
    } else if attachments.iter().any(|attachment| !attachment.names.is_empty()) {
        Resolver::Engine { address: IpAddr::V4(network::RESOLVER_ADDRESS) }
    } else {
        Resolver::Upstream { ipv6: attachments.iter().any(|attachment| attachment.prefix(true).is_some()) }
    };
    let resolv_conf = resolver_file(&host_resolver(resolver), &overrides(spec, dns)?, resolver);
    Ok(Files {
        hosts: hosts.map_err(invalid)?,
        hostname: hostname_file(&spec.hostname).map_err(invalid)?,
        resolv_conf: resolv_conf.map_err(invalid)?.text,
    })
}

/// The host's settings. Containers cannot reach the stub of systemd-resolved: they get the servers behind it.
fn host_resolver(resolver: Resolver) -> HostResolver {
    let read = |path: &str| HostResolver::parse(&std::fs::read_to_string(path).unwrap_or_default());
    let host = read("/etc/resolv.conf");
    match resolver {
        Resolver::Upstream { .. } if host.is_resolved_stub() => {
            let behind = read(HostResolver::RESOLVED_FILE);
            if behind.nameservers.is_empty() { host } else { behind }
        }
        _ => host,
    }
}

fn overrides(spec: &ContainerSpec, dns: &Dns) -> Result<DnsOverrides> {
    let or =
        |own: &[String], default: &[String]| if own.is_empty() { default.to_vec() } else { own.to_vec() };
    let address = |text: &String| {
        text.parse().map_err(|_| Error::invalid(format!("invalid nameserver address: {text}")))
    };
    let servers = or(&spec.network.dns, &dns.servers);
    Ok(DnsOverrides {
        nameservers: servers.iter().map(address).collect::<Result<_>>()?,
        search: or(&spec.network.dns_search, &dns.search),
        options: or(&spec.network.dns_options, &dns.options),
    })
}

fn extra(spec: &ContainerSpec, gateway: Option<IpAddr>) -> Result<Vec<HostsEntry>> {
    let resolve = |(name, address): &(String, String)| {
        let address = match address.as_str() {
            "host-gateway" => {
                gateway.ok_or_else(|| Error::invalid("unable to derive the IP value for host-gateway"))?
            }
            text => text
                .parse()
                .map_err(|_| Error::invalid(format!("invalid IP address in add-host: \"{text}\"")))?,
        };
        Ok(HostsEntry { address, names: vec![name.clone()] })
    };
    spec.network.extra_hosts.iter().map(resolve).collect()
}
