//! The allocator of host ports: the same port on every address asked for, or none.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::ephemeral::EphemeralPorts;
use super::holder::{PortHolder, SocketHolder};
use crate::firewall::Protocol;

const EADDRINUSE: i32 = 98;

/// A port of the host that belongs to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortLease {
    /// The transport.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The host's address; 0.0.0.0 or :: for all of its family.
    pub address: IpAddr,
}

/// Which ports of the host are acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPorts {
    /// Any of the ephemeral ones.
    Ephemeral,
    /// One of these, the lowest that is free.
    OneOf(RangeInclusive<u16>),
}

/// A port of the host that is wanted on each of some addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// The transport.
    pub protocol: Protocol,
    /// The host's addresses; 0.0.0.0 and :: for all of them.
    pub addresses: Vec<IpAddr>,
    /// The acceptable ports.
    pub ports: HostPorts,
    /// Where it will lead, for the words of an error.
    pub container: SocketAddr,
}

/// A port that could not be had. The words are Docker's, which programs look for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Another container has it.
    #[error("Bind for {address} failed: port is already allocated")]
    Allocated {
        /// The host's address and port.
        address: SocketAddr,
    },
    /// Another program of the host has it, or the host does not have the address.
    #[error("failed to bind host port for {address}:{container}/{protocol}: {}", words(cause))]
    Host {
        /// The host's address and port.
        address: SocketAddr,
        /// Where it would have led.
        container: SocketAddr,
        /// The transport.
        protocol: Protocol,
        /// The system call that failed.
        cause: linux::Error,
    },
    /// Every acceptable port is taken.
    #[error("all ports are allocated")]
    Exhausted,
}

/// What became of a lease of a daemon before this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// The port is held again.
    Held,
    /// The lease stands and packets still go to the container, but a program of the host has taken the port meanwhile.
    TakenByHost(linux::Error),
}

/// Who has which port of the host. The sockets that hold them are closed on exec; the leases are values, from which
/// the next daemon makes its allocator.
#[derive(Debug)]
pub struct PortAllocator<H: PortHolder = SocketHolder> {
    holder: H,
    ephemeral: EphemeralPorts,
    leases: BTreeMap<PortLease, Option<H::Held>>,
    last_ephemeral: Option<u16>,
    /// Given back last, newest first: processes that were being started then may still have the sockets.
    given_back: VecDeque<PortLease>,
}

