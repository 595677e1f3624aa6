//! The handle on the host's network: gathers facts, applies plans, undoes what was half done.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use linux::netlink::Family;

use crate::apply::{apply, find};
use crate::conntrack::{self, Connections};
use crate::endpoint::{BridgeConfig, Endpoint};
use crate::facts::{EndpointFacts, Facts};
use crate::firewall::{self, Batch, FirewallWatch, ForwardDrop, HostInput, Observed, Ruleset};
use crate::interface::InterfaceName;
use crate::netlink::{self, Connection};
use crate::plan::{
    Invalid, NetOp, plan_attach, plan_bridge, plan_detach, plan_loopback, plan_mend_port, plan_release,
    plan_remove_bridge, plan_sweep, plan_unborn,
};
use crate::removal;
use crate::rtnetlink::{self, Link, LinkWatch};
use crate::sysctl;
use crate::unpaced;

const BRIDGE_FILTERING_IPV4: &str = "net/bridge/bridge-nf-call-iptables";
const BRIDGE_FILTERING_IPV6: &str = "net/bridge/bridge-nf-call-ip6tables";

/// The result of a change to the host's network.
pub type Result<T> = std::result::Result<T, Error>;

/// A change to the host's network that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration is not possible on this host.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The kernel refused a request.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] linux::Error),
    /// An operation of a plan failed.
    #[error("{operation}: {cause}")]
    Operation {
        /// The operation as the plan prints it.
        operation: String,
        /// Why.
        cause: Box<Error>,
    },
    /// An operation names an interface that does not exist.
    #[error("interface {interface} does not exist")]
    NoInterface {
        /// The interface.
        interface: InterfaceName,
    },
    /// A plan with operations in a container was applied without one.
    #[error("no container to do this in")]
    NoContainer,
    /// Undoing after a failure failed too.
    #[error("{cause}; and undoing it failed: {undo}")]
    Undo {
        /// What failed first.
        cause: Box<Error>,
        /// What failed then.
        undo: Box<Error>,
    },
}

impl Error {
    /// Whether another process holds what was to be changed ([`Ruleset::hold`]).
    #[must_use]
    pub fn is_held(&self) -> bool {
        const EPERM: i32 = 1;
        matches!(self, Self::Netlink(error) if error.errno() == Some(EPERM))
    }
}

/// Netlink sockets of the network namespace in which it was opened. Several may be open at the same time: the kernel
/// keeps their requests apart, and what they have in common (leases, ports, rules) has its owners elsewhere.
#[derive(Debug)]
pub struct Network {
    route: Connection,
    netfilter: Connection,
    keeps_pacing: bool,
}

impl Network {
    /// Opens the sockets in the calling thread's network namespace.
    ///
    /// # Errors
    /// When netlink is not available.
    pub fn open() -> Result<Self> {
        let (route, netfilter) = (Connection::open(Family::Route)?, Connection::open(Family::Netfilter)?);
        Ok(Self { route, netfilter, keeps_pacing: false })
    }

    /// Leaves the congestion control of streams that stay on this host alone, from now on.
    pub fn keep_pacing(&mut self) {
        self.keeps_pacing = true;
    }

    /// Whether new sockets pace what they send, and what stays on this host is not to be.
    fn is_paced(&self) -> Result<bool> {
        Ok(!self.keeps_pacing && unpaced::is_default()?)
    }

