//! What has one owner: the kernel's side of all networks, the ruleset, and what running containers hold.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use api::endpoint::EndpointSettings;
use network::{Connections, InterfaceName, Network, PortAllocator, Protocol, Ruleset, UnpacedPorts, plan};

use super::attachment::{Known, choose_gateways, name_interfaces};
use super::record::NetworkRecord;
use super::{failed, guard, publish};
use crate::config::{Config, PublishPolicy};
use crate::container::record::{Attachment, Published, Record};
use crate::container::state::State as Life;
use crate::{Error, Result, id};

pub(super) struct State {
    pub(super) kernel: Network,
    pub(super) rules: Ruleset,
    pub(super) networks: BTreeMap<String, Known>,
    pub(super) ports: PortAllocator,
    /// What containers hold, by their identifiers.
    pub(super) held: BTreeMap<String, Vec<Attachment>>,
    /// What is not paced of the host's own connections; nothing when all is to be.
    unpaced: Option<UnpacedPorts>,
    /// What published ports have to obey.
    pub(super) policy: PublishPolicy,
    /// Told when there may be a bridge that a firewall of the host does not know.
    pub(super) bridges_changed: Arc<tokio::sync::Notify>,
}

impl State {
    pub(super) fn open(config: &Config) -> Result<Self> {
        let ephemeral =
            network::ports::EphemeralPorts::gather().map_err(|error| Error::system(error.to_string()))?;
        let mut kernel = Network::open().map_err(failed)?;
        let mut rules = Ruleset::default();
        rules.accepted_mark = config.accepted_mark;
        if config.pace_local {
            kernel.keep_pacing();
        }
        rules.hold = config.firewall_lock && kernel.keeps_tables().map_err(failed)?;
        Ok(Self {
            kernel,
            rules,
            networks: BTreeMap::new(),
            ports: PortAllocator::new(ephemeral),
            held: BTreeMap::new(),
            unpaced: (!config.pace_local).then(UnpacedPorts::default),
            policy: config.publish_policy,
            bridges_changed: Arc::default(),
        })
    }

    /// The rules come before the bridges: there is no moment in which one is open. They have what the recorded
    /// containers published, for those that still run; [`State::sweep`] takes away the others'.
    pub(super) fn open_networks(
        &mut self,
        networks: &[NetworkRecord],
        containers: &[Record],
        forward_for_others: bool,
    ) -> Result<()> {
        let facts = self.kernel.gather_facts().map_err(failed)?;
        let observed = self.kernel.observe_firewall().map_err(failed)?;
        self.rules.drop_foreign_forwarding =
            !forward_for_others && (!facts.ipv4_forwarding || observed.drops_foreign_forwarding());
        self.rules.ipv6_localhost = !facts.bridge_filtering_ipv6;
        self.rules.guard_frames = self.kernel.sees_frames().map_err(failed)?;
        if !self.rules.guard_frames {
            tracing::warn!(
                "this kernel's nf_tables do not see bridges: containers of one network can forge addresses"
            );
        }
        for record in networks {
            match Known::new(record.clone()) {
                Ok(known) => {
                    if let Some(rules) = known.rules().filter(|_| known.has_interfaces()) {
                        self.rules.set_network(&record.id, rules);
                    }
                    self.networks.insert(record.id.clone(), known);
                }
                Err(error) => {
                    tracing::error!(network = record.name, %error, "this network is not brought back; its record is kept")
                }
            }
        }
        let maybe_running = |record: &&Record| {
            !matches!(
                record.state,
                Life::Created(_) | Life::Exited { .. } | Life::Dead { .. } | Life::Gone { .. }
            )
        };
        // What they hold is theirs until it is known that they do not run: nobody else is given it meanwhile.
        for record in containers.iter().filter(maybe_running) {
            self.hold(&record.id, &record.attachments);
        }
        for port in self.held.values().flat_map(|attachments| rules_of(attachments)) {
            if let Err(conflict) = self.rules.publish(port) {
                tracing::error!(%conflict, "two containers are recorded with one port");
            }
        }
        self.held.values().flatten().for_each(|attachment| guard::seat(&mut self.rules, attachment));
        let refused = self.refused_by_host(&self.rules.clone())?;
        self.rules.set_refused(refused);
        self.take_firewall()?;
        self.unpace();
        for known in self.networks.values().filter(|known| known.has_interfaces()) {
            let Some(bridge) = known.bridge() else { continue };
            let made = self.kernel.ensure_bridge(&bridge).map_err(failed);
            match made {
                Err(error) if known.record.is_predefined() => return Err(error),
                Err(error) => {
                    tracing::error!(network = known.record.name, %error, "its bridge cannot be made")
                }
                Ok(()) => {}
            }
        }
        self.let_through()
    }

