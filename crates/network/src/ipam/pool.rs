//! Addresses of one subnet, leased lowest first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::address::Prefix;

/// A subnet as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetConfig {
    /// The subnet.
    pub subnet: Prefix,
    /// The part from which addresses are leased that nobody asked for by name.
    pub range: Option<Prefix>,
    /// The gateway; the first address when none is given.
    pub gateway: Option<IpAddr>,
    /// Addresses that others have, by the names that the administrator gave them.
    pub auxiliary: BTreeMap<String, IpAddr>,
}

/// A subnet with its leases. Serialises as the record that the engine keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    config: SubnetConfig,
    gateway: IpAddr,
    leases: BTreeSet<IpAddr>,
}

/// A subnet that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubnet {
    /// Host bits are set.
    #[error("invalid subnet {0}: it should be {network}", network = .0.network())]
    HostBits(Prefix),
    /// The range is not within the subnet.
    #[error("invalid ip-range {range}: parent subnet is {subnet}")]
    Range {
        /// The range.
        range: Prefix,
        /// The subnet.
        subnet: Prefix,
    },
    /// The host bits of the range are set.
    #[error("invalid ip-range {0}: it should be {network}", network = .0.network())]
    RangeHostBits(Prefix),
    /// The gateway is not within the subnet.
    #[error("invalid gateway {gateway}: parent subnet is {subnet}")]
    Gateway {
        /// The gateway.
        gateway: IpAddr,
        /// The subnet.
        subnet: Prefix,
    },
    /// An auxiliary address is not within the subnet.
    #[error("invalid auxiliary address {name}: parent subnet is {subnet}")]
    Auxiliary {
        /// The address's name.
        name: String,
        /// The subnet.
        subnet: Prefix,
    },
    /// There is no address for a gateway.
    #[error("invalid subnet {0}: it has no address for a gateway")]
    TooSmall(Prefix),
}

/// An address that could not be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Somebody has it.
    #[error("Address already in use")]
    InUse(IpAddr),
    /// It is not an address of a host in this subnet.
    #[error("no configured subnet contains IP address {0}")]
    Outside(IpAddr),
    /// Every address is leased.
    #[error("no available addresses in subnet {0}: remove a container or use a larger subnet")]
    Exhausted(Prefix),
}

