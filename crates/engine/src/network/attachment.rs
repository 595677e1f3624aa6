//! From a network and a container's wishes to an endpoint: addresses leased, nothing done in the kernel yet.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::endpoint::EndpointSettings;
use network::ipam::{Subnet, SubnetConfig};
use network::{
    BridgeConfig, Endpoint, EndpointSysctl, GatewayMode, Guard, InterfaceName, IpvlanFlag, IpvlanMode,
    MacAddress, MacvlanMode, NetworkRules, Prefix, Route,
};

use super::record::{BridgeSettings, CommonSettings, Driver, NetworkRecord};
use crate::container::record::{Attachment, Record};
use crate::{Error, Result, id};

/// Option of an endpoint: the name of its interface.
const IFNAME: &str = "com.docker.network.endpoint.ifname";
/// Option of an endpoint: kernel parameters of its interface.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Keep an interface from announcing its addresses.
const SILENCE_IPV4: &str = "net.ipv4.conf.IFNAME.arp_notify=0";
const SILENCE_IPV6: &str = "net.ipv6.conf.IFNAME.ndisc_notify=0";

/// Name of an auxiliary address that containers have as their way out instead of the gateway.
pub(super) const WAY_OUT_IPV4: &str = "DefaultGatewayIPv4";
/// The same by IPv6.
pub(super) const WAY_OUT_IPV6: &str = "DefaultGatewayIPv6";

/// A network with its leases.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) record: Arc<NetworkRecord>,
    pub(super) driver: Driver,
    common: CommonSettings,
    subnets: Vec<Subnet>,
}

impl Known {
    pub(super) fn new(record: NetworkRecord) -> Result<Self> {
        let subnet = |config: &SubnetConfig| {
            Subnet::new(config.clone()).map_err(|error| Error::invalid(error.to_string()))
        };
        let subnets =
            record.subnets.iter().map(|subnet_of| subnet(&subnet_of.config)).collect::<Result<_>>()?;
        Ok(Self { driver: record.driver()?, common: record.common()?, subnets, record: Arc::new(record) })
    }

    /// The subnets.
    pub(super) fn prefixes(&self) -> Vec<Prefix> {
        self.subnets.iter().map(|subnet| subnet.config().subnet).collect()
    }

    /// Addresses that are leased, gateways apart.
    pub(super) fn leases(&self, subnet: Prefix) -> u64 {
        let found = self.subnets.iter().find(|known| known.config().subnet == subnet);
        found.map_or(0, |known| known.leases().count() as u64)
    }

    fn bridge_mode(bridge: &BridgeSettings, ipv6: bool) -> GatewayMode {
        if ipv6 { bridge.gateway_mode_ipv6 } else { bridge.gateway_mode_ipv4 }
    }

    /// The bridge that stands in for the interface of the host that a macvlan or ipvlan without a parent would hang
    /// on, and whether its ports are kept apart. Nothing of the host is on it, as on Docker's dummy; not every kernel
    /// has dummies.
    fn stand_in(&self) -> Option<(InterfaceName, bool)> {
        let apart = match &self.driver {
            Driver::Macvlan { parent: None, mode } => *mode == MacvlanMode::Private,
            Driver::Ipvlan { parent: None, flag, .. } => *flag == IpvlanFlag::Private,
            _ => return None,
        };
        let name = format!("dm-{}", id::short(&self.record.id)).parse().ok()?;
        Some((name, apart))
    }

    /// The bridge on the host; `None` for networks without one.
    pub(super) fn bridge(&self) -> Option<BridgeConfig> {
        let config = |interface: InterfaceName, addresses, forwarding| BridgeConfig {
            interface,
            mac: self.record.mac,
            addresses,
            mtu: self.common.mtu,
            forwarding,
            foreign: false,
            apart: self.kept_apart().is_some(),
        };
        if let Some((interface, _)) = self.stand_in() {
            return Some(config(interface, Vec::new(), false));
        }
        let Driver::Bridge(bridge) = &self.driver else { return None };
        let has_address = |prefix: &Prefix| {
            Self::bridge_mode(bridge, prefix.is_ipv6()) != GatewayMode::Isolated
                && (prefix.is_ipv6() || !bridge.inhibit_ipv4)
        };
        let addresses = self.subnets.iter().map(Subnet::gateway_prefix).filter(has_address).collect();
        Some(config(bridge.interface.clone(), addresses, !self.record.internal))
    }

