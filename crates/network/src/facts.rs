//! Facts: what plans depend on, read from the kernel in one place.

use crate::address::Prefix;
use crate::endpoint::Endpoint;
use crate::firewall::ForwardDrop;
use crate::interface::InterfaceName;
use crate::rtnetlink::Link;

/// The state of the host's network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// All links.
    pub links: Vec<Link>,
    /// The addresses of the links, by index.
    pub addresses: Vec<(u32, Prefix)>,
    /// Destinations of the routes of the main table, the default route left out.
    pub routes: Vec<Prefix>,
    /// `net.ipv4.ip_forward`.
    pub ipv4_forwarding: bool,
    /// `net.ipv6.conf.all.forwarding`; `None` when the kernel has no IPv6.
    pub ipv6_forwarding: Option<bool>,
    /// Whether IPv4 packets in frames that cross a bridge are given to the packet filter (br_netfilter).
    pub bridge_filtering_ipv4: bool,
    /// The same for IPv6; then published ports cannot be reached at `[::1]`.
    pub bridge_filtering_ipv6: bool,
    /// Whether new sockets of the host pace what they send ([`crate::Network::keep_pacing`]).
    pub paced: bool,
    /// Filters of others that may drop what ours lets through.
    pub forward_drops: Vec<ForwardDrop>,
}

/// What attaching one endpoint depends on. It is asked for by name, so that its cost does not grow with the number of
/// containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFacts {
    /// The interface that the endpoint hangs on.
    pub parent: Option<Link>,
    /// Whether the host's end exists already: left over by an attachment that was cut short.
    pub leftover: bool,
    /// Whether the kernel has IPv6.
    pub ipv6: bool,
    /// Whether packets in frames that cross a bridge are given to the packet filter.
    pub bridge_filtering: bool,
    /// Whether new sockets pace what they send, the container's as well.
    pub paced: bool,
}

impl Facts {
    /// The link with this name.
    #[must_use]
    pub fn link(&self, name: &InterfaceName) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name.as_str())
    }

    /// The addresses of a link.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = Prefix> + '_ {
        self.addresses.iter().filter(move |(owner, _)| *owner == index).map(|(_, address)| *address)
    }

    /// Networks that the host itself uses, apart from those of the given bridges: address pools avoid them.
    #[must_use]
    pub fn used_networks(&self, own: &[&InterfaceName]) -> Vec<Prefix> {
        let own: Vec<Prefix> = own
            .iter()
            .filter_map(|name| self.link(name))
            .flat_map(|link| self.addresses_of(link.index))
            .map(|address| address.network())
            .collect();
        let routes = self.routes.iter().copied();
        let addresses = self.addresses.iter().map(|(_, address)| address.network());
        let mut used: Vec<Prefix> =
            routes.chain(addresses).filter(|network| !own.contains(network)).collect();
        used.sort_unstable();
        used.dedup();
        used
    }
}

impl EndpointFacts {
    /// The facts about an endpoint that the full facts contain.
    #[must_use]
    pub fn of(endpoint: &Endpoint, facts: &Facts) -> Self {
        Self {
            parent: facts.link(endpoint.attachment.parent()).cloned(),
            leftover: endpoint.attachment.host_interface().is_some_and(|name| facts.link(name).is_some()),
            ipv6: facts.ipv6_forwarding.is_some(),
            bridge_filtering: facts.bridge_filtering_ipv4 || facts.bridge_filtering_ipv6,
            paced: facts.paced,
        }
    }
}
