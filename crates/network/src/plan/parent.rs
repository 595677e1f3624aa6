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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtnetlink::Link;

    fn facts() -> Facts {
        let link = |index: u32, name: &str, up: bool, ours: bool| Link {
            index,
            name: name.to_owned(),
            kind: None,
            master: None,
            mac: None,
            mtu: 1500,
            up,
            ours,
        };
        let links =
            vec![link(2, "eth0", true, false), link(3, "eth1", false, false), link(4, "eth0.9", false, true)];
        Facts { links, ..Facts::default() }
    }

    #[test]
    fn what_is_there_is_used_and_vlans_are_made() {
        let check = |parent: &str, expected: Result<&[&str], &str>| {
            let plan = plan_parent(&parent.parse().unwrap(), &facts());
            let shown = plan.map(|ops| ops.iter().map(ToString::to_string).collect::<Vec<_>>());
            let expected = expected.map(|ops| ops.iter().map(|&op| op.to_owned()).collect::<Vec<_>>());
            assert_eq!(shown.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{parent}");
        };
        let missing = |name: &str| {
            format!(
                "interface {name} does not exist; it must be there before a container can be attached to it"
            )
        };
        check("eth0", Ok(&[]));
        // The administrator's own is left down.
        check("eth1", Ok(&[]));
        check("eth0.9", Ok(&["host: up eth0.9"]));
        check("eth0.7", Ok(&["host: vlan eth0.7 on eth0 id 7"]));
        check("wlan0", Err(&missing("wlan0")));
        check("wlan0.7", Err(&missing("wlan0")));
        check("eth0.5000", Err(&missing("eth0.5000")));
    }
}