    /// The bridge of the default network when that keeps its containers apart: then links let some of them through.
    pub(super) fn kept_apart(&self) -> Option<&InterfaceName> {
        match &self.driver {
            Driver::Bridge(bridge) if !bridge.communication && self.record.is_predefined() => {
                Some(&bridge.interface)
            }
            _ => None,
        }
    }

    /// What the firewall is to do for it; `None` for drivers whose packets it does not see.
    pub(super) fn rules(&self) -> Option<NetworkRules> {
        if let Some((interface, apart)) = self.stand_in() {
            let mut rules = NetworkRules::new(interface, self.prefixes());
            (rules.communication, rules.internal, rules.masquerade) = (!apart, true, false);
            return Some(rules);
        }
        let Driver::Bridge(bridge) = &self.driver else { return None };
        let mut rules = NetworkRules::new(bridge.interface.clone(), self.prefixes());
        let config = self.bridge();
        rules.gateways = config.iter().flat_map(|config| &config.addresses).map(Prefix::address).collect();
        rules.communication = bridge.communication;
        rules.internal = self.record.internal;
        rules.masquerade = bridge.masquerade;
        rules.gateway_mode_ipv4 = bridge.gateway_mode_ipv4;
        rules.gateway_mode_ipv6 = bridge.gateway_mode_ipv6;
        (rules.host_ipv4, rules.host_ipv6) = bridge.host_addresses;
        rules.trusted_interfaces.clone_from(&bridge.trusted);
        Some(rules)
    }

    /// The interface of the host that a macvlan or ipvlan hangs on.
    pub(super) fn parent(&self) -> Option<InterfaceName> {
        match &self.driver {
            Driver::Macvlan { parent, .. } | Driver::Ipvlan { parent, .. } => parent.clone(),
            _ => None,
        }
    }

    /// Whether the driver gives containers an interface.
    pub(super) fn has_interfaces(&self) -> bool {
        !matches!(self.driver, Driver::Host | Driver::Null) && !self.record.config_only
    }

    /// Leases addresses for a container and says what its endpoint is. The interface's name is given afterwards.
    pub(super) fn reserve(&mut self, record: &Record, settings: &EndpointSettings) -> Result<Attachment> {
        let endpoint_id = id::new_id()?;
        let option = |key: &str| {
            settings
                .driver_opts
                .iter()
                .flatten()
                .find(|(name, _)| *name == key)
                .map(|(_, text)| text.as_str())
        };
        let parse =
            |list: &str| EndpointSysctl::parse_list(list).map_err(|error| Error::invalid(error.to_string()));
        let mut sysctls = if self.common.announce { Vec::new() } else { parse(SILENCE_IPV4)? };
        if !self.common.announce && self.record.enable_ipv6 {
            sysctls.extend(parse(SILENCE_IPV6)?);
        }
        sysctls.extend(parse(option(SYSCTLS).unwrap_or_default())?);
        let interface = option(IFNAME).map_or_else(|| Ok(InterfaceName::loopback()), str::parse);
        let interface = interface.map_err(|error: network::InvalidName| Error::invalid(error.to_string()))?;
        let attachment = self.kind(&endpoint_id)?;
        let given = settings.mac_address.as_str();
        let given = (!given.is_empty()).then(|| given.parse()).transpose();
        let given = given
            .map_err(|_| Error::invalid(format!("{} is not a valid mac address", settings.mac_address)))?;
        let addresses = self.lease(settings)?;
        // Who comes after another with its address has its hardware address too: neighbours remember that one.
        let mac = match (given, addresses.first()) {
            (Some(given), _) => given,
            (None, Some(first)) => MacAddress::of_address(first.address()),
            (None, None) => MacAddress::from_random(id::random()?),
        };
        let (gateways, routes) = self.ways_out();
        let endpoint = Endpoint {
            attachment,
            interface,
            mac,
            addresses,
            link_local: link_local(settings)?,
            gateways: Vec::new(),
            routes,
            mtu: self.common.mtu,
            sysctls,
            shaping: shaping(settings)?,
        };
        Ok(Attachment {
            network_id: self.record.id.clone(),
            network_name: self.record.name.clone(),
            endpoint_id,
            endpoint,
            gateways,
            priority: settings.gw_priority,
            interface_prefix: self.common.interface_prefix.clone(),
            names: if self.record.has_names() { names(record, settings) } else { Vec::new() },
            published: Vec::new(),
            guard: self.common.guard.unwrap_or_else(|| usual_guard(record)),
            guard_asked: self.common.guard.is_some(),
        })
    }

