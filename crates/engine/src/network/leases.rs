//! Addresses of the default bridge and ports of the host that containers hold: reserved before anything uses them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use linux::port::{Transport, hold};
use network::Prefix;

use crate::container::record::{Attachment, Published};
use crate::container::spec::PortSpec;
use crate::{Error, Result};

/// Where free ports are looked for when the kernel does not say.
const EPHEMERAL: (u16, u16) = (32768, 60999);

/// What containers hold.
#[derive(Debug)]
pub(super) struct Leases {
    gateway: Option<Prefix>,
    addresses: BTreeMap<IpAddr, String>,
    /// Where the last search for an address ended: a freed address is not given again at once.
    next: u128,
    ports: HashMap<(String, IpAddr, u16), Held>,
    next_port: u16,
}

#[derive(Debug)]
struct Held {
    container_id: String,
    /// Keeps other processes of the host from taking the port.
    _socket: OwnedFd,
}

fn transport(protocol: &str) -> Transport {
    match protocol {
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        _ => Transport::Tcp,
    }
}

/// First and last port that the kernel gives to clients, and so does Docker to unnamed published ports.
fn ephemeral_range() -> (u16, u16) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) if first > 0 && first <= last => (first, last),
        _ => EPHEMERAL,
    }
}

impl Leases {
    pub(super) fn new(gateway: Option<Prefix>) -> Self {
        Self { gateway, addresses: BTreeMap::new(), next: 2, ports: HashMap::new(), next_port: 0 }
    }

    /// The next free address of the bridge's subnet, after the last one given.
    pub(super) fn take_address(&mut self, container_id: &str) -> Result<IpAddr> {
        let gateway = self.gateway.ok_or_else(|| Error::system("there is no default bridge"))?;
        let subnet = gateway.network();
        // The last one is the broadcast address.
        let last = subnet.last_offset().saturating_sub(1);
        let offsets = (self.next..=last).chain(1..self.next.min(last + 1));
        for offset in offsets {
            let Some(address) = subnet.nth(offset) else { continue };
            if address != gateway.address() && !self.addresses.contains_key(&address) {
                self.addresses.insert(address, container_id.to_owned());
                self.next = offset + 1;
                return Ok(address);
            }
        }
        Err(Error::system(format!("no available IPv4 addresses on the default bridge's subnet {subnet}")))
    }

    /// Takes all host ports of a container, or none.
    pub(super) fn take_ports(
        &mut self,
        id: &str,
        wanted: &[PortSpec],
        target: IpAddr,
    ) -> Result<Vec<Published>> {
        let mut taken = Vec::new();
        for port in wanted {
            match self.take_port(id, port, target) {
                Ok(published) => taken.extend(published),
                Err(error) => {
                    self.ports.retain(|_, held| held.container_id != id);
                    return Err(error);
                }
            }
        }
        Ok(taken)
    }

