//! Plans for the interfaces that macvlans and ipvlans hang on.

use super::{Invalid, LinkOp, NetOp};
use crate::address::MacAddress;
use crate::facts::Facts;
use crate::interface::InterfaceName;
use crate::sysctl::Sysctl;

/// Names of bridges that stand in for an interface of the host begin so.
const STAND_IN: &str = "dm-";

/// What makes the interface be there: nothing when it is; a VLAN sub-interface when its name is that of an interface,
/// a dot and a number (`eth0.7`); when its name begins with `dm-`, a bridge with this hardware address and without ports,
/// which every kernel has that has macvlans for us, as it may not have dummies.
///
/// # Errors
/// When it does not exist and is not ours to make.
pub fn plan_parent(parent: &InterfaceName, mac: MacAddress, facts: &Facts) -> Result<Vec<NetOp>, Invalid> {
    if let Some(found) = facts.link(parent) {
        let up = NetOp::Host(LinkOp::SetUp { interface: parent.clone() });
        return Ok(if found.up || !found.ours { Vec::new() } else { vec![up] });
    }
    if parent.as_str().starts_with(STAND_IN) {
        let mut plan = vec![NetOp::CreateBridge { interface: parent.clone(), mac, mtu: None }];
        if facts.ipv6_forwarding.is_some() {
            // The host keeps out of what containers say to each other.
            plan.push(NetOp::Host(LinkOp::Set(Sysctl::of_interface("ipv6", parent, "disable_ipv6", "1"))));
        }
        plan.push(NetOp::Host(LinkOp::SetUp { interface: parent.clone() }));
        return Ok(plan);
    }
    let missing = || Invalid::NoParent { interface: parent.clone() };
    let (below, id) = parent.as_str().rsplit_once('.').ok_or_else(missing)?;
    let below: InterfaceName = below.parse().map_err(|_| missing())?;
    let id: u16 = id.parse().ok().filter(|id| (1..=4094).contains(id)).ok_or_else(missing)?;
    if facts.link(&below).is_none() {
        return Err(Invalid::NoParent { interface: below });
    }
    Ok(vec![NetOp::CreateVlan { interface: parent.clone(), parent: below, id }])
}
