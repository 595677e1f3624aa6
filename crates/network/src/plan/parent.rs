//! Plans for the interfaces that macvlans and ipvlans hang on.

use super::{Invalid, LinkOp, NetOp};
use crate::facts::Facts;
use crate::interface::InterfaceName;

/// What makes the interface be there: nothing when it is; a VLAN sub-interface when its name is that of an interface,
/// a dot and a number (`eth0.7`).
///
/// # Errors
/// When it does not exist and is not ours to make.
pub fn plan_parent(parent: &InterfaceName, facts: &Facts) -> Result<Vec<NetOp>, Invalid> {
    if let Some(found) = facts.link(parent) {
        let up = NetOp::Host(LinkOp::SetUp { interface: parent.clone() });
        return Ok(if found.up || !found.ours { Vec::new() } else { vec![up] });
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
