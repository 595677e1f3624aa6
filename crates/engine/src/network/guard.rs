//! What the frames of containers may say: each port of a bridge is known before it exists.

use std::collections::BTreeSet;

use network::{BridgePort, Guard, InterfaceName, Prefix, Ruleset};

use super::state::State;
use crate::Result;
use crate::container::record::Attachment;

/// Adds an attachment's port to the rules, where it has one.
pub(super) fn seat(rules: &mut Ruleset, attachment: &Attachment) {
    let Some(host_interface) = attachment.endpoint.attachment.host_interface() else { return };
    let endpoint = &attachment.endpoint;
    let addresses = endpoint.addresses.iter().chain(&endpoint.link_local).map(Prefix::address).collect();
    rules.set_port(host_interface, BridgePort { mac: endpoint.mac, addresses, guard: attachment.guard });
}

/// Removes an attachment's port from the rules.
pub(super) fn unseat(rules: &mut Ruleset, attachment: &Attachment) {
    if let Some(host_interface) = attachment.endpoint.attachment.host_interface() {
        rules.remove_port(host_interface);
    }
}

/// Keeps the ports of these attachments and no others.
pub(super) fn keep<'a>(rules: &mut Ruleset, held: impl Iterator<Item = &'a Attachment> + Clone) {
    let expected: BTreeSet<&InterfaceName> =
        held.filter_map(|attachment| attachment.endpoint.attachment.host_interface()).collect();
    let stale: Vec<InterfaceName> =
        rules.ports().keys().filter(|name| !expected.contains(name)).cloned().collect();
    stale.iter().for_each(|name| rules.remove_port(name));
}

impl State {
    /// Makes the ports of attachments known, before they exist.
    pub(super) fn seat(&mut self, attachments: &[Attachment]) -> Result<()> {
        let mut wanted = self.rules.clone();
        attachments.iter().for_each(|attachment| seat(&mut wanted, attachment));
        self.change(wanted)
    }

    /// Forgets the ports of attachments.
    pub(super) fn unseat(&mut self, attachments: &[Attachment]) -> Result<()> {
        let mut wanted = self.rules.clone();
        attachments.iter().for_each(|attachment| unseat(&mut wanted, attachment));
        super::state::part(&mut wanted, attachments);
        self.change(wanted)
    }

    /// Lets a container use other addresses than it was given: a program that shares its interfaces may give it some.
    pub(super) fn trust(&mut self, container_id: &str) -> Result<()> {
        for attachment in self.held.get_mut(container_id).into_iter().flatten() {
            if attachment.guard == Guard::Sources && !attachment.guard_asked {
                attachment.guard = Guard::Announcements;
            }
        }
        self.seat(&self.held(container_id))
    }
}