    /// Opens a network: its rules, then its bridge. On failure nothing of it remains.
    pub(super) fn open_network(&mut self, known: &Known) -> Result<()> {
        let (Some(bridge), Some(rules)) = (known.bridge(), known.rules()) else { return Ok(()) };
        let before = self.rules.clone();
        let mut wanted = before.clone();
        wanted.set_network(&known.record.id, rules);
        self.change(wanted)?;
        let made = self.kernel.ensure_bridge(&bridge).map_err(failed).and_then(|()| self.let_through());
        let Err(error) = made else { return Ok(()) };
        let removed = self.kernel.remove_bridge(&bridge).map_err(failed);
        let undone = self.change(before).and(removed);
        Err(undone.err().map_or(error.clone(), |undo| error.context(undo)))
    }

    /// Closes a network: its bridge, then its rules.
    pub(super) fn close_network(&mut self, known: &Known) -> Result<()> {
        if let Some(parent) = known
            .parent()
            .filter(|parent| !self.networks.values().any(|other| other.parent().as_ref() == Some(parent)))
        {
            let ours =
                self.kernel.gather_facts().map_err(failed)?.link(&parent).is_some_and(|link| link.ours);
            if ours {
                let delete = plan::NetOp::Host(plan::LinkOp::DeleteLink { interface: parent });
                self.kernel.apply(&[delete], None).map_err(failed)?;
            }
        }
        let Some(bridge) = known.bridge() else { return Ok(()) };
        self.kernel.remove_bridge(&bridge).map_err(failed)?;
        let mut wanted = self.rules.clone();
        wanted.remove_network(&known.record.id);
        self.change(wanted)?;
        self.bridges_changed.notify_one();
        self.let_through()
    }

    /// Where iptables drops what is forwarded by default, has it let our bridges' packets through to our own rules.
    pub(super) fn let_through(&mut self) -> Result<()> {
        let bridges: BTreeSet<InterfaceName> =
            self.rules.networks().values().map(|rules| rules.bridge.clone()).collect();
        for drop in self.kernel.accept_in_iptables(&bridges).map_err(failed)? {
            tracing::debug!(chain = %format!("{} {} {}", drop.family, drop.table, drop.chain), "a chain of others drops what is forwarded");
        }
        self.bridges_changed.notify_one();
        Ok(())
    }

    /// Changes the rules; which published ports the host's firewall refuses is found out anew each time.
    pub(super) fn change(&mut self, mut wanted: Ruleset) -> Result<()> {
        wanted.set_refused(self.refused_by_host(&wanted)?);
        self.kernel.change_firewall(&self.rules, &wanted).map_err(failed)?;
        self.rules = wanted;
        self.unpace();
        Ok(())
    }

    /// Has the host's connections to published ports not be paced. Where the kernel cannot, they are as slow as without.
    fn unpace(&mut self) {
        let followed = self.unpaced.as_mut().map_or(Ok(()), |ports| ports.follow(&self.rules));
        if let Err(error) = followed {
            tracing::debug!(%error, "the host's connections to published ports are paced");
        }
    }

