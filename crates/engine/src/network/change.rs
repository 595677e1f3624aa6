//! Endpoints that come to running containers, and go.

use std::os::fd::BorrowedFd;

use api::endpoint::EndpointSettings;
use api::port::PortMap;
use network::{Connections, InterfaceName, plan};

use super::attachment::{choose_gateways, name_interfaces};
use super::state::{State, rules_of};
use super::{failed, publish};
use crate::container::record::{Attachment, Published, Record};
use crate::container::remodel::is_closed;
use crate::container::spec::PortSpec;
use crate::descriptor::Reserve;
use crate::{Error, Result};

impl State {
    /// Adds an endpoint to a running container. Returns all of its attachments.
    pub(super) fn connect(
        &mut self,
        record: &Record,
        name: &str,
        settings: &EndpointSettings,
        netns: BorrowedFd<'_>,
        reserve: &mut Reserve,
    ) -> Result<Vec<Attachment>> {
        let before = self.held(&record.id);
        let added = self.network_of(name, settings)?.reserve(record, settings)?;
        let mut after = before.clone();
        after.push(added);
        let taken: Vec<InterfaceName> = before.iter().map(|held| held.endpoint.interface.clone()).collect();
        let last = after.len() - 1;
        let prepared = name_interfaces(after.get_mut(last..).unwrap_or_default(), &taken);
        choose_gateways(&mut after);
        let made =
            prepared.and_then(|()| self.seat(&after[last..])).and_then(|()| self.attach(&after[last], netns));
        if let Err(error) = made {
            reserve.release();
            let undone = self.unseat(&after[last..]);
            self.free_one(&after[last]);
            return Err(undone.err().map_or(error.clone(), |undo| error.context(undo)));
        }
        if let Err(error) = self.move_ways(record, &before, &mut after, netns) {
            reserve.release();
            let undone = self.kernel.detach(Some(netns), &after[last].endpoint).map_err(failed);
            let undone = undone.and(self.unseat(&after[last..]));
            self.free_one(&after[last]);
            return Err(undone.err().map_or(error.clone(), |undo| error.context(undo)));
        }
        self.held.insert(record.id.clone(), after.clone());
        Ok(after)
    }

    /// Shapes an endpoint of a running container anew. Returns all of its attachments.
    pub(super) fn shape(
        &mut self,
        container_id: &str,
        network_id: &str,
        shaping: network::Shaping,
        netns: BorrowedFd<'_>,
    ) -> Result<Vec<Attachment>> {
        let mut attachments = self.held(container_id);
        for attachment in attachments.iter_mut().filter(|attachment| attachment.network_id == network_id) {
            attachment.endpoint.shaping = shaping;
            self.kernel.apply(&plan::plan_shape(&attachment.endpoint), Some(netns)).map_err(failed)?;
        }
        self.held.insert(container_id.to_owned(), attachments.clone());
        Ok(attachments)
    }

    /// Gives the links of a running container the shape that is recorded.
    pub(super) fn shape_again(&mut self, record: &Record, netns: BorrowedFd<'_>) -> Result<()> {
        record.attachments.iter().try_for_each(|attachment| {
            self.kernel.apply(&plan::plan_shape(&attachment.endpoint), Some(netns)).map_err(failed)
        })
    }

    /// Takes an endpoint from a running container. Returns the attachments that stay.
    pub(super) fn disconnect(
        &mut self,
        record: &Record,
        network_id: &str,
        netns: BorrowedFd<'_>,
    ) -> Result<Vec<Attachment>> {
        let before = self.held(&record.id);
        let (gone, mut after): (Vec<_>, Vec<_>) =
            before.iter().cloned().partition(|held| held.network_id == network_id);
        choose_gateways(&mut after);
        for attachment in &gone {
            // All of it is tried, whatever fails: a link that has gone does not come back.
            if let Err(error) = self.kernel.detach(Some(netns), &attachment.endpoint) {
                if !self.is_unplugged(attachment) {
                    return Err(failed(error));
                }
                tracing::warn!(container = crate::id::short(&record.id), %error, "it is disconnected all the same");
            }
        }
        let moved = self.move_ways(record, &before, &mut after, netns).and(self.unseat(&gone));
        for attachment in &gone {
            if let Some(known) = self.networks.get_mut(&attachment.network_id) {
                attachment.endpoint.addresses.iter().for_each(|prefix| known.release(prefix.address()));
            }
            // A look at every connection of the host: for those alone who have been reached from outside.
            let published = !attachment.published.is_empty();
            for address in attachment.endpoint.addresses.iter().filter(|_| published) {
                let forgotten = self.kernel.forget_connections(&Connections::Of(address.address()));
                if let Err(error) = forgotten {
                    tracing::error!(container = crate::id::short(&record.id), %error, "connections of it are kept");
                }
            }
        }
        // The links have gone, and do not come back for this.
        if let Err(error) = moved {
            tracing::error!(container = crate::id::short(&record.id), %error, "its ways out are not what they should be");
        }
        self.held.insert(record.id.clone(), after.clone());
        Ok(after)
    }

