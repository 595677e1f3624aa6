//! Networks: the one owner of bridges, addresses, host ports, firewall rules and names.
//!
//! ```text
//!  Networks ── catalog   records of all networks; readers never wait for the kernel
//!           └─ state     netlink, the ruleset, leases, what each running container holds: one lock, one owner
//!           └─ names     who is called what; the name servers in containers answer from it
//! ```

mod attachment;
mod change;
pub mod connect;
pub mod create;
mod default;
mod files;
mod find;
mod firewalld;
#[cfg(test)]
mod fuzz;
mod guard;
mod hold;
mod host_firewall;
mod keep;
pub mod list;
mod mend;
mod names;
mod plan;
mod publish;
pub(crate) mod record;
pub mod remove;
mod resolver;
mod state;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use api::port::PortMap;
use network::files::HostsEntry;
use network::ipam::AddressPool;
use network::{InterfaceName, Passage};

use crate::config::Config;
use crate::container::record::{Attachment, Record};
use crate::container::spec::{PortSpec, Share};
use crate::records::Records;
use crate::{Error, Result};

pub(crate) use attachment::names as names_of;
pub(crate) use files::Files;
pub(crate) use firewalld::keep_zones;
pub(crate) use keep::{keep_firewall, keep_links};
pub(crate) use names::exposed;
pub(crate) use plan::attributes;
pub(crate) use wishes::endpoints;

use names::{Names, Seat};
use record::NetworkRecord;
use resolver::Resolvers;
use state::State;

/// The networks every engine has.
pub const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// The owner.
pub struct Networks {
    catalog: RwLock<BTreeMap<String, Arc<NetworkRecord>>>,
    state: Mutex<State>,
    names: Arc<Names>,
    resolvers: Resolvers,
    gateway: Option<IpAddr>,
    pools: Vec<AddressPool>,
    options: BTreeMap<String, BTreeMap<String, String>>,
    dns: Dns,
}