    /// Makes the firewall what it should be; says what was not so.
    pub(super) fn reconcile(&mut self) -> Result<Option<String>> {
        self.follow_host()?;
        let difference = self.kernel.sync_firewall(&self.rules).map_err(failed)?;
        self.let_through()?;
        Ok(difference)
    }

    /// The network of an endpoint, by identifier or else by name.
    pub(super) fn network_of(&mut self, name: &str, settings: &EndpointSettings) -> Result<&mut Known> {
        let missing = || Error::not_found(format!("network {name} not found"));
        let by_id = self.networks.contains_key(&settings.network_id).then(|| settings.network_id.clone());
        let by_name = || {
            self.networks
                .values()
                .find(|known| known.record.name == name)
                .map(|known| known.record.id.clone())
        };
        let id = by_id.or_else(by_name).ok_or_else(missing)?;
        self.networks.get_mut(&id).ok_or_else(missing)
    }

    /// Leases everything that a container's endpoints need, or nothing.
    pub(super) fn reserve(&mut self, record: &Record) -> Result<Vec<Attachment>> {
        // What an earlier run still holds is given back first.
        self.free(&record.id);
        let reserved = self.reserve_all(record);
        if reserved.is_err() {
            self.free(&record.id);
        }
        reserved
    }

    fn reserve_all(&mut self, record: &Record) -> Result<Vec<Attachment>> {
        let mut order: Vec<(&String, &EndpointSettings)> = record.endpoints.iter().collect();
        // The default network comes first, then those of higher priority, then by name.
        order.sort_by_key(|(name, settings)| {
            (*name != "bridge", std::cmp::Reverse(settings.gw_priority), (*name).clone())
        });
        for (name, settings) in order {
            let known = self.network_of(name, settings)?;
            if !known.has_interfaces() {
                continue;
            }
            let attachment = known.reserve(record, settings)?;
            self.held.entry(record.id.clone()).or_default().push(attachment);
        }
        let Some(mut attachments) = self.held.remove(&record.id) else { return Ok(Vec::new()) };
        let outcome = name_interfaces(&mut attachments, &[]).and_then(|()| {
            choose_gateways(&mut attachments);
            self.take_ports(record, &mut attachments)
        });
        self.held.insert(record.id.clone(), attachments.clone());
        outcome.map(|()| attachments)
    }

    /// Takes the host's ports for the attachments that carry them.
    fn take_ports(&mut self, record: &Record, attachments: &mut [Attachment]) -> Result<()> {
        for attachment in attachments.iter_mut().filter(|attachment| !attachment.endpoint.gateways.is_empty())
        {
            let Some(known) = self.networks.get(&attachment.network_id) else { continue };
            attachment.published =
                publish::take(&mut self.ports, &record.spec.network.ports, attachment, known, self.policy)?;
        }
        Ok(())
    }

    /// Makes an endpoint in a container's namespace.
    pub(super) fn attach(&mut self, attachment: &Attachment, netns: BorrowedFd<'_>) -> Result<()> {
        self.ensure_parent(attachment)?;
        match self.kernel.attach(netns, &attachment.endpoint) {
            Err(error) if self.make_bridge_again(attachment)? => {
                tracing::warn!(%error, network = attachment.network_name, "its bridge was gone: it is made again");
                self.kernel.attach(netns, &attachment.endpoint).map_err(failed)
            }
            attached => attached.map_err(failed),
        }
    }

    /// Makes the bridge of an endpoint when somebody has deleted it; whether it was gone.
    fn make_bridge_again(&mut self, attachment: &Attachment) -> Result<bool> {
        let known = self.networks.get(&attachment.network_id);
        let Some(bridge) = known.and_then(Known::bridge) else { return Ok(false) };
        let facts = self.kernel.gather_facts().map_err(failed)?;
        if facts.link(&bridge.interface).is_some() {
            return Ok(false);
        }
        self.kernel.ensure_bridge(&bridge).map_err(failed)?;
        self.let_through()?;
        Ok(true)
    }

