//! What a container may reach of another one in a network that keeps its containers apart: the ports of a link.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::ruleset::{Protocol, Ruleset};
use crate::interface::InterfaceName;

/// One port of a container that another one of the same network may reach although they are kept apart. The host answers
/// for its containers there ([`crate::BridgeConfig::apart`]), so that these packets pass through it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Passage {
    /// The bridge of both.
    pub bridge: InterfaceName,
    /// Who may reach it.
    pub from: Ipv4Addr,
    /// Whose port it is.
    pub to: Ipv4Addr,
    /// The transport.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl Ruleset {
    /// Lets some containers reach others' ports; those that may already are no error.
    pub fn let_pass(&mut self, passages: impl IntoIterator<Item = Passage>) {
        self.passages.extend(passages);
    }

    /// Takes that back. What is not there is no error.
    pub fn stop_passing(&mut self, passages: &BTreeSet<Passage>) {
        self.passages.retain(|passage| !passages.contains(passage));
    }

    /// Takes back whatever begins or ends at an address.
    pub fn stop_passing_of(&mut self, address: IpAddr) {
        self.passages.retain(|passage| ![passage.from, passage.to].map(IpAddr::V4).contains(&address));
    }

    /// What may be reached although it is kept apart.
    #[must_use]
    pub fn passages(&self) -> &BTreeSet<Passage> {
        &self.passages
    }
}