/// What the daemon says about names.
#[derive(Debug, Clone, Default)]
struct Dns {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

fn failed(error: network::Error) -> Error {
    Error::system(error.to_string())
}

impl Networks {
    /// Makes the firewall and the bridges what the records say. `containers` are all that are recorded: what those
    /// that may still run have published stays open.
    pub(crate) fn open(config: &Config, records: &Records, containers: &[Record]) -> Result<Self> {
        let (own, bad) = records.networks()?;
        for record in bad {
            tracing::error!(
                key = record.key,
                reason = record.reason,
                "a network's record cannot be read; it is kept as it is"
            );
        }
        let mut state = State::open(config)?;
        let mut known = default::networks(config, records, &mut state.kernel)?;
        known.extend(own);
        let gateway = known.first().filter(|record| record.name == PREDEFINED[0]);
        let gateway = gateway.and_then(|record| record.subnets.first()?.config.gateway);
        state.open_networks(&known, containers, config.forward_for_others)?;
        let names = Arc::<Names>::default();
        Ok(Self {
            catalog: RwLock::new(
                known.into_iter().map(|record| (record.id.clone(), Arc::new(record))).collect(),
            ),
            state: Mutex::new(state),
            resolvers: Resolvers::new(Arc::clone(&names)),
            names,
            gateway,
            pools: config.address_pools.clone(),
            options: config.network_options.clone(),
            dns: Dns {
                servers: config.dns.clone(),
                search: config.dns_search.clone(),
                options: config.dns_options.clone(),
            },
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes addresses and the host ports of a container that is about to start.
    pub(crate) fn reserve(&self, record: &Record) -> Result<Vec<Attachment>> {
        if record.spec.namespaces.network != Share::Private {
            return Ok(Vec::new());
        }
        self.lock().reserve(record)
    }

    /// Gives a new container's namespace its interfaces, opens its published ports, and answers its questions.
    pub(crate) fn furnish(
        &self,
        record: &Record,
        attachments: &[Attachment],
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        if record.spec.namespaces.network != Share::Private {
            return self.trust_owner(record);
        }
        let mut state = self.lock();
        if attachments.is_empty() {
            return state.kernel.attach_loopback(netns).map_err(failed);
        }
        state.seat(attachments)?;
        for attachment in attachments {
            state.attach(attachment, netns)?;
        }
        state.publish(attachments)?;
        drop(state);
        self.introduce(record, attachments, Some(netns))
    }

    /// A container with another's interfaces that may change their addresses: then these are not looked at.
    fn trust_owner(&self, record: &Record) -> Result<()> {
        match &record.spec.namespaces.network {
            Share::Container(owner) if attachment::may_change_addresses(record) => self.lock().trust(owner),
            _ => Ok(()),
        }
    }

    /// Has a running container publish more ports, and fewer. Returns all of its attachments.
    pub(crate) fn republish(
        &self,
        record: &Record,
        more: &[PortSpec],
        closed: &PortMap,
    ) -> Result<Vec<Attachment>> {
        if more.is_empty() && closed.is_empty() {
            return Ok(record.attachments.clone());
        }
        self.lock().republish(record, more, closed)
    }

    /// Makes a container known by its names, and opens its name server where it has one.
    fn introduce(
        &self,
        record: &Record,
        attachments: &[Attachment],
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let named = |attachment: &&Attachment| !attachment.names.is_empty();
        let mut order: Vec<(&Attachment, bool)> = attachments
            .iter()
            .filter(named)
            .map(|attachment| {
                (attachment, !attachment.gateways.is_empty() || !attachment.endpoint.routes.is_empty())
            })
            .collect();
        order.sort_by_key(|(attachment, _)| {
            let first = attachment.endpoint.gateways.is_empty();
            (first, std::cmp::Reverse(attachment.priority), attachment.network_name.clone())
        });
        if order.is_empty() {
            self.names.remove(&record.id);
            return Ok(());
        }
        self.names.set(&record.id, attachments, Seat::new(record, &order));
        match netns {
            Some(netns) => self.resolvers.open(&record.id, netns),
            None => Ok(()),
        }
    }

    /// A container has another name: others find it by that from now on.
    pub(crate) fn renamed(&self, record: &mut Record) -> Result<()> {
        let mut attachments = std::mem::take(&mut record.attachments);
        for attachment in attachments.iter_mut().filter(|attachment| !attachment.names.is_empty()) {
            if let Some(settings) = record.endpoints.get(&attachment.network_name) {
                attachment.names = names_of(record, settings);
            }
        }
        record.attachments = attachments;
        self.lock().rename(&record.id, &record.attachments);
        self.introduce(record, &record.attachments, None)
    }

    /// Takes a container out of its networks after its end: names, rules, ports, addresses. The kernel removes the
    /// links with the namespace, at its leisure.
    pub(crate) fn detach(&self, record: &Record, netns: Option<BorrowedFd<'_>>) -> Result<()> {
        self.names.remove(&record.id);
        self.resolvers.close(&record.id);
        self.lock().detach(&record.id, &record.attachments, netns)
    }

    /// Frees what was reserved for a start that did not happen.
    pub(crate) fn free(&self, container_id: &str) {
        self.lock().free(container_id);
    }

    /// Takes back the leases of a container that was found running, plugs in again what is not plugged in, and answers its questions again.
    pub(crate) fn restore(&self, record: &Record, netns: Option<BorrowedFd<'_>>) -> Result<()> {
        if record.attachments.is_empty() {
            return self.trust_owner(record);
        }
        let mut state = self.lock();
        state.hold(&record.id, &record.attachments);
        if let Some(netns) = netns {
            state.plug_again(record, netns)?;
            if record.reshaping {
                state.shape_again(record, netns)?;
            }
        }
        drop(state);
        self.introduce(record, &record.attachments, netns)
    }

    /// The bridge of the default network when that keeps its containers apart.
    pub(crate) fn kept_apart(&self) -> Option<InterfaceName> {
        self.lock().networks.values().find_map(|known| known.kept_apart().cloned())
    }

    /// Lets linked containers through, and no longer those that were linked.
    pub(crate) fn let_pass(&self, linked: BTreeSet<Passage>, parted: &BTreeSet<Passage>) -> Result<()> {
        let mut state = self.lock();
        let mut wanted = state.rules.clone();
        wanted.stop_passing(parted);
        wanted.let_pass(linked);
        if wanted == state.rules { Ok(()) } else { state.change(wanted) }
    }

    /// Makes the firewall what the running containers need; says what somebody else had changed.
    pub(crate) fn reconcile(&self) -> Result<Option<String>> {
        self.lock().reconcile()
    }

    /// Removes links of ours that belong to nothing any more, and rules of containers that do not run.
    pub(crate) fn sweep(&self) -> Result<()> {
        self.lock().sweep()
    }

    /// Gateway of the default bridge.
    #[must_use]
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// The files that name hosts and nameservers.
    pub(crate) fn files(
        &self,
        record: &Record,
        attachments: &[Attachment],
        linked: &[HostsEntry],
    ) -> Result<Files> {
        files::files(record, attachments, linked, self.gateway(), &self.dns)
    }
}