fn words(cause: &linux::Error) -> String {
    let words = cause.words();
    let mut characters = words.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

impl PortAllocator {
    /// An allocator that has given nothing yet, for the network namespace of the threads that will call it.
    #[must_use]
    pub fn new(ephemeral: EphemeralPorts) -> Self {
        Self::with_holder(ephemeral, SocketHolder)
    }
}

impl<H: PortHolder> PortAllocator<H> {
    /// An allocator with its own way to hold ports.
    #[must_use]
    pub fn with_holder(ephemeral: EphemeralPorts, holder: H) -> Self {
        Self { holder, ephemeral, leases: BTreeMap::new(), last_ephemeral: None, given_back: VecDeque::new() }
    }

    /// Takes one port on every address of the request, and returns the leases in the order of the addresses.
    ///
    /// # Errors
    /// Why the one port asked for could not be had, or that none of several could.
    pub fn reserve(&mut self, request: &PortRequest) -> Result<Vec<PortLease>, PortError> {
        match &request.ports {
            HostPorts::OneOf(range) if range.start() == range.end() => {
                self.reserve_port(request, *range.start())
            }
            HostPorts::OneOf(range) => self.reserve_first(request, range.clone().collect()),
            HostPorts::Ephemeral => {
                let ports = self.ephemeral.after(self.last_ephemeral).collect();
                let leases = self.reserve_first(request, ports)?;
                self.last_ephemeral = leases.first().map(|lease| lease.port).or(self.last_ephemeral);
                Ok(leases)
            }
        }
    }

    fn reserve_first(&mut self, request: &PortRequest, ports: Vec<u16>) -> Result<Vec<PortLease>, PortError> {
        for port in ports {
            match self.reserve_port(request, port) {
                Err(PortError::Host { cause, .. }) if cause.errno() == EADDRINUSE => {}
                Err(PortError::Allocated { .. }) => {}
                outcome => return outcome,
            }
        }
        Err(PortError::Exhausted)
    }

    fn reserve_port(&mut self, request: &PortRequest, port: u16) -> Result<Vec<PortLease>, PortError> {
        let protocol = request.protocol;
        let leases: Vec<PortLease> =
            request.addresses.iter().map(|&address| PortLease { protocol, port, address }).collect();
        if let Some(taken) = leases.iter().find(|lease| self.is_leased(lease)) {
            return Err(PortError::Allocated { address: SocketAddr::new(taken.address, port) });
        }
        for lease in &leases {
            match self.hold(lease) {
                Ok(held) => self.leases.insert(*lease, Some(held)),
                Err(cause) => {
                    leases.iter().for_each(|lease| self.release(lease));
                    let address = SocketAddr::new(lease.address, port);
                    return Err(PortError::Host { address, container: request.container, protocol, cause });
                }
            };
        }
        Ok(leases)
    }

    /// Whether a lease or one that covers it, or is covered by it, is given.
    fn is_leased(&self, wanted: &PortLease) -> bool {
        let lowest = PortLease { address: IpAddr::from([0; 4]), ..*wanted };
        let same_port = self.leases.range(lowest..).map(|(lease, _)| lease);
        same_port
            .take_while(|lease| lease.protocol == wanted.protocol && lease.port == wanted.port)
            .any(|lease| overlap(lease.address, wanted.address))
    }

    /// Takes a lease of an earlier daemon again, whose container still runs.
    pub fn adopt(&mut self, lease: PortLease) -> Adopted {
        match self.hold(&lease) {
            Ok(held) => {
                self.leases.insert(lease, Some(held));
                Adopted::Held
            }
            Err(cause) => {
                self.leases.insert(lease, None);
                Adopted::TakenByHost(cause)
            }
        }
    }

    fn hold(&self, lease: &PortLease) -> Result<H::Held, linux::Error> {
        match self.holder.hold(lease, false) {
            Err(error) if error.errno() == EADDRINUSE && self.given_back.contains(lease) => {
                self.holder.hold(lease, true)
            }
            other => other,
        }
    }

    /// Gives a port back; one that was not leased is no error.
    pub fn release(&mut self, lease: &PortLease) {
        const REMEMBERED: usize = 256;
        let Some(held) = self.leases.remove(lease) else { return };
        // What can fail is only the courtesy to programs that take the port in the next millisecond.
        let _ = held.map(|held| self.holder.let_go(held));
        self.given_back.truncate(REMEMBERED - 1);
        self.given_back.push_front(*lease);
    }

    /// All leases, in order.
    pub fn leases(&self) -> impl Iterator<Item = &PortLease> {
        self.leases.keys()
    }
}

fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || (one.is_ipv6() == other.is_ipv6() && (one.is_unspecified() || other.is_unspecified()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    /// A host on which some ports are taken.
    #[derive(Clone, Default)]
    struct Host(Rc<RefCell<BTreeSet<(IpAddr, u16)>>>);

    impl PortHolder for Host {
        type Held = ();

        fn hold(&self, lease: &PortLease, _: bool) -> Result<(), linux::Error> {
            if self.0.borrow().contains(&(lease.address, lease.port)) {
                return Err(linux::Error::new(
                    format!("bind({}, {})", lease.address, lease.port),
                    EADDRINUSE,
                ));
            }
            Ok(())
        }

        fn let_go(&self, (): ()) -> Result<(), linux::Error> {
            Ok(())
        }
    }

    fn request(addresses: &[&str], ports: HostPorts) -> PortRequest {
        PortRequest {
            protocol: Protocol::Tcp,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ports,
            container: "172.17.0.2:80".parse().unwrap(),
        }
    }

    fn ports(outcome: Result<Vec<PortLease>, PortError>) -> Result<Vec<String>, String> {
        let text = |lease: &PortLease| SocketAddr::new(lease.address, lease.port).to_string();
        outcome.map(|leases| leases.iter().map(text).collect()).map_err(|error| error.to_string())
    }

    fn allocator() -> (PortAllocator<Host>, Host) {
        let host = Host::default();
        (PortAllocator::with_holder(EphemeralPorts::parse("40000 40002", ""), host.clone()), host)
    }

    const EVERY: [&str; 2] = ["0.0.0.0", "::"];

    #[test]
    fn a_port_is_given_once() {
        let (mut allocator, _) = allocator();
        let eighty = || HostPorts::OneOf(80..=80);
        let first = allocator.reserve(&request(&EVERY, eighty()));
        assert_eq!(ports(first), Ok(vec!["0.0.0.0:80".into(), "[::]:80".into()]));
        for addresses in [&["0.0.0.0"][..], &["127.0.0.1"], &["::1"]] {
            let again = ports(allocator.reserve(&request(addresses, eighty())));
            let address = SocketAddr::new(addresses[0].parse().unwrap(), 80);
            assert_eq!(again, Err(format!("Bind for {address} failed: port is already allocated")));
        }
        let mut udp = request(&EVERY, eighty());
        udp.protocol = Protocol::Udp;
        assert!(allocator.reserve(&udp).is_ok(), "another protocol has other ports");
        let leases: Vec<PortLease> = allocator.leases().copied().collect();
        leases.iter().for_each(|lease| allocator.release(lease));
        assert!(allocator.reserve(&request(&["127.0.0.1"], eighty())).is_ok());
        assert!(allocator.reserve(&request(&["127.0.0.2"], eighty())).is_ok(), "another address");
        assert!(allocator.reserve(&request(&["0.0.0.0"], eighty())).is_err());
    }

    #[test]
    fn a_port_of_a_program_is_refused_with_all_of_the_request() {
        let (mut allocator, host) = allocator();
        host.0.borrow_mut().insert(("::".parse().unwrap(), 80));
        let outcome = ports(allocator.reserve(&request(&EVERY, HostPorts::OneOf(80..=80))));
        let words = "failed to bind host port for [::]:80:172.17.0.2:80/tcp: address already in use";
        assert_eq!(outcome, Err(words.to_owned()));
        assert_eq!(allocator.leases().count(), 0, "the IPv4 port is not kept");
    }

    #[test]
    fn ranges_and_ephemeral_ports_pass_over_what_is_taken() {
        let (mut allocator, host) = allocator();
        host.0.borrow_mut().insert(("0.0.0.0".parse().unwrap(), 40001));
        host.0.borrow_mut().insert(("0.0.0.0".parse().unwrap(), 8000));
        let mut next = |ports_wanted: HostPorts| {
            allocator
                .reserve(&request(&EVERY, ports_wanted))
                .map(|leases| leases[0].port)
                .map_err(|e| e.to_string())
        };
        assert_eq!(next(HostPorts::Ephemeral), Ok(40000));
        assert_eq!(next(HostPorts::Ephemeral), Ok(40002));
        assert_eq!(next(HostPorts::Ephemeral), Err("all ports are allocated".into()));
        assert_eq!(next(HostPorts::OneOf(8000..=8002)), Ok(8001));
        assert_eq!(next(HostPorts::OneOf(8000..=8002)), Ok(8002));
        assert_eq!(next(HostPorts::OneOf(8000..=8002)), Err("all ports are allocated".into()));
    }

    #[test]
    fn leases_are_taken_up_by_the_next_daemon() {
        let (mut allocator, host) = allocator();
        let lease = PortLease { protocol: Protocol::Tcp, port: 80, address: "0.0.0.0".parse().unwrap() };
        host.0.borrow_mut().insert((lease.address, 80));
        assert!(matches!(allocator.adopt(lease), Adopted::TakenByHost(_)));
        let again = ports(allocator.reserve(&request(&["0.0.0.0"], HostPorts::OneOf(80..=80))));
        assert_eq!(again, Err("Bind for 0.0.0.0:80 failed: port is already allocated".into()));
        let text = serde_json::to_string(&lease).unwrap();
        assert_eq!(text, r#"{"protocol":"tcp","port":80,"address":"0.0.0.0"}"#);
        assert_eq!(serde_json::from_str::<PortLease>(&text).unwrap(), lease);
    }
}
