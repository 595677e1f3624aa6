//! Plans for what somebody has taken apart.

use super::{Invalid, LinkOp, NetOp};
use crate::endpoint::{Attachment, BridgeConfig, Endpoint};
use crate::facts::{EndpointFacts, Facts};
use crate::rtnetlink::Link;

/// What is wrong with a bridge that was made before, in words; `None` when nothing is. [`super::plan_bridge`] puts it
/// right.
#[must_use]
pub fn what_is_wrong(config: &BridgeConfig, facts: &Facts) -> Option<String> {
    let Some(link) = facts.link(&config.interface) else { return Some("it was gone".to_owned()) };
    if !link.up {
        return Some("it was down".to_owned());
    }
    if config.foreign {
        return None;
    }
    let missing =
        config.addresses.iter().find(|address| facts.addresses_of(link.index).all(|has| has != **address));
    missing.map(|address| format!("its address {address} was gone"))
}

/// What puts the host's end of an endpoint, which is there, back into its bridge. Nothing when it is in it.
///
/// # Errors
/// When there is no bridge.
pub fn plan_mend_port(
    endpoint: &Endpoint,
    link: &Link,
    facts: &EndpointFacts,
) -> Result<Vec<NetOp>, Invalid> {
    let Attachment::Bridge { bridge, host_interface, isolated } = &endpoint.attachment else {
        return Ok(Vec::new());
    };
    let missing = || Invalid::NoParent { interface: bridge.clone() };
    let found = facts.parent.as_ref().ok_or_else(missing)?;
    let mut plan = Vec::new();
    if link.master != Some(found.index) {
        plan.push(NetOp::JoinBridge { host_interface: host_interface.clone(), bridge: bridge.clone() });
        if *isolated || facts.bridge_filtering {
            plan.push(NetOp::SetPort {
                host_interface: host_interface.clone(),
                isolated: *isolated,
                reflecting: facts.bridge_filtering,
            });
        }
    }
    if !link.up {
        plan.push(NetOp::Host(LinkOp::SetUp { interface: host_interface.clone() }));
    }
    Ok(plan)
}