    /// Whether an attachment's link has certainly gone.
    fn is_unplugged(&mut self, attachment: &Attachment) -> bool {
        let link = attachment.endpoint.attachment.host_interface().cloned();
        link.is_some_and(|link| self.kernel.gather_facts().is_ok_and(|facts| facts.link(&link).is_none()))
    }

    /// Has a running container publish more ports, and fewer. Those that stay keep their numbers and their connections.
    pub(super) fn republish(
        &mut self,
        record: &Record,
        more: &[PortSpec],
        closed: &PortMap,
    ) -> Result<Vec<Attachment>> {
        let before = self.held(&record.id);
        let (mut after, mut taken, mut gone) = (before.clone(), Vec::new(), Vec::new());
        for attachment in &mut after {
            let (lost, kept) = attachment.published.iter().cloned().partition(|held| is_closed(closed, held));
            attachment.published = kept;
            gone.extend::<Vec<Published>>(lost);
            if attachment.endpoint.gateways.is_empty() {
                continue;
            }
            let Some(known) = self.networks.get(&attachment.network_id) else { continue };
            match publish::take(&mut self.ports, more, attachment, known, self.policy) {
                Ok(new) => {
                    taken.extend(new.iter().cloned());
                    attachment.published.extend(new);
                }
                Err(error) => {
                    publish::give_back(&mut self.ports, &taken);
                    return Err(error);
                }
            }
        }
        let mut wanted = self.rules.clone();
        gone.iter().filter_map(Published::rule).for_each(|port| wanted.unpublish(&port));
        let conflict = taken.iter().filter_map(Published::rule).find_map(|port| wanted.publish(port).err());
        let changed = match conflict {
            Some(conflict) => Err(Error::system(conflict.to_string())),
            None if wanted == self.rules => Ok(()),
            None => self.change(wanted),
        };
        if let Err(error) = changed {
            publish::give_back(&mut self.ports, &taken);
            return Err(error);
        }
        publish::give_back(&mut self.ports, &gone);
        self.held.insert(record.id.clone(), after.clone());
        self.forget_ports(gone.iter().chain(&taken))?;
        Ok(after)
    }

    /// Connections through ports that closed end; packets that came to a port before it opened do not go on past it.
    fn forget_ports<'a>(&mut self, ports: impl Iterator<Item = &'a Published>) -> Result<()> {
        for port in ports.filter_map(Published::rule) {
            let to =
                Connections::To { protocol: port.protocol, address: port.host_address, port: port.host_port };
            self.kernel.forget_connections(&to).map_err(failed)?;
        }
        Ok(())
    }

    /// Has default routes and published ports go where the attachments `after` say. Ports keep their numbers.
    fn move_ways(
        &mut self,
        record: &Record,
        before: &[Attachment],
        after: &mut [Attachment],
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let old_of =
            |attachment: &Attachment| before.iter().find(|held| held.endpoint_id == attachment.endpoint_id);
        let same = |one: &Attachment, other: &Attachment| {
            one.endpoint_id == other.endpoint_id && one.endpoint.gateways == other.endpoint.gateways
        };
        let moved = before.iter().filter(|held| !after.iter().any(|attachment| same(held, attachment)));
        let freed: Vec<Published> = moved.flat_map(|held| held.published.iter().cloned()).collect();
        publish::give_back(&mut self.ports, &freed);
        for attachment in after.iter_mut() {
            let old = old_of(attachment);
            if old.is_some_and(|old| same(old, attachment)) {
                continue;
            }
            if old.is_some() && !attachment.endpoint.gateways.is_empty() {
                let routes =
                    plan::plan_default_route(&attachment.endpoint.interface, &attachment.endpoint.gateways);
                self.kernel.apply(&routes, Some(netns)).map_err(failed)?;
            }
            attachment.published.clear();
            if let Some(known) = self.networks.get(&attachment.network_id) {
                let wanted = publish::as_before(&record.spec.network.ports, &freed);
                attachment.published =
                    publish::take(&mut self.ports, &wanted, attachment, known, self.policy)?;
            }
        }
        let mut wanted = self.rules.clone();
        rules_of(before).for_each(|port| wanted.unpublish(&port));
        for port in rules_of(after) {
            wanted.publish(port).map_err(|conflict| Error::system(conflict.to_string()))?;
        }
        if wanted == self.rules { Ok(()) } else { self.change(wanted) }
    }
}
