//! Who is called what in which network, and how each container sees it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use network::Protocol;
use network::dns::{self, NamedEndpoint, NetworkNames, Outcome, Transport};
use network::files::{HostResolver, Nameserver};

use crate::container::record::{Attachment, Record};

/// The names of all networks.
#[derive(Debug, Default)]
pub(super) struct Names {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    networks: HashMap<String, NetworkNames>,
    seats: HashMap<String, Arc<Seat>>,
}

/// How one container sees the names.
#[derive(Debug, Clone, Default)]
pub(super) struct Seat {
    /// Identifiers of its networks, the one with the default route first.
    networks: Vec<String>,
    /// Whether any of its networks has a way out.
    has_way_out: bool,
    /// Whether names without a dot may be asked elsewhere.
    forwards_single_labels: bool,
    /// Name servers that the user chose; empty: the host's.
    servers: Vec<IpAddr>,
    /// Further names, for this container alone, with what they stand for.
    links: BTreeMap<String, String>,
    /// The ports that the container exposes.
    ports: Vec<(Protocol, u16)>,
}

impl Seat {
    /// `networks`: the attachments in the order in which names are looked up, each with whether it has a way out.
    pub(super) fn new(record: &Record, networks: &[(&Attachment, bool)]) -> Self {
        let spec = &record.spec.network;
        let links = record.endpoints.values().flat_map(|settings| settings.links.iter().flatten());
        Self {
            networks: networks.iter().map(|(attachment, _)| attachment.network_id.clone()).collect(),
            has_way_out: networks.iter().any(|(_, way_out)| *way_out),
            forwards_single_labels: !spec.dns_options.iter().any(|option| asks_for_dots(option)),
            servers: spec.dns.iter().filter_map(|server| server.parse().ok()).collect(),
            ports: exposed(record),
            links: links
                .filter_map(|link| link.split_once(':'))
                .map(|(name, alias)| (alias.to_ascii_lowercase(), name.to_ascii_lowercase()))
                .collect(),
        }
    }

    /// Whom to ask about names that no network has, given what the host's file says.
    pub(super) fn upstreams(&self, host: &HostResolver) -> Vec<Nameserver> {
        if !self.servers.is_empty() {
            let own = |&address: &IpAddr| Nameserver { address, from_host: false };
            return self.servers.iter().map(own).collect();
        }
        if !self.has_way_out {
            return Vec::new();
        }
        let host = host.nameservers.iter();
        host.map(|&address| Nameserver { address, from_host: address.is_loopback() }).collect()
    }
}

/// The ports that a container exposes or publishes.
pub(crate) fn exposed(record: &Record) -> Vec<(Protocol, u16)> {
    let named = record.config.exposed_ports.keys().filter_map(|key| {
        let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
        Some((protocol.parse().ok()?, port.parse().ok()?))
    });
    let ports = &record.spec.network.ports;
    let published = ports.iter().filter_map(|port| Some((port.protocol.parse().ok()?, port.container_port)));
    let mut all: Vec<(Protocol, u16)> = named.chain(published).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// `ndots:1` and more.
fn asks_for_dots(option: &str) -> bool {
    let dots = option.strip_prefix("ndots:").and_then(|number| number.parse::<u32>().ok());
    dots.is_some_and(|dots| dots > 0)
}

impl Names {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the endpoints of a container findable, and gives it its view of the names.
    pub(super) fn set(&self, container_id: &str, attachments: &[Attachment], seat: Seat) {
        let mut inner = self.write();
        inner.forget(container_id);
        for attachment in attachments.iter().filter(|attachment| !attachment.names.is_empty()) {
            let network = inner.networks.entry(attachment.network_id.clone());
            let network = network.or_insert_with(|| NetworkNames::new(&attachment.network_name));
            let addresses = attachment.endpoint.addresses.iter().map(network::Prefix::address).collect();
            let (names, ports) = (attachment.names.clone(), seat.ports.clone());
            network.set(container_id, NamedEndpoint { names, addresses, ports });
        }
        inner.seats.insert(container_id.to_owned(), Arc::new(seat));
    }

    /// Forgets a container; one that is not known is no error.
    pub(super) fn remove(&self, container_id: &str) {
        self.write().forget(container_id);
    }

    /// Forgets a network.
    pub(super) fn remove_network(&self, network_id: &str) {
        self.write().networks.remove(network_id);
    }

    /// A container's view; `None` when it has gone.
    pub(super) fn seat(&self, container_id: &str) -> Option<Arc<Seat>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.seats.get(container_id).cloned()
    }

    /// What becomes of a container's query.
    pub(super) fn answer(
        &self,
        container_id: &str,
        query: &[u8],
        transport: Transport,
        turn: usize,
    ) -> Outcome {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let Some(seat) = inner.seats.get(container_id) else { return Outcome::Drop };
        let networks: Vec<&NetworkNames> =
            seat.networks.iter().filter_map(|id| inner.networks.get(id)).collect();
        let server = dns::Server {
            networks: &networks,
            links: &seat.links,
            forwards: seat.has_way_out || !seat.servers.is_empty(),
            forwards_single_labels: seat.forwards_single_labels,
        };
        dns::answer(query, &server, transport, turn)
    }
}

impl Inner {
    fn forget(&mut self, container_id: &str) {
        if let Some(seat) = self.seats.remove(container_id) {
            for network in &seat.networks {
                if let Some(names) = self.networks.get_mut(network) {
                    names.remove(container_id);
                }
            }
        }
    }
}
