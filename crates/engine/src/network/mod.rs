//! Networks: the one owner of bridges, addresses, host ports and firewall rules.

mod files;
mod leases;
pub mod list;

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use network::{
    BridgeConfig, Endpoint, InterfaceName, MacAddress, Network, NetworkRules, Prefix, Protocol,
    PublishedPort, Ruleset,
};

use crate::config::Config;
use crate::container::record::{Attachment, Published, Record};
use crate::container::spec::Share;
use crate::records::Records;
use crate::{Error, Result, id};

pub(crate) use files::Files;
use leases::Leases;

/// The networks every engine has.
pub const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// Subnets for the default bridge when nobody chose one, in Docker's order.
fn default_subnets() -> impl Iterator<Item = Ipv4Addr> {
    (17..=31).map(|second| Ipv4Addr::new(172, second, 0, 1))
}

/// The owner.
pub struct Networks {
    ids: [String; 3],
    created: i64,
    bridge: Option<Bridge>,
    state: Mutex<State>,
    dns: Dns,
}

/// The default bridge as it is.
#[derive(Debug, Clone)]
struct Bridge {
    config: BridgeConfig,
    gateway: Prefix,
    mtu: Option<u32>,
    communication: bool,
    masquerade: bool,
}

/// What the daemon says about names.
#[derive(Debug, Clone, Default)]
struct Dns {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

struct State {
    kernel: Network,
    rules: Ruleset,
    leases: Leases,
}

fn failed(error: network::Error) -> Error {
    Error::system(error.to_string())
}

impl Networks {
    /// Makes the default bridge what it should be. Rules follow with [`Networks::reconcile`], when it is known which
    /// containers still run.
    pub(crate) fn open(config: &Config, records: &Records) -> Result<Self> {
        let ids = PREDEFINED.map(|name| records.lasting(&format!("network-{name}"), id::new_id));
        let [bridge_id, host_id, none_id] = ids;
        let ids = [bridge_id?, host_id?, none_id?];
        let created =
            records.lasting("networks-created", || Ok(crate::time::now().to_string()))?.parse().unwrap_or(0);
        let mut kernel = Network::open().map_err(failed)?;
        let mut rules = Ruleset::default();
        let bridge = match &config.bridge.name {
            None => None,
            Some(name) => {
                let bridge = Bridge::plan(name, config, records, &mut kernel)?;
                rules.set_network(&ids[0], bridge.rules());
                // The rules come before the bridge: there is no moment in which it is open.
                kernel.sync_firewall(&rules).map_err(failed)?;
                kernel.ensure_bridge(&bridge.config).map_err(failed)?;
                Some(bridge)
            }
        };
        let dns = Dns {
            servers: config.dns.clone(),
            search: config.dns_search.clone(),
            options: config.dns_options.clone(),
        };
        let leases = Leases::new(bridge.as_ref().map(|bridge| bridge.gateway));
        Ok(Self { ids, created, bridge, state: Mutex::new(State { kernel, rules, leases }), dns })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Identifier of a network by its name, its identifier, or a unique beginning of that. A mode that joins another
    /// container has none.
    pub(crate) fn id_of(&self, mode: &str) -> Result<String> {
        if mode.starts_with("container:") {
            return Ok(String::new());
        }
        self.find(mode).map(|index| self.ids[index].clone())
    }

    fn find(&self, name: &str) -> Result<usize> {
        let named = PREDEFINED.iter().position(|known| *known == name);
        let by_id = || {
            let mut matching = (0..3).filter(|index| name.len() >= 2 && self.ids[*index].starts_with(name));
            matching.next().filter(|_| matching.next().is_none())
        };
        named.or_else(by_id).ok_or_else(|| Error::not_found(format!("network {name} not found")))
    }

    /// Takes an address and the host ports of a container that is about to start.
    pub(crate) fn reserve(&self, record: &Record) -> Result<Option<Attachment>> {
        let network = &record.spec.network;
        if record.spec.namespaces.network != Share::Private || network.mode == "none" {
            return Ok(None);
        }
        let bridge = self.bridge.as_ref().ok_or_else(|| {
            Error::not_found("network bridge not found: the daemon was started with --bridge none")
        })?;
        let mut state = self.lock();
        let address = state.leases.take_address(&record.id)?;
        let taken = || -> Result<Attachment> {
            let endpoint_id = id::new_id()?;
            let host_interface = InterfaceName::for_endpoint(&endpoint_id)
                .map_err(|error| Error::system(error.to_string()))?;
            let mac = match network.mac_address.as_str() {
                "" => MacAddress::from_random(id::random()?),
                given => given
                    .parse()
                    .map_err(|_| Error::invalid(format!("{given} is not a valid mac address")))?,
            };
            let endpoint = bridge.endpoint(host_interface, address, mac)?;
            Ok(Attachment { endpoint_id, endpoint, published: Vec::new() })
        };
        let attachment = taken().and_then(|mut attachment| {
            let target = address;
            attachment.published = state.leases.take_ports(&record.id, &network.ports, target)?;
            Ok(attachment)
        });
        if attachment.is_err() {
            state.leases.free(&record.id);
        }
        attachment.map(Some)
    }

    /// Gives a new container's namespace its interfaces, and opens its published ports.
    pub(crate) fn furnish(
        &self,
        record: &Record,
        attachment: Option<&Attachment>,
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        if record.spec.namespaces.network != Share::Private {
            return Ok(());
        }
        let mut state = self.lock();
        let Some(held) = attachment else {
            return state.kernel.attach_loopback(netns).map_err(failed);
        };
        state.kernel.attach(netns, &held.endpoint).map_err(failed)?;
        state.publish(&held.published)
    }

    /// Takes a container out of its network after its end: rules, ports, address. The kernel removes the links with the
    /// namespace.
    pub(crate) fn detach(&self, record: &Record, attachment: &Attachment) -> Result<()> {
        let mut state = self.lock();
        let unpublished = state.unpublish(&attachment.published);
        let released = state.kernel.release(&attachment.endpoint).map_err(failed);
        state.leases.free(&record.id);
        unpublished.and(released)
    }

    /// Frees what was reserved for a start that did not happen.
    pub(crate) fn free(&self, container_id: &str, _: &Attachment) {
        self.lock().leases.free(container_id);
    }

    /// Takes back the leases of a container that was found running.
    pub(crate) fn restore(&self, record: &Record) {
        let Some(held) = &record.attachment else { return };
        let mut state = self.lock();
        state.leases.restore(&record.id, held);
        for published in &held.published {
            if let Some(port) = published.rule()
                && let Err(conflict) = state.rules.publish(port)
            {
                tracing::error!(container = id::short(&record.id), %conflict, "a published port is lost");
            }
        }
    }

    /// Makes the firewall what the running containers need; says what somebody else had changed.
    pub(crate) fn reconcile(&self) -> Result<Option<String>> {
        let mut state = self.lock();
        let State { kernel, rules, .. } = &mut *state;
        kernel.sync_firewall(rules).map_err(failed)
    }

    /// Gateway of the default bridge.
    #[must_use]
    pub fn gateway(&self) -> Option<IpAddr> {
        self.bridge.as_ref().map(|bridge| bridge.gateway.address())
    }

    /// The files that name hosts and nameservers.
    pub(crate) fn files(&self, record: &Record, attachment: Option<&Attachment>) -> Result<Files> {
        files::files(
            record,
            attachment,
            self.gateway(),
            &self.dns.servers,
            &self.dns.search,
            &self.dns.options,
        )
    }
}

impl State {
    fn change(&mut self, wanted: Ruleset) -> Result<()> {
        self.kernel.change_firewall(&self.rules, &wanted).map_err(failed)?;
        self.rules = wanted;
        Ok(())
    }