    /// Takes one port on every address it was asked for: the same number on all of them.
    fn take_port(&mut self, id: &str, port: &PortSpec, target: IpAddr) -> Result<Vec<Published>> {
        // Nobody named an address: all of the host's, of the family that the container has. Rules cannot translate one
        // family into the other, and a binding that nobody serves is not shown.
        let address = port.host_ip.parse().unwrap_or(match target {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        });
        if address.is_ipv4() != target.is_ipv4() {
            return Err(Error::invalid(format!(
                "cannot publish {address}:{}: the container has no address of that family (its address is {target})",
                port.host_ports.0
            )));
        }
        let addresses = [address];
        let (first, last) = if port.host_ports == (0, 0) { ephemeral_range() } else { port.host_ports };
        let count = u32::from(last - first) + 1;
        let start = if port.host_ports == (0, 0) && (first..=last).contains(&self.next_port) {
            self.next_port - first
        } else {
            0
        };
        let mut failure = None;
        for step in 0..count {
            let offset = (u32::from(start) + step) % count;
            let number = first + u16::try_from(offset).unwrap_or(0);
            match self.try_port(id, port, &addresses, number) {
                Ok(()) => {
                    if port.host_ports == (0, 0) {
                        self.next_port = number.wrapping_add(1);
                    }
                    return Ok(addresses
                        .iter()
                        .map(|address| published(port, *address, number, target))
                        .collect());
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| Error::system("no port is free")))
    }

    fn try_port(&mut self, id: &str, port: &PortSpec, addresses: &[IpAddr], number: u16) -> Result<()> {
        let mut held = Vec::new();
        for address in addresses {
            if self.conflicts(&port.protocol, *address, number) {
                let at = SocketAddr::new(*address, number);
                return Err(Error::system(format!("Bind for {at} failed: port is already allocated")));
            }
            let at = SocketAddr::new(*address, number);
            match hold(transport(&port.protocol), at) {
                Ok(socket) => held.push(((port.protocol.clone(), *address, number), socket)),
                Err(error) => {
                    return Err(Error::system(format!(
                        "failed to bind host port {at}/{}: {}",
                        port.protocol,
                        if error.name() == Some("EADDRINUSE") {
                            "address already in use".to_owned()
                        } else {
                            error.to_string()
                        }
                    )));
                }
            }
        }
        for (key, socket) in held {
            self.ports.insert(key, Held { container_id: id.to_owned(), _socket: socket });
        }
        Ok(())
    }

    /// Whether a container holds the port on this address, or on one that means all or is one of all.
    fn conflicts(&self, protocol: &str, address: IpAddr, number: u16) -> bool {
        self.ports.keys().any(|(held_protocol, held, held_number)| {
            held_protocol == protocol
                && *held_number == number
                && held.is_ipv4() == address.is_ipv4()
                && (*held == address || held.is_unspecified() || address.is_unspecified())
        })
    }

    /// Frees everything a container holds. Freeing the absent succeeds.
    pub(super) fn free(&mut self, container_id: &str) {
        self.addresses.retain(|_, holder| holder != container_id);
        self.ports.retain(|_, held| held.container_id != container_id);
    }

    /// Takes back what a running container holds. A host port that a process has taken meanwhile is only reported: the
    /// rules still lead to the container.
    pub(super) fn restore(&mut self, container_id: &str, attachment: &Attachment) {
        for prefix in &attachment.endpoint.addresses {
            self.addresses.insert(prefix.address(), container_id.to_owned());
        }
        for port in &attachment.published {
            let at = SocketAddr::new(port.host_address, port.host_port);
            match hold(transport(&port.protocol), at) {
                Ok(socket) => {
                    let key = (port.protocol.clone(), port.host_address, port.host_port);
                    self.ports.insert(key, Held { container_id: container_id.to_owned(), _socket: socket });
                }
                Err(error) => {
                    tracing::warn!(container = crate::id::short(container_id), %error, "a published port cannot be held")
                }
            }
        }
    }
}

fn published(port: &PortSpec, host_address: IpAddr, host_port: u16, target: IpAddr) -> Published {
    Published {
        protocol: port.protocol.clone(),
        host_address,
        host_port,
        container_address: target,
        container_port: port.container_port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> Leases {
        Leases::new(Some("172.30.0.1/29".parse().expect("prefix")))
    }

    #[test]
    fn addresses_go_round_and_run_out_with_a_clear_error() {
        let mut leases = leases();
        let mut take = |id: &str| leases.take_address(id).map(|address| address.to_string());
        for last in 2..=6 {
            assert_eq!(take(&format!("c{last}")), Ok(format!("172.30.0.{last}")));
        }
        assert!(take("one too many").is_err());
        leases.free("c3");
        assert_eq!(
            leases.take_address("new").map(|address| address.to_string()),
            Ok("172.30.0.3".to_owned())
        );
    }

    #[test]
    fn a_port_is_given_to_one_container_only_and_is_free_again_after_it() {
        let mut leases = leases();
        let wanted = PortSpec {
            container_port: 80,
            protocol: "tcp".into(),
            host_ip: "127.0.0.1".into(),
            host_ports: (0, 0),
        };
        let target: IpAddr = "172.30.0.2".parse().expect("address");
        let first = leases.take_ports("a", std::slice::from_ref(&wanted), target).expect("a port");
        let number = first[0].host_port;
        let same = PortSpec { host_ports: (number, number), ..wanted };
        let refused = leases.take_ports("b", std::slice::from_ref(&same), target).expect_err("taken");
        assert_eq!(refused.message, format!("Bind for 127.0.0.1:{number} failed: port is already allocated"));
        leases.free("a");
        assert!(leases.take_ports("b", &[same], target).is_ok());
    }

    #[test]
    fn a_port_of_a_host_process_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        let number = listener.local_addr().expect("address").port();
        let wanted = PortSpec {
            container_port: 80,
            protocol: "tcp".into(),
            host_ip: "127.0.0.1".into(),
            host_ports: (number, number),
        };
        let refused = leases().take_ports("a", &[wanted], Ipv4Addr::LOCALHOST.into()).expect_err("in use");
        assert!(refused.message.contains("address already in use"), "{refused}");
    }
}