    /// The links of the host.
    ///
    /// # Errors
    /// A list that the kernel did not give.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        Ok(self.route.dump(&rtnetlink::list_links(), |list, dumped| {
            list.push(rtnetlink::parse_link(dumped)?);
            Some(())
        })?)
    }

    /// Reads everything that a plan for a bridge depends on.
    ///
    /// # Errors
    /// A list that the kernel did not give.
    pub fn gather_facts(&mut self) -> Result<Facts> {
        let links = self.links()?;
        let addresses = self.route.dump(&rtnetlink::list_addresses(), |list, dumped| {
            list.push(rtnetlink::parse_address(dumped)?);
            Some(())
        })?;
        let routes = self.route.dump(&rtnetlink::list_routes(), |list, dumped| {
            list.extend(rtnetlink::parse_route(dumped)?.filter(|destination| destination.length() > 0));
            Some(())
        })?;
        let forward_drops = self.netfilter.dump(&firewall::list_all_chains(), |list, dumped| {
            list.extend(firewall::parse_forward_drop(dumped)?);
            Some(())
        })?;
        let is_on = |value: String| value != "0";
        Ok(Facts {
            links,
            addresses,
            routes,
            ipv4_forwarding: sysctl::read("net/ipv4/ip_forward")?.is_some_and(is_on),
            ipv6_forwarding: sysctl::read("net/ipv6/conf/all/forwarding")?.map(is_on),
            bridge_filtering_ipv4: sysctl::read(BRIDGE_FILTERING_IPV4)?.is_some_and(is_on),
            bridge_filtering_ipv6: sysctl::read(BRIDGE_FILTERING_IPV6)?.is_some_and(is_on),
            paced: self.is_paced()?,
            forward_drops,
        })
    }

    /// Reads what attaching this endpoint depends on, and nothing else.
    ///
    /// # Errors
    /// A request that failed otherwise than by "no such interface".
    pub fn gather_endpoint_facts(&mut self, endpoint: &Endpoint) -> Result<EndpointFacts> {
        let parent = find(&mut self.route, endpoint.attachment.parent())?;
        let leftover = match endpoint.attachment.host_interface() {
            Some(name) => find(&mut self.route, name)?.is_some(),
            None => false,
        };
        let ipv6 = sysctl::read("net/ipv6/conf/all/forwarding")?.is_some();
        let mut bridge_filtering = false;
        for path in [BRIDGE_FILTERING_IPV4, BRIDGE_FILTERING_IPV6] {
            bridge_filtering |= sysctl::read(path)?.is_some_and(|value| value != "0");
        }
        Ok(EndpointFacts { parent, leftover, ipv6, bridge_filtering, paced: self.is_paced()? })
    }

    /// Whether nf_tables of this kernel see the frames that cross bridges.
    ///
    /// # Errors
    /// A failure that says nothing about that.
    pub fn sees_frames(&mut self) -> Result<bool> {
        const EAFNOSUPPORT: i32 = 97;
        const EOPNOTSUPP: i32 = 95;
        let messages = firewall::encode(&firewall::trial());
        match self.netfilter.transact(&firewall::batch_begin(), &messages, &firewall::batch_end()) {
            Ok(()) => Ok(true),
            Err(error) if error.is_absent() || matches!(error.errno(), Some(EAFNOSUPPORT | EOPNOTSUPP)) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nf_tables of this kernel can hold tables for one socket, and keep them when it is closed
    /// ([`Ruleset::hold`]).
    ///
    /// # Errors
    /// A failure that says nothing about that.
    pub fn keeps_tables(&mut self) -> Result<bool> {
        const EINVAL: i32 = 22;
        const EOPNOTSUPP: i32 = 95;
        let messages = firewall::hold_trial();
        match self.netfilter.transact(&firewall::batch_begin(), &messages, &firewall::batch_end()) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.errno(), Some(EINVAL | EOPNOTSUPP)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what the host's own firewall says about packets for the host.
    ///
    /// # Errors
    /// A list that the kernel did not give.
    pub fn read_host_input(&mut self) -> Result<HostInput> {
        Ok(firewall::read_host_input(&mut self.netfilter)?)
    }

    /// Reads our tables of the firewall.
    ///
    /// # Errors
    /// A list that the kernel did not give.
    pub fn observe_firewall(&mut self) -> Result<Observed> {
        Ok(firewall::observe(&mut self.netfilter)?)
    }

    /// Changes the firewall in one transaction: all of the batch, or nothing of it.
    ///
    /// # Errors
    /// The step that the kernel refused, printed as nft(8) would write it. When the table was not as the batch
    /// expected, because somebody flushed it, [`sync_firewall`](Self::sync_firewall) puts it right.
    pub fn apply_firewall(&mut self, batch: &Batch) -> Result<()> {
        let messages = firewall::encode(batch);
        Ok(self.netfilter.transact(&firewall::batch_begin(), &messages, &firewall::batch_end())?)
    }

    /// Makes the firewall do what the ruleset says, whatever is there, and returns in words what was wrong; `None`
    /// when nothing was. This is the start of the daemon, and its answer to a flushed table.
    ///
    /// # Errors
    /// As for [`observe_firewall`](Self::observe_firewall) and [`apply_firewall`](Self::apply_firewall).
    pub fn sync_firewall(&mut self, ruleset: &Ruleset) -> Result<Option<String>> {
        let observed = self.observe_firewall()?;
        let difference = observed.difference(ruleset);
        if difference.is_some() {
            self.apply_firewall(&observed.repair(ruleset))?;
        }
        Ok(difference)
    }

    /// Changes the firewall from one ruleset to another; when the table is not as the old one says, it is put right
    /// as a whole.
    ///
    /// # Errors
    /// The step that the kernel refused.
    pub fn change_firewall(&mut self, old: &Ruleset, new: &Ruleset) -> Result<()> {
        let batch = new.change_from(old);
        match self.apply_firewall(&batch) {
            Err(Error::Netlink(error)) if error.is_absent() || error.is_present() => {
                self.sync_firewall(new).map(|_| ())
            }
            other => other,
        }
    }

    /// Where the FORWARD chain of iptables drops by default (because of Docker or ufw on this host), makes it accept
    /// what goes through these bridges, and no others of ours: our own table still decides about it. Returns the
    /// chains of others that may drop what ours lets through all the same, which a person has to be told about.
    ///
    /// # Errors
    /// The request that failed.
    pub fn accept_in_iptables(&mut self, bridges: &BTreeSet<InterfaceName>) -> Result<Vec<ForwardDrop>> {
        Ok(firewall::accept_bridges(&mut self.netfilter, bridges)?)
    }

    /// Watches nf_tables for changes by others, from now on.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn watch_firewall(&self) -> Result<FirewallWatch> {
        Ok(FirewallWatch::open()?)
    }

    /// Watches links and addresses for what takes a network apart, from now on.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn watch_links(&self) -> Result<LinkWatch> {
        Ok(LinkWatch::open()?)
    }

    /// Puts the host's end of an endpoint back into its bridge; what was wrong with it. `None` for the plan when the
    /// end is gone: the endpoint has to be [attached](Self::attach) anew.
    ///
    /// # Errors
    /// The request that failed.
    pub fn mend_port(&mut self, endpoint: &Endpoint) -> Result<Option<Vec<NetOp>>> {
        let facts = self.gather_endpoint_facts(endpoint)?;
        let Some(name) = endpoint.attachment.host_interface() else { return Ok(Some(Vec::new())) };
        let Some(link) = find(&mut self.route, name)? else { return Ok(None) };
        let plan = plan_mend_port(endpoint, &link, &facts)?;
        self.apply(&plan, None)?;
        Ok(Some(plan))
    }

    /// Makes the kernel forget connections that it has translated, so that the next packet of each is looked at anew;
    /// returns how many there were. To be called when a container's address is given back, and when a UDP port is
    /// published: a client that keeps sending would otherwise keep its old way for good.
    ///
    /// # Errors
    /// The request that failed.
    pub fn forget_connections(&mut self, which: &Connections) -> Result<usize> {
        Ok(conntrack::forget(&mut self.netfilter, which)?)
    }

    /// What an earlier daemon left behind: links of ours that are not among those expected.
    ///
    /// # Errors
    /// As for [`gather_facts`](Self::gather_facts), and the first link that could not be deleted.
    pub fn sweep(&mut self, expected: &BTreeSet<InterfaceName>) -> Result<Vec<NetOp>> {
        let plan = plan_sweep(&self.gather_facts()?, expected);
        self.apply_all(&plan, None)?;
        Ok(plan)
    }

    /// Makes a bridge what it should be. The firewall must have been applied before.
    ///
    /// # Errors
    /// A configuration that is not possible, or the operation that failed; a bridge that was created is removed then.
    pub fn ensure_bridge(&mut self, config: &BridgeConfig) -> Result<()> {
        let facts = self.gather_facts()?;
        let plan = plan_bridge(config, &facts)?;
        let created = facts.link(&config.interface).is_none();
        let undo = if created { plan_remove_bridge(config) } else { Vec::new() };
        self.apply_or_undo(&plan, &undo, None)
    }

    /// Removes a bridge; one that does not exist, or that the administrator made, is left.
    ///
    /// # Errors
    /// The operation that failed.
    pub fn remove_bridge(&mut self, config: &BridgeConfig) -> Result<()> {
        self.apply(&plan_remove_bridge(config), None)
    }

    /// Gives the container in `netns` an endpoint.
    ///
    /// # Errors
    /// A configuration that is not possible, or the operation that failed; then nothing of the endpoint remains.
    pub fn attach(&mut self, netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<()> {
        let mut facts = self.gather_endpoint_facts(endpoint)?;
        // A container may have been given another default.
        facts.paced = facts.paced && linux::netns::run_in(netns, unpaced::is_default)??;
        let plan = plan_attach(endpoint, &facts)?;
        let created =
            plan.iter().position(|op| matches!(op, NetOp::CreateMacvlan { .. } | NetOp::CreateIpvlan { .. }));
        // An interface born in the container is only ours to delete once it was created, and by its own name once it has
        // that.
        if let Some(index) = created {
            let (birth, rest) = plan.split_at(index + 1);
            let (name, furnish) = rest.split_at(1.min(rest.len()));
            self.apply(birth, Some(netns))?;
            self.apply_or_undo(name, &plan_unborn(endpoint), Some(netns))?;
            return self.apply_or_undo(furnish, &plan_detach(endpoint, true), Some(netns));
        }
        self.apply_or_undo(&plan, &plan_detach(endpoint, true), Some(netns))
    }

    /// Gives the container in `netns` nothing but its loopback interface.
    ///
    /// # Errors
    /// The operation that failed.
    pub fn attach_loopback(&mut self, netns: BorrowedFd<'_>) -> Result<()> {
        self.apply(&plan_loopback(), Some(netns))
    }

    /// Takes an endpoint away; `netns` is the container's when it still runs. What does not exist is no error.
    ///
    /// # Errors
    /// The first operation that failed; the others were done all the same.
    pub fn detach(&mut self, netns: Option<BorrowedFd<'_>>, endpoint: &Endpoint) -> Result<()> {
        let begun = endpoint.attachment.host_interface().map_or(Ok(()), removal::begin);
        begun.and(self.apply_all(&plan_detach(endpoint, netns.is_some()), netns))
    }

    /// Forgets an endpoint whose network namespace is going away with its last process. The kernel then removes the
    /// pair itself; removing it by hand first costs some twenty milliseconds.
    ///
    /// # Errors
    /// The operation that failed.
    pub fn release(&mut self, endpoint: &Endpoint) -> Result<()> {
        self.apply_all(&plan_release(endpoint), None)
    }

    /// Carries out a plan and stops at the first operation that fails.
    ///
    /// # Errors
    /// That operation and why.
    pub fn apply(&mut self, plan: &[NetOp], netns: Option<BorrowedFd<'_>>) -> Result<()> {
        apply(&mut self.route, plan, netns)
    }

    /// Carries out every operation of a plan, and returns the first failure.
    fn apply_all(&mut self, plan: &[NetOp], netns: Option<BorrowedFd<'_>>) -> Result<()> {
        let mut outcome = Ok(());
        for op in plan {
            outcome = outcome.and(self.apply(std::slice::from_ref(op), netns));
        }
        outcome
    }

    fn apply_or_undo(&mut self, plan: &[NetOp], undo: &[NetOp], netns: Option<BorrowedFd<'_>>) -> Result<()> {
        let Err(cause) = self.apply(plan, netns) else { return Ok(()) };
        match self.apply_all(undo, netns) {
            Ok(()) => Err(cause),
            Err(undo) => Err(Error::Undo { cause: Box::new(cause), undo: Box::new(undo) }),
        }
    }
}