    fn kind(&self, endpoint_id: &str) -> Result<network::Attachment> {
        let parent = |parent: &Option<InterfaceName>| {
            parent.clone().ok_or_else(|| Error::system("a network without an interface of the host"))
        };
        let port = |bridge: InterfaceName, isolated: bool| -> Result<network::Attachment> {
            let host_interface =
                InterfaceName::for_endpoint(endpoint_id).map_err(|error| Error::system(error.to_string()))?;
            Ok(network::Attachment::Bridge { bridge, host_interface, isolated })
        };
        if let Some((bridge, apart)) = self.stand_in() {
            return port(bridge, apart);
        }
        match &self.driver {
            Driver::Bridge(bridge) => port(bridge.interface.clone(), !bridge.communication),
            Driver::Macvlan { parent: on, mode } => {
                Ok(network::Attachment::Macvlan { parent: parent(on)?, mode: *mode })
            }
            Driver::Ipvlan { parent: on, mode, flag } => {
                Ok(network::Attachment::Ipvlan { parent: parent(on)?, mode: *mode, flag: *flag })
            }
            Driver::Host | Driver::Null => Err(Error::system("this network has no interfaces")),
        }
    }

    /// One address of each subnet's family: the one asked for, or a free one.
    fn lease(&mut self, settings: &EndpointSettings) -> Result<Vec<Prefix>> {
        let asks = settings.ipam_config.clone().unwrap_or_default();
        let wanted = |ipv6: bool| -> Result<Option<IpAddr>> {
            let text = if ipv6 { &asks.ipv6_address } else { &asks.ipv4_address };
            let parsed = (!text.is_empty()).then(|| text.parse::<IpAddr>()).transpose();
            parsed.map_err(|_| Error::invalid(format!("invalid IP address: {text}")))
        };
        let mut leased: Vec<Prefix> = Vec::new();
        for ipv6 in [false, true] {
            let requested = wanted(ipv6)?;
            let mut subnets =
                self.subnets.iter_mut().filter(|subnet| subnet.config().subnet.is_ipv6() == ipv6);
            let chosen = match requested {
                Some(address) => subnets.find(|subnet| subnet.config().subnet.contains(address)),
                None => subnets.next(),
            };
            let outcome = match (chosen, requested) {
                (Some(subnet), _) => subnet.lease(requested).map_err(|error| match error {
                    network::ipam::LeaseError::Outside(_) => Error::invalid(error.to_string()),
                    network::ipam::LeaseError::InUse(_) => Error::forbidden(error.to_string()),
                    network::ipam::LeaseError::Exhausted(_) => Error::system(format!(
                        "no available IPv{} addresses on this network's address pools: {} ({})",
                        if ipv6 { 6 } else { 4 },
                        self.record.name,
                        self.record.id
                    )),
                }),
                (None, Some(address)) => {
                    Err(Error::invalid(format!("no configured subnet contains IP address {address}")))
                }
                (None, None) => continue,
            };
            match outcome {
                Ok(prefix) => leased.push(prefix),
                Err(error) => {
                    leased.iter().for_each(|prefix| self.release(prefix.address()));
                    return Err(error);
                }
            }
        }
        Ok(leased)
    }