    /// Makes the interface that macvlans and ipvlans hang on, where it is ours to make: a VLAN such as `eth0.7`.
    fn ensure_parent(&mut self, attachment: &Attachment) -> Result<()> {
        let parent = attachment.endpoint.attachment.parent().clone();
        if matches!(attachment.endpoint.attachment, network::Attachment::Bridge { .. }) {
            return Ok(());
        }
        let facts = self.kernel.gather_facts().map_err(failed)?;
        let ops = plan::plan_parent(&parent, &facts).map_err(|error| Error::invalid(error.to_string()))?;
        self.kernel.apply(&ops, None).map_err(failed)
    }

    /// Opens the published ports of a container.
    pub(super) fn publish(&mut self, attachments: &[Attachment]) -> Result<()> {
        let ports: Vec<_> = rules_of(attachments).collect();
        if ports.is_empty() {
            return Ok(());
        }
        let mut wanted = self.rules.clone();
        for port in &ports {
            wanted.publish(*port).map_err(|conflict| Error::system(conflict.to_string()))?;
        }
        self.change(wanted)?;
        // Packets that come without pause would go on where they went before the port was published.
        for port in ports.iter().filter(|port| port.protocol == Protocol::Udp) {
            let to =
                Connections::To { protocol: Protocol::Udp, address: port.host_address, port: port.host_port };
            self.kernel.forget_connections(&to).map_err(failed)?;
        }
        Ok(())
    }

    /// Takes away the rules of attachments: their published ports, and what their frames may say.
    fn unpublish(&mut self, attachments: &[Attachment]) -> Result<()> {
        let mut wanted = self.rules.clone();
        rules_of(attachments).for_each(|port| wanted.unpublish(&port));
        attachments.iter().for_each(|attachment| guard::unseat(&mut wanted, attachment));
        part(&mut wanted, attachments);
        if wanted == self.rules {
            return Ok(());
        }
        self.change(wanted)
    }

    /// Gives back what a container holds, whatever of it can be given back; the first failure.
    pub(super) fn detach(
        &mut self,
        container_id: &str,
        recorded: &[Attachment],
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let attachments = self.held.get(container_id).cloned().unwrap_or_else(|| recorded.to_vec());
        let mut outcome = self.unpublish(&attachments);
        for attachment in &attachments {
            // A link of the host keeps the addresses of what hangs on it, which the next container may be given.
            let released = match (attachment.endpoint.attachment.host_interface(), netns) {
                (None, Some(netns)) => self.kernel.detach(Some(netns), &attachment.endpoint),
                _ => self.kernel.release(&attachment.endpoint),
            };
            outcome = outcome.and(released.map_err(failed));
            if !attachment.published.is_empty() {
                for address in attachment.endpoint.addresses.iter().map(network::Prefix::address) {
                    let forgotten = self.kernel.forget_connections(&Connections::Of(address));
                    outcome = outcome.and(forgotten.map(drop).map_err(failed));
                }
            }
        }
        self.free(container_id);
        outcome
    }

    /// Gives back leases without touching the kernel.
    pub(super) fn free(&mut self, container_id: &str) {
        for attachment in self.held.remove(container_id).unwrap_or_default() {
            self.free_one(&attachment);
        }
    }

    pub(super) fn free_one(&mut self, attachment: &Attachment) {
        if let Some(known) = self.networks.get_mut(&attachment.network_id) {
            attachment.endpoint.addresses.iter().for_each(|prefix| known.release(prefix.address()));
        }
        publish::give_back(&mut self.ports, &attachment.published);
    }

