//! Published ports: which attachment carries which, on which addresses of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use network::ports::HostPorts;
use network::{GatewayMode, PortAllocator, PortLease, PortRequest, Protocol, PublishedPort};

use super::attachment::Known;
use super::record::Driver;
use crate::config::PublishPolicy;
use crate::container::record::{Attachment, Published};
use crate::container::spec::PortSpec;
use crate::{Error, Result};

/// How ports of one attachment get in, by family: `None` when not at all.
#[derive(Debug, Clone, Copy)]
struct Way {
    container: IpAddr,
    routed: bool,
}

/// The way in by one family: the attachment with the default route, when it hangs on a bridge.
fn way(attachment: &Attachment, known: &Known, ipv6: bool) -> Option<Way> {
    let Driver::Bridge(bridge) = &known.driver else { return None };
    attachment.endpoint.gateways.iter().find(|gateway| gateway.is_ipv6() == ipv6)?;
    let container = attachment.endpoint.addresses.iter().map(network::Prefix::address);
    let container = container.into_iter().find(|address| address.is_ipv6() == ipv6)?;
    let mode = if ipv6 { bridge.gateway_mode_ipv6 } else { bridge.gateway_mode_ipv4 };
    Some(Way { container, routed: mode == GatewayMode::Routed })
}

/// Takes the host's ports that a container publishes through one attachment; on failure none is kept.
pub(super) fn take(
    ports: &mut PortAllocator,
    wanted: &[PortSpec],
    attachment: &Attachment,
    known: &Known,
    policy: PublishPolicy,
) -> Result<Vec<Published>> {
    let mut taken = Vec::new();
    for port in wanted {
        match take_one(ports, port, attachment, known, policy) {
            Ok(published) => taken.extend(published),
            Err(error) => {
                give_back(ports, &taken);
                return Err(error);
            }
        }
    }
    Ok(taken)
}

/// The addresses of the host that a port is published on, with the container's behind them.
fn pairs(
    port: &PortSpec,
    attachment: &Attachment,
    known: &Known,
    policy: PublishPolicy,
) -> Result<Vec<(IpAddr, Way)>> {
    let binding = match &known.driver {
        Driver::Bridge(bridge) => bridge.binding,
        _ => None,
    };
    let (ipv4, ipv6) = (way(attachment, known, false), way(attachment, known, true));
    let named = if port.host_ip.is_empty() { binding } else { port.host_ip.parse().ok() };
    let (usual_ipv4, usual_ipv6) = match policy {
        PublishPolicy::Localhost => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        PublishPolicy::Docker | PublishPolicy::RespectHost => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
    };
    let every =
        [ipv4.map(|way| (IpAddr::V4(usual_ipv4), way)), ipv6.map(|way| (IpAddr::V6(usual_ipv6), way))];
    let Some(named) = named else { return Ok(every.into_iter().flatten().collect()) };
    if named == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && port.host_ip.is_empty() {
        return Ok(every.into_iter().flatten().collect());
    }
    match (if named.is_ipv6() { ipv6 } else { ipv4 }, ipv4.or(ipv6)) {
        (Some(way), _) => Ok(vec![(named, way)]),
        // The other family is another attachment's affair, or the container is not reached at all.
        (None, None) => Ok(Vec::new()),
        (None, Some(_)) if port.host_ip.is_empty() => Ok(Vec::new()),
        (None, Some(other)) => Err(Error::invalid(format!(
            "cannot publish {}: the container has no address of that family (its address is {})",
            SocketAddr::new(named, port.host_ports.0),
            other.container
        ))),
    }
}

fn take_one(
    ports: &mut PortAllocator,
    port: &PortSpec,
    attachment: &Attachment,
    known: &Known,
    policy: PublishPolicy,
) -> Result<Vec<Published>> {
    let protocol: Protocol = port
        .protocol
        .parse()
        .map_err(|error: network::firewall::InvalidProtocol| Error::invalid(error.to_string()))?;
    let pairs = pairs(port, attachment, known, policy)?;
    let (routed, translated): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(_, way)| way.routed);
    let published = |host_address, host_port, way: &Way| Published {
        protocol: port.protocol.clone(),
        host_address,
        host_port,
        container_address: way.container,
        container_port: port.container_port,
        routed: way.routed,
    };
    // Without translation a port has no number on the host.
    let mut all: Vec<Published> = routed.iter().map(|(address, way)| published(*address, 0, way)).collect();
    if let Some((_, first)) = translated.first() {
        let request = PortRequest {
            protocol,
            addresses: translated.iter().map(|(address, _)| *address).collect(),
            ports: match port.host_ports {
                (0, 0) => HostPorts::Ephemeral,
                (first, last) => HostPorts::OneOf(first..=last),
            },
            container: SocketAddr::new(first.container, port.container_port),
        };
        let leases = ports.reserve(&request).map_err(|error| Error::system(error.to_string()))?;
        all.extend(
            leases.iter().zip(&translated).map(|(lease, (_, way))| published(lease.address, lease.port, way)),
        );
    }
    Ok(all)
}

/// What is wanted, with the numbers that ports had before where any number would do.
pub(super) fn as_before(wanted: &[PortSpec], before: &[Published]) -> Vec<PortSpec> {
    let number = |port: &PortSpec| {
        let same = |held: &&Published| {
            held.container_port == port.container_port && held.protocol == port.protocol && !held.routed
        };
        before.iter().find(same).map(|held| held.host_port)
    };
    let keep = |port: &PortSpec| match (port.host_ports, number(port)) {
        ((0, 0), Some(number)) => PortSpec { host_ports: (number, number), ..port.clone() },
        _ => port.clone(),
    };
    wanted.iter().map(keep).collect()
}

/// Gives ports back. Giving back what was not taken succeeds.
pub(super) fn give_back(ports: &mut PortAllocator, published: &[Published]) {
    published.iter().filter_map(Published::lease).for_each(|lease| ports.release(&lease));
}

impl Published {
    /// The host's port; `None` for one that has none.
    pub(crate) fn lease(&self) -> Option<PortLease> {
        let protocol = self.protocol.parse().ok()?;
        (!self.routed).then_some(PortLease { protocol, port: self.host_port, address: self.host_address })
    }

    /// The firewall's rule; `None` for a host address that the container's family cannot serve.
    pub(crate) fn rule(&self) -> Option<PublishedPort> {
        let protocol: Protocol = self.protocol.parse().ok()?;
        let (host_address, host_port) = match self.routed {
            true => (self.container_address, self.container_port),
            false => (self.host_address, self.host_port),
        };
        (host_address.is_ipv4() == self.container_address.is_ipv4()).then_some(PublishedPort {
            protocol,
            host_address,
            host_port,
            container_address: self.container_address,
            container_port: self.container_port,
        })
    }
}
