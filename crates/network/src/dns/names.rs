//! The names of one network: who has which, at which addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::firewall::Protocol;

/// An endpoint with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The container's name, by which its addresses are known backwards; then aliases, short id, host name.
    pub names: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The ports that it exposes.
    pub ports: Vec<(Protocol, u16)>,
}

/// The names of a network. Several endpoints may share a name: all of them answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkNames {
    network_name: String,
    endpoints: BTreeMap<String, NamedEndpoint>,
    addresses: BTreeMap<String, Vec<IpAddr>>,
}

impl NetworkNames {
    /// A network without endpoints.
    #[must_use]
    pub fn new(network_name: &str) -> Self {
        Self { network_name: network_name.to_ascii_lowercase(), ..Self::default() }
    }

    /// Adds an endpoint by its id, or changes it.
    pub fn set(&mut self, endpoint_id: &str, endpoint: NamedEndpoint) {
        self.endpoints.insert(endpoint_id.to_owned(), endpoint);
        self.index();
    }

    /// Removes an endpoint; one that is not there is no error.
    pub fn remove(&mut self, endpoint_id: &str) {
        self.endpoints.remove(endpoint_id);
        self.index();
    }

    fn index(&mut self) {
        self.addresses.clear();
        for endpoint in self.endpoints.values() {
            for name in &endpoint.names {
                let known = self.addresses.entry(name.to_ascii_lowercase()).or_default();
                known.extend(
                    endpoint.addresses.iter().filter(|address| !known.contains(address)).collect::<Vec<_>>(),
                );
            }
        }
    }

    /// The addresses of a name in lower case: as it is, or with the network's name behind a dot. `None` for a name that
    /// nobody here has.
    #[must_use]
    pub fn addresses_of(&self, name: &str) -> Option<&[IpAddr]> {
        let within = name.strip_suffix(&self.network_name).and_then(|rest| rest.strip_suffix('.'));
        let found = self.addresses.get(name).or_else(|| self.addresses.get(within?));
        found.map(Vec::as_slice)
    }

    /// The containers with a name in lower case that expose a port, by their own names with the network's.
    #[must_use]
    pub fn services_of(&self, name: &str, port: (Protocol, u16)) -> Vec<String> {
        let within = name.strip_suffix(&self.network_name).and_then(|rest| rest.strip_suffix('.'));
        let named = |endpoint: &&NamedEndpoint| {
            let is = |own: &String| {
                own.eq_ignore_ascii_case(name) || Some(own.to_ascii_lowercase().as_str()) == within
            };
            endpoint.names.iter().any(is) && endpoint.ports.contains(&port)
        };
        let own = self.endpoints.values().filter(named).filter_map(|endpoint| endpoint.names.first());
        own.map(|own| format!("{own}.{}", self.network_name)).collect()
    }

    /// The name of an address: that of its container, with the network's.
    #[must_use]
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        let endpoint = self.endpoints.values().find(|endpoint| endpoint.addresses.contains(&address))?;
        Some(format!("{}.{}", endpoint.names.first()?, self.network_name))
    }
}
