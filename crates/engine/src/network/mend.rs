//! Bridges and ports that somebody has taken apart are put together again, while their containers run.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use network::{LinkChanges, plan};

use super::attachment::Known;
use super::state::State;
use super::{Networks, failed};
use crate::container::record::Attachment;
use crate::{Result, id};

/// An endpoint whose link has gone: it has to be plugged in anew, from inside its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unplugged {
    /// The container.
    pub(crate) container: String,
    endpoint: String,
}

impl Networks {
    /// Looks at what may have been taken apart and puts it right, as far as that can be done from the host. Whether there was
    /// anything to do, and what is left to be done.
    pub(crate) fn mend(&self, changes: &LinkChanges) -> Result<(bool, Vec<Unplugged>)> {
        self.lock().mend(changes)
    }

    /// Plugs an endpoint in again, unless its container has left meanwhile. Whether it was necessary.
    pub(crate) fn plug(&self, unplugged: &Unplugged, netns: BorrowedFd<'_>) -> Result<bool> {
        self.lock().plug(unplugged, netns)
    }
}

impl State {
    fn mend(&mut self, changes: &LinkChanges) -> Result<(bool, Vec<Unplugged>)> {
        let mended = self.mend_bridges(changes)?;
        let mut anything = !mended.is_empty();
        let mut unplugged = Vec::new();
        for (container, attachment) in self.ports(changes, &mended) {
            let network = &attachment.network_name;
            let is_gone = match attachment.endpoint.attachment.host_interface() {
                None => true,
                Some(_) => match self.kernel.mend_port(&attachment.endpoint) {
                    Ok(None) => true,
                    Ok(Some(plan)) => {
                        anything |= !plan.is_empty();
                        for op in plan {
                            tracing::warn!(container = id::short(&container), network, %op, "somebody took its link out: it is put back");
                        }
                        false
                    }
                    Err(error) => {
                        tracing::error!(container = id::short(&container), network, %error, "its link cannot be put back");
                        false
                    }
                },
            };
            if is_gone {
                unplugged.push(Unplugged { container, endpoint: attachment.endpoint_id });
            }
        }
        Ok((anything, unplugged))
    }

    /// Puts bridges right that may be concerned; the names of those that were not whole.
    fn mend_bridges(&mut self, changes: &LinkChanges) -> Result<BTreeSet<String>> {
        let concerned = |config: &network::BridgeConfig| {
            changes.anything
                || changes.links.contains(config.interface.as_str())
                || config.addresses.iter().any(|address| changes.addresses.contains(address))
        };
        let known = self.networks.values().filter(|known| known.has_interfaces());
        let configs: Vec<_> = known.filter_map(Known::bridge).filter(concerned).collect();
        let mut mended = BTreeSet::new();
        if configs.is_empty() {
            return Ok(mended);
        }
        let facts = self.kernel.gather_facts().map_err(failed)?;
        for config in configs {
            let Some(wrong) = plan::what_is_wrong(&config, &facts) else { continue };
            tracing::warn!(bridge = %config.interface, wrong, "somebody changed this bridge: it is put right");
            match self.kernel.ensure_bridge(&config).map_err(failed) {
                Ok(()) => {
                    mended.insert(config.interface.to_string());
                }
                Err(error) => tracing::error!(bridge = %config.interface, %error, "it cannot be put right"),
            }
        }
        if !mended.is_empty() {
            self.let_through()?;
        }
        Ok(mended)
    }

    /// The endpoints that are concerned: their own links, or those that they hang on, are among what changed.
    fn ports(&self, changes: &LinkChanges, bridges: &BTreeSet<String>) -> Vec<(String, Attachment)> {
        let concerned = |attachment: &Attachment| {
            let kind = &attachment.endpoint.attachment;
            let parent = kind.parent().as_str();
            match kind.host_interface() {
                Some(port) => {
                    changes.anything || changes.links.contains(port.as_str()) || bridges.contains(parent)
                }
                // What hangs on an interface of the host goes with it.
                None => changes.links.contains(parent),
            }
        };
        let of = |(container, attachments): (&String, &Vec<Attachment>)| {
            let concerned = attachments.iter().filter(|attachment| concerned(attachment));
            concerned.map(|attachment| (container.clone(), attachment.clone())).collect::<Vec<_>>()
        };
        self.held.iter().flat_map(of).collect()
    }

    fn plug(&mut self, unplugged: &Unplugged, netns: BorrowedFd<'_>) -> Result<bool> {
        let held = self.held(&unplugged.container);
        let Some(attachment) = held.iter().find(|held| held.endpoint_id == unplugged.endpoint) else {
            return Ok(false);
        };
        let facts = self.kernel.gather_facts().map_err(failed)?;
        let kind = &attachment.endpoint.attachment;
        let is_there = match kind.host_interface() {
            Some(port) => facts.link(port).is_some(),
            None => facts.link(kind.parent()).is_some(),
        };
        if is_there {
            return Ok(false);
        }
        let (container, network) = (id::short(&unplugged.container), &attachment.network_name);
        tracing::warn!(container, network, "its link was gone: it is plugged in again");
        self.attach(attachment, netns).map(|()| true)
    }
}