    /// Takes up what a container held that may still run. What it holds already is left.
    pub(super) fn hold(&mut self, container_id: &str, attachments: &[Attachment]) {
        if attachments.is_empty() || self.held.contains_key(container_id) {
            return;
        }
        for attachment in attachments {
            if let Some(known) = self.networks.get_mut(&attachment.network_id) {
                known.adopt(&attachment.endpoint.addresses);
            }
            for lease in attachment.published.iter().filter_map(Published::lease) {
                if let network::ports::Adopted::TakenByHost(error) = self.ports.adopt(lease) {
                    tracing::warn!(container = id::short(container_id), %error, "a program of the host has taken a published port; packets still go to the container");
                }
            }
        }
        self.held.insert(container_id.to_owned(), attachments.to_vec());
    }

    /// Makes the endpoints again whose links are gone: a disconnection was cut short, or somebody deleted them.
    pub(super) fn plug_again(&mut self, record: &Record, netns: BorrowedFd<'_>) -> Result<()> {
        let facts = self.kernel.gather_facts().map_err(failed)?;
        for attachment in &record.attachments {
            let link = attachment.endpoint.attachment.host_interface();
            if link.is_some_and(|link| facts.link(link).is_none()) {
                let (network, container) = (&attachment.network_name, id::short(&record.id));
                tracing::warn!(container, network, "its link was gone: it is plugged in again");
                self.attach(attachment, netns)?;
            }
        }
        Ok(())
    }

    /// A container's names have changed.
    pub(super) fn rename(&mut self, container_id: &str, attachments: &[Attachment]) {
        if let Some(held) = self.held.get_mut(container_id) {
            *held = attachments.to_vec();
        }
    }

    /// What a container holds.
    pub(super) fn held(&self, container_id: &str) -> Vec<Attachment> {
        self.held.get(container_id).cloned().unwrap_or_default()
    }

    /// Whether a network has endpoints; their containers' identifiers.
    pub(super) fn users(&self, network_id: &str) -> Vec<String> {
        let uses =
            |attachments: &Vec<Attachment>| attachments.iter().any(|held| held.network_id == network_id);
        self.held.iter().filter(|(_, attachments)| uses(attachments)).map(|(id, _)| id.clone()).collect()
    }

    /// Removes rules of containers that hold nothing, and links of ours that belong to nothing.
    pub(super) fn sweep(&mut self) -> Result<()> {
        let mut wanted = self.rules.clone();
        let kept: BTreeSet<_> = self.held.values().flat_map(|attachments| rules_of(attachments)).collect();
        let stale: Vec<_> = wanted.published().filter(|port| !kept.contains(port)).copied().collect();
        stale.iter().for_each(|port| wanted.unpublish(port));
        for port in kept {
            if let Err(conflict) = wanted.publish(port) {
                tracing::error!(%conflict, "a published port is lost");
            }
        }
        guard::keep(&mut wanted, self.held.values().flatten());
        if wanted != self.rules {
            self.change(wanted)?;
        }
        let mut expected: BTreeSet<InterfaceName> = self
            .networks
            .values()
            .filter_map(|known| known.bridge())
            .map(|bridge| bridge.interface)
            .collect();
        expected.extend(self.networks.values().filter_map(Known::parent));
        let links = self.held.values().flatten().map(|attachment| &attachment.endpoint.attachment);
        expected.extend(links.filter_map(network::Attachment::host_interface).cloned());
        for op in self.kernel.sweep(&expected).map_err(failed)? {
            tracing::info!(%op, "swept what an earlier daemon left");
        }
        Ok(())
    }
}

/// Takes away what linked containers may reach, where one of them has these attachments: others get its addresses.
pub(super) fn part(rules: &mut Ruleset, attachments: &[Attachment]) {
    let addresses = attachments.iter().flat_map(|attachment| &attachment.endpoint.addresses);
    addresses.for_each(|address| rules.stop_passing_of(address.address()));
}

/// The rules of all published ports of some attachments.
pub(super) fn rules_of(attachments: &[Attachment]) -> impl Iterator<Item = network::PublishedPort> + '_ {
    attachments.iter().flat_map(|attachment| &attachment.published).filter_map(Published::rule)
}