    fn publish(&mut self, ports: &[Published]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let mut wanted = self.rules.clone();
        for port in ports.iter().filter_map(Published::rule) {
            wanted.publish(port).map_err(|conflict| Error::system(conflict.to_string()))?;
        }
        self.change(wanted)
    }

    fn unpublish(&mut self, ports: &[Published]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let mut wanted = self.rules.clone();
        for port in ports.iter().filter_map(Published::rule) {
            wanted.unpublish(&port);
        }
        self.change(wanted)
    }
}

impl Published {
    /// The firewall's rule; `None` for a host address that the container's family cannot serve.
    pub(crate) fn rule(&self) -> Option<PublishedPort> {
        let protocol: Protocol = self.protocol.parse().ok()?;
        let (host_address, container_address) = (self.host_address, self.container_address);
        (host_address.is_ipv4() == container_address.is_ipv4()).then_some(PublishedPort {
            protocol,
            host_address,
            host_port: self.host_port,
            container_address,
            container_port: self.container_port,
        })
    }
}

impl Bridge {
    /// Chooses the bridge's address: what was asked for, what it has already, or a subnet nobody uses.
    fn plan(name: &str, config: &Config, records: &Records, kernel: &mut Network) -> Result<Self> {
        let interface: InterfaceName =
            name.parse().map_err(|error: network::InvalidName| Error::invalid(error.to_string()))?;
        let facts = kernel.gather_facts().map_err(failed)?;
        let present = facts.link(&interface).and_then(|link| {
            let index = link.index;
            facts.addresses_of(index).find(|address| !address.is_ipv6())
        });
        let gateway = match (&config.bridge.address, present) {
            (Some(text), _) => text.parse().map_err(|_| {
                Error::invalid(format!("--bip {text}: it must be an address with a prefix length"))
            })?,
            (None, Some(address)) => address,
            (None, None) => {
                let used = facts.used_networks(&[&interface]);
                let mut candidates =
                    default_subnets().filter_map(|gateway| Prefix::new(IpAddr::V4(gateway), 16));
                candidates.find(|subnet| !used.iter().any(|network| network.overlaps(subnet))).ok_or_else(
                    || Error::system("no free subnet is left for the default bridge: choose one with --bip"),
                )?
            }
        };
        let mac = records.lasting("bridge-mac", || Ok(MacAddress::from_random(id::random()?).to_string()))?;
        let mac = mac.parse().map_err(|_| Error::system("the recorded address of the bridge is damaged"))?;
        let mtu = (config.bridge.mtu > 0).then_some(config.bridge.mtu);
        Ok(Self {
            config: BridgeConfig {
                interface,
                mac,
                addresses: vec![gateway],
                mtu,
                forwarding: true,
                foreign: false,
            },
            gateway,
            mtu,
            communication: config.bridge.inter_container,
            masquerade: config.bridge.masquerade,
        })
    }

    fn rules(&self) -> NetworkRules {
        let mut rules = NetworkRules::new(self.config.interface.clone(), vec![self.gateway.network()]);
        rules.communication = self.communication;
        rules.masquerade = self.masquerade;
        rules
    }

    fn endpoint(&self, host_interface: InterfaceName, address: IpAddr, mac: MacAddress) -> Result<Endpoint> {
        let prefix = Prefix::new(address, self.gateway.length())
            .ok_or_else(|| Error::system("an address of the wrong family"))?;
        let interface =
            "eth0".parse().map_err(|error: network::InvalidName| Error::system(error.to_string()))?;
        Ok(Endpoint {
            attachment: network::Attachment::Bridge {
                bridge: self.config.interface.clone(),
                host_interface,
                isolated: !self.communication,
            },
            interface,
            mac,
            addresses: vec![prefix],
            gateways: vec![self.gateway.address()],
            routes: Vec::new(),
            mtu: self.mtu,
            sysctls: Vec::new(),
        })
    }
}