impl SubnetConfig {
    /// A subnet without further wishes.
    #[must_use]
    pub fn new(subnet: Prefix) -> Self {
        Self { subnet, range: None, gateway: None, auxiliary: BTreeMap::new() }
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<InvalidSubnet> {
        let subnet = self.subnet;
        let mut problems = Vec::new();
        if subnet != subnet.network() {
            problems.push(InvalidSubnet::HostBits(subnet));
        }
        if let Some(range) = self.range {
            if range.length() < subnet.length() || !subnet.contains(range.first()) {
                problems.push(InvalidSubnet::Range { range, subnet });
            }
            if range != range.network() {
                problems.push(InvalidSubnet::RangeHostBits(range));
            }
        }
        if let Some(gateway) = self.gateway.filter(|gateway| !subnet.contains(*gateway)) {
            problems.push(InvalidSubnet::Gateway { gateway, subnet });
        }
        let outside = self.auxiliary.iter().filter(|(_, address)| !subnet.contains(**address));
        problems.extend(outside.map(|(name, _)| InvalidSubnet::Auxiliary { name: name.clone(), subnet }));
        problems
    }
}

impl Subnet {
    /// A subnet without leases but the gateway's.
    ///
    /// # Errors
    /// The first thing that is wrong with the configuration; [`SubnetConfig::problems`] has all of them.
    pub fn new(config: SubnetConfig) -> Result<Self, InvalidSubnet> {
        if let Some(problem) = config.problems().into_iter().next() {
            return Err(problem);
        }
        let auxiliary = |address: &IpAddr| config.auxiliary.values().any(|taken| taken == address);
        let first =
            usable(config.range.unwrap_or(config.subnet), config.subnet).find(|address| !auxiliary(address));
        let gateway = config.gateway.or(first).ok_or(InvalidSubnet::TooSmall(config.subnet))?;
        Ok(Self { config, gateway, leases: BTreeSet::new() })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &SubnetConfig {
        &self.config
    }

    /// The gateway's address.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// The gateway's address with the subnet's prefix length, as the bridge has it.
    #[must_use]
    pub fn gateway_prefix(&self) -> Prefix {
        self.with_length(self.gateway)
    }

    /// The leases of containers.
    pub fn leases(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.leases.iter().copied()
    }

    /// Leases the address asked for, or else the lowest free one.
    ///
    /// # Errors
    /// Why there is no such lease.
    pub fn lease(&mut self, requested: Option<IpAddr>) -> Result<Prefix, LeaseError> {
        let address = match requested {
            Some(address) if !is_usable(address, self.config.subnet) => {
                return Err(LeaseError::Outside(address));
            }
            Some(address) if self.is_taken(address) => return Err(LeaseError::InUse(address)),
            Some(address) => address,
            None => {
                let range = self.config.range.unwrap_or(self.config.subnet);
                let mut free = usable(range, self.config.subnet).filter(|address| !self.is_taken(*address));
                free.next().ok_or(LeaseError::Exhausted(self.config.subnet))?
            }
        };
        self.leases.insert(address);
        Ok(self.with_length(address))
    }

    /// Takes up a lease of an earlier daemon; a lease that is there already is no error.
    ///
    /// # Errors
    /// When the address is not one of this subnet.
    pub fn adopt(&mut self, address: IpAddr) -> Result<(), LeaseError> {
        if !self.config.subnet.contains(address) {
            return Err(LeaseError::Outside(address));
        }
        self.leases.insert(address);
        Ok(())
    }

    /// Gives an address back; one that was not leased is no error.
    pub fn release(&mut self, address: IpAddr) {
        self.leases.remove(&address);
    }

    fn is_taken(&self, address: IpAddr) -> bool {
        let auxiliary = self.config.auxiliary.values().any(|taken| *taken == address);
        auxiliary || address == self.gateway || self.leases.contains(&address)
    }

    fn with_length(&self, address: IpAddr) -> Prefix {
        Prefix::new(address, self.config.subnet.length()).unwrap_or(Prefix::host(address))
    }
}

/// Addresses of `range` that a host of `subnet` can have, lowest first.
fn usable(range: Prefix, subnet: Prefix) -> impl Iterator<Item = IpAddr> {
    (0..=range.last_offset())
        .map_while(move |offset| range.nth(offset))
        .filter(move |address| is_usable(*address, subnet))
}

/// Whether a host can have the address: not the network's own, nor the broadcast address of IPv4, unless the subnet
/// is a /31 or /32 (RFC 3021) or has a single address.
fn is_usable(address: IpAddr, subnet: Prefix) -> bool {
    if subnet.last_offset() <= 1 {
        return subnet.contains(address);
    }
    let broadcast = !subnet.is_ipv6() && address == subnet.last();
    subnet.contains(address) && address != subnet.first() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::new(SubnetConfig::new(text.parse().unwrap())).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_leased_lowest_first_and_again_after_their_return() {
        let mut subnet = subnet("172.17.0.0/16");
        assert_eq!(subnet.gateway_prefix().to_string(), "172.17.0.1/16");
        assert_eq!(subnet.lease(None).unwrap().to_string(), "172.17.0.2/16");
        assert_eq!(subnet.lease(None).unwrap().to_string(), "172.17.0.3/16");
        subnet.release(address("172.17.0.2"));
        assert_eq!(subnet.lease(None).unwrap().to_string(), "172.17.0.2/16");
        assert_eq!(subnet.lease(None).unwrap().to_string(), "172.17.0.4/16");
    }

    #[test]
    fn an_address_can_be_asked_for() {
        let mut subnet = subnet("10.0.0.0/29");
        assert_eq!(subnet.lease(Some(address("10.0.0.5"))).unwrap().to_string(), "10.0.0.5/29");
        let mut refused = |text: &str| subnet.lease(Some(address(text))).unwrap_err().to_string();
        assert_eq!(refused("10.0.0.5"), "Address already in use");
        assert_eq!(refused("10.0.0.1"), "Address already in use");
        assert_eq!(refused("10.0.0.7"), "no configured subnet contains IP address 10.0.0.7");
        assert_eq!(refused("10.0.0.8"), "no configured subnet contains IP address 10.0.0.8");
        assert_eq!(refused("::1"), "no configured subnet contains IP address ::1");
        let leased: Vec<String> = (0..4).map(|_| subnet.lease(None).unwrap().address().to_string()).collect();
        assert_eq!(leased, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.6"]);
        assert_eq!(subnet.lease(None), Err(LeaseError::Exhausted("10.0.0.0/29".parse().unwrap())));
    }

    #[test]
    fn ranges_gateways_and_auxiliary_addresses_are_kept_to() {
        let mut config = SubnetConfig::new("10.0.0.0/24".parse().unwrap());
        config.range = Some("10.0.0.128/30".parse().unwrap());
        config.gateway = Some(address("10.0.0.254"));
        config.auxiliary.insert("printer".into(), address("10.0.0.129"));
        let mut subnet = Subnet::new(config).unwrap();
        assert_eq!(subnet.lease(None).unwrap().to_string(), "10.0.0.128/24");
        assert_eq!(subnet.lease(None).unwrap().to_string(), "10.0.0.130/24");
        assert_eq!(subnet.lease(None).unwrap().to_string(), "10.0.0.131/24");
        assert!(subnet.lease(None).is_err());
        assert_eq!(subnet.lease(Some(address("10.0.0.9"))).unwrap().to_string(), "10.0.0.9/24");
    }

    #[test]
    fn every_problem_is_told() {
        let mut config = SubnetConfig::new("10.1.2.3/16".parse().unwrap());
        config.range = Some("10.2.0.0/24".parse().unwrap());
        config.gateway = Some(address("10.9.0.1"));
        config.auxiliary.insert("x".into(), address("::1"));
        let told: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "invalid subnet 10.1.2.3/16: it should be 10.1.0.0/16",
                "invalid ip-range 10.2.0.0/24: parent subnet is 10.1.2.3/16",
                "invalid gateway 10.9.0.1: parent subnet is 10.1.2.3/16",
                "invalid auxiliary address x: parent subnet is 10.1.2.3/16",
            ]
        );
    }

    #[test]
    fn small_and_huge_subnets_have_addresses() {
        let leased = |text: &str, count: usize| {
            let mut subnet = subnet(text);
            let leases: Vec<String> =
                (0..count).map_while(|_| subnet.lease(None).ok()).map(|p| p.to_string()).collect();
            (subnet.gateway().to_string(), leases)
        };
        assert_eq!(leased("10.0.0.0/31", 9), ("10.0.0.0".into(), vec!["10.0.0.1/31".into()]));
        assert_eq!(leased("10.0.0.0/30", 9), ("10.0.0.1".into(), vec!["10.0.0.2/30".into()]));
        assert_eq!(leased("fd00::/64", 1), ("fd00::1".into(), vec!["fd00::2/64".into()]));
        assert_eq!(leased("fd00::/8", 1), ("fd00::1".into(), vec!["fd00::2/8".into()]));
    }

    #[test]
    fn leases_serialise() {
        let mut subnet = subnet("172.17.0.0/16");
        subnet.lease(None).unwrap();
        let text = serde_json::to_string(&subnet).unwrap();
        assert_eq!(serde_json::from_str::<Subnet>(&text).unwrap(), subnet);
        assert!(text.contains(r#""leases":["172.17.0.2"]"#), "{text}");
    }
}
