//! Published ports and the host's own firewall: obeying it, or telling people that they go past it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use network::{Answer, HostInput, InterfaceName, Knock, Protocol, PublishedPort, Refused, Ruleset};

use super::state::State;
use super::{Networks, failed};
use crate::Result;
use crate::config::PublishPolicy;
use crate::container::spec::PortSpec;

/// The host's filters, and the interfaces that something may come in by.
struct Gate {
    filters: HostInput,
    interfaces: Vec<InterfaceName>,
}

impl Gate {
    /// What the filters say to a packet for a port, by each interface; only those that do not simply let it in.
    fn refusals(&self, protocol: Protocol, address: IpAddr, port: u16) -> Vec<(&InterfaceName, Answer)> {
        if address.is_loopback() {
            return Vec::new();
        }
        let ask = |interface: &InterfaceName| {
            self.filters.ask(&Knock {
                protocol,
                ipv6: address.is_ipv6(),
                address: (!address.is_unspecified()).then_some(address),
                port,
                interface: interface.clone(),
            })
        };
        let answers = self.interfaces.iter().map(|interface| (interface, ask(interface)));
        answers.filter(|(_, answer)| *answer != Answer::Accepted).collect()
    }
}

impl State {
    fn gate(&mut self) -> Result<Gate> {
        let filters = self.kernel.read_host_input().map_err(failed)?;
        let links = self.kernel.links().map_err(failed)?;
        let ours: BTreeSet<&str> =
            self.rules.networks().values().map(|rules| rules.bridge.as_str()).collect();
        let comes_in =
            links.iter().filter(|link| !link.ours && link.name != "lo" && !ours.contains(link.name.as_str()));
        Ok(Gate { filters, interfaces: comes_in.filter_map(|link| link.name.parse().ok()).collect() })
    }

    /// The published ports that the host's firewall would not let in. What it lets in from some places only counts as
    /// refused: which places these are cannot be told from here.
    pub(super) fn refused_by_host(&mut self, rules: &Ruleset) -> Result<BTreeSet<Refused>> {
        if self.policy != PublishPolicy::RespectHost || rules.published().next().is_none() {
            return Ok(BTreeSet::new());
        }
        let gate = self.gate()?;
        let refused = |port: &PublishedPort| {
            let refusals = gate.refusals(port.protocol, port.host_address, port.host_port);
            let (ipv6, protocol, port) = (port.host_address.is_ipv6(), port.protocol, port.host_port);
            let closed = move |(interface, _): (&InterfaceName, Answer)| Refused {
                interface: interface.clone(),
                ipv6,
                protocol,
                port,
            };
            refusals.into_iter().map(closed).collect::<Vec<_>>()
        };
        Ok(rules.published().flat_map(refused).collect())
    }

    /// Opens and closes published ports as the host's firewall does by now.
    pub(super) fn follow_host(&mut self) -> Result<()> {
        let wanted = self.rules.clone();
        if self.refused_by_host(&wanted)? == *self.rules.refused() {
            return Ok(());
        }
        tracing::info!("the host's firewall has changed: published ports follow it");
        self.change(wanted)
    }
}

impl Networks {
    /// What people should know about the ports that a container is going to publish.
    pub(crate) fn publish_warnings(&self, ports: &[PortSpec]) -> Vec<String> {
        if ports.is_empty() {
            return Vec::new();
        }
        let mut state = self.lock();
        let policy = state.policy;
        let gate = match state.gate() {
            Ok(gate) => gate,
            Err(error) => {
                tracing::error!(%error, "the host's firewall cannot be read");
                return Vec::new();
            }
        };
        drop(state);
        ports.iter().filter_map(|port| warning(port, policy, &gate)).collect()
    }
}

/// A warning about one port; none for a port whose number is not known yet.
fn warning(port: &PortSpec, policy: PublishPolicy, gate: &Gate) -> Option<String> {
    let number = port.host_ports.0;
    if number == 0 || (port.host_ip.is_empty() && policy == PublishPolicy::Localhost) {
        return None;
    }
    let everywhere = || IpAddr::from([0; 4]);
    let address = port.host_ip.parse().unwrap_or_else(|_| everywhere());
    let refusals = gate.refusals(port.protocol.parse().ok()?, address, number);
    let (interface, answer) = refusals.first()?;
    let (by, does, will) = match answer {
        Answer::Accepted => return None,
        Answer::Refused { by } => (by, "refuses", "would refuse it"),
        Answer::Depends { by } => (by, "does not let everybody in", "would not let everybody in"),
    };
    let what = format!("port {number}/{}", port.protocol);
    Some(match policy {
        PublishPolicy::RespectHost => format!(
            "{what} is closed to other hosts: {by} {does} (by {interface}), and published ports obey it here (--publish-policy)"
        ),
        PublishPolicy::Docker | PublishPolicy::Localhost => format!(
            "{what} is open to other hosts although {by} {will} (by {interface}): publish it on 127.0.0.1, or have published ports obey the host's firewall (--publish-policy respect-host)"
        ),
    })
}