    /// Next hops of default routes, and routes of an endpoint without next hops.
    fn ways_out(&self) -> (Vec<IpAddr>, Vec<Route>) {
        if self.record.internal || self.stand_in().is_some() {
            return (Vec::new(), Vec::new());
        }
        if let Driver::Ipvlan { mode: IpvlanMode::L3 | IpvlanMode::L3s, .. } = self.driver {
            let everywhere = self.subnets.iter().filter_map(|subnet| {
                let prefix = subnet.config().subnet;
                let any = if prefix.is_ipv6() { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) };
                Prefix::new(any, 0).map(|destination| Route { destination, gateway: None })
            });
            return (Vec::new(), everywhere.collect());
        }
        let gateway = |subnet: &Subnet| {
            let name = if subnet.config().subnet.is_ipv6() { WAY_OUT_IPV6 } else { WAY_OUT_IPV4 };
            subnet.config().auxiliary.get(name).copied().unwrap_or_else(|| subnet.gateway())
        };
        (self.subnets.iter().map(gateway).collect(), Vec::new())
    }

    /// Takes up the addresses of a container that was found running.
    pub(super) fn adopt(&mut self, addresses: &[Prefix]) {
        for address in addresses {
            let subnet =
                self.subnets.iter_mut().find(|subnet| subnet.config().subnet.contains(address.address()));
            if let Some(Err(error)) = subnet.map(|subnet| subnet.adopt(address.address())) {
                tracing::error!(%address, %error, "a running container's address is not one of its network");
            }
        }
    }

    pub(super) fn release(&mut self, address: IpAddr) {
        self.subnets.iter_mut().for_each(|subnet| subnet.release(address));
    }
}

/// The link-local addresses that an endpoint asks for, in the networks that such addresses are of.
pub(super) fn link_local(settings: &EndpointSettings) -> Result<Vec<Prefix>> {
    let asked = settings.ipam_config.iter().flat_map(|config| &config.link_local_ips);
    let read = |text: &String| {
        let address: Option<IpAddr> = text.parse().ok();
        let prefix = address.and_then(|address| match address {
            IpAddr::V4(ipv4) if ipv4.is_link_local() => Prefix::new(address, 16),
            IpAddr::V6(ipv6) if ipv6.is_unicast_link_local() => Prefix::new(address, 64),
            _ => None,
        });
        prefix.ok_or_else(|| Error::invalid(format!("invalid link-local IP address: {text}")))
    };
    asked.map(read).collect()
}

/// What the options of an endpoint say about how fast it sends and gets packets.
pub(super) fn shaping(settings: &EndpointSettings) -> Result<network::Shaping> {
    let options = settings.driver_opts.iter().flatten();
    network::Shaping::parse(options.map(|(key, value)| (key.as_str(), value.as_str())))
        .map_err(|error| Error::invalid(error.to_string()))
}

/// Who may not change the addresses of its interfaces may not use others either.
fn usual_guard(record: &Record) -> Guard {
    if may_change_addresses(record) { Guard::Announcements } else { Guard::Sources }
}

/// Whether a container's program may give its interfaces other addresses.
pub(super) fn may_change_addresses(record: &Record) -> bool {
    record.spec.privileged || record.spec.process.capabilities.iter().any(|name| name == "CAP_NET_ADMIN")
}

