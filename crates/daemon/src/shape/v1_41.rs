//! Before 1.41: the control groups of a container were those of the host where there is no unified hierarchy; 1.40 alone
//! took a list of all capabilities.

use api::container_create::CreateRequest;
use api::version::ApiVersion;
use serde::Deserialize;

use crate::server::failure::Failure;

/// Members of a request that no other version has.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Legacy {
    host_config: Option<LegacyHostConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct LegacyHostConfig {
    capabilities: Option<Vec<String>>,
}

/// Sets the old default.
pub fn create(request: &mut CreateRequest, unified: bool) {
    let host_config = request.host_config.get_or_insert_default();
    if host_config.cgroupns_mode.is_empty() && !unified {
        host_config.cgroupns_mode = "host".into();
    }
}

/// Refuses the list of all capabilities that 1.40 had: to leave it out unseen would give a container others.
pub fn refuse(version: ApiVersion, legacy: &Legacy) -> Result<(), Failure> {
    let list = legacy.host_config.as_ref().and_then(|host| host.capabilities.as_ref());
    if version != ApiVersion::v1(40) || list.is_none_or(Vec::is_empty) {
        return Ok(());
    }
    Err(Failure::invalid(
        "the HostConfig.Capabilities field is not supported by this daemon; use CapAdd and CapDrop to set capabilities",
    ))
}
