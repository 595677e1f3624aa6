//! What a control group is told for a configuration.

use cgroup::Limits;
use cgroup::device::DEFAULT_RULES;
use oci::runtime::Resources;

use crate::Result;

/// The limits of a new container: what its configuration says, and the devices that every container may use.
pub fn limits(resources: Option<&Resources>) -> Result<Limits> {
    let mut limits = resources.map(Limits::try_from).transpose()?.unwrap_or_default();
    limits.devices.extend_from_slice(DEFAULT_RULES);
    Ok(limits)
}