/// The names of a container in a network: its own, its aliases, its short identifier, its host name.
pub(crate) fn names(record: &Record, settings: &EndpointSettings) -> Vec<String> {
    let mut names = vec![record.name.clone()];
    let more = settings.aliases.iter().flatten().cloned();
    let own = [id::short(&record.id).to_owned(), record.spec.hostname.clone()];
    for name in more.chain(own).filter(|name| !name.is_empty()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Names the interfaces that have no name yet: `eth0`, `eth1` …, the lowest that is free.
pub(super) fn name_interfaces(attachments: &mut [Attachment], taken: &[InterfaceName]) -> Result<()> {
    let unnamed = |attachment: &Attachment| attachment.endpoint.interface == InterfaceName::loopback();
    let mut used: BTreeSet<InterfaceName> = taken.iter().cloned().collect();
    for attachment in attachments.iter().filter(|attachment| !unnamed(attachment)) {
        if !used.insert(attachment.endpoint.interface.clone()) {
            return Err(Error::invalid(format!(
                "interface name {:?} is given twice",
                attachment.endpoint.interface.as_str()
            )));
        }
    }
    for attachment in attachments.iter_mut().filter(|attachment| unnamed(attachment)) {
        let mut names =
            (0..1000).filter_map(|number| format!("{}{number}", attachment.interface_prefix).parse().ok());
        let name: InterfaceName = names
            .find(|name| !used.contains(name))
            .ok_or_else(|| Error::system("no name is left for another interface"))?;
        used.insert(name.clone());
        attachment.endpoint.interface = name;
    }
    Ok(())
}

/// Which attachments have the default routes, by family: the highest priority, then the first name.
pub(super) fn choose_gateways(attachments: &mut [Attachment]) {
    let mut order: Vec<usize> = (0..attachments.len()).collect();
    order.sort_by_key(|index| {
        let attachment = &attachments[*index];
        (std::cmp::Reverse(attachment.priority), attachment.network_name.clone())
    });
    attachments.iter_mut().for_each(|attachment| attachment.endpoint.gateways.clear());
    for ipv6 in [false, true] {
        let gateway = |index: &usize| {
            let found = attachments[*index].gateways.iter().find(|gateway| gateway.is_ipv6() == ipv6);
            found.map(|gateway| (*index, *gateway))
        };
        if let Some((index, gateway)) = order.iter().find_map(gateway) {
            attachments[index].endpoint.gateways.push(gateway);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(network: &str, priority: i64, gateways: &[&str], interface: &str) -> Attachment {
        let parse = |text: &&str| text.parse().expect("an address");
        Attachment {
            network_id: network.repeat(8),
            network_name: network.to_owned(),
            endpoint_id: "e".repeat(64),
            endpoint: Endpoint {
                attachment: network::Attachment::Bridge {
                    bridge: "br0".parse().expect("a name"),
                    host_interface: "veth0".parse().expect("a name"),
                    isolated: false,
                },
                interface: interface.parse().expect("a name"),
                mac: MacAddress([2, 0, 0, 0, 0, 1]),
                addresses: Vec::new(),
                link_local: Vec::new(),
                gateways: Vec::new(),
                routes: Vec::new(),
                mtu: None,
                sysctls: Vec::new(),
                shaping: network::Shaping::default(),
            },
            gateways: gateways.iter().map(parse).collect(),
            priority,
            interface_prefix: "eth".to_owned(),
            names: Vec::new(),
            published: Vec::new(),
            guard: Guard::Sources,
            guard_asked: false,
        }
    }

    #[test]
    fn default_routes_go_by_priority_then_by_name() {
        let check = |mut attachments: Vec<Attachment>, expected: &[&str]| {
            choose_gateways(&mut attachments);
            let shown: Vec<String> = attachments
                .iter()
                .flat_map(|one| one.endpoint.gateways.iter().map(|way| format!("{} {way}", one.network_name)))
                .collect();
            assert_eq!(shown, expected);
        };
        let (a, b) =
            (attachment("a", 0, &["10.0.0.1"], "lo"), attachment("b", 0, &["10.1.0.1", "fd00::1"], "lo"));
        check(vec![b.clone(), a.clone()], &["b fd00::1", "a 10.0.0.1"]);
        let c = attachment("c", 9, &["10.2.0.1"], "lo");
        check(vec![a.clone(), b, c], &["b fd00::1", "c 10.2.0.1"]);
        let inner = attachment("inner", 99, &[], "lo");
        check(vec![inner, a], &["a 10.0.0.1"]);
    }

    #[test]
    fn interfaces_get_the_lowest_free_names() {
        let mut attachments = vec![
            attachment("a", 0, &[], "lo"),
            attachment("b", 0, &[], "eth0"),
            attachment("c", 0, &[], "lo"),
        ];
        name_interfaces(&mut attachments, &["eth2".parse().expect("a name")]).expect("names");
        let names: Vec<&str> = attachments.iter().map(|one| one.endpoint.interface.as_str()).collect();
        assert_eq!(names, ["eth1", "eth0", "eth3"]);
        let mut twice = vec![attachment("a", 0, &[], "lan"), attachment("b", 0, &[], "lan")];
        assert!(name_interfaces(&mut twice, &[]).is_err());
    }
}
