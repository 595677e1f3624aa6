//! Before 1.56: a container could not be given a umask.

use api::container_create::CreateRequest;
use serde_json::{Map, Value};

use super::object;

/// Ignores the umask.
pub fn create(request: &mut CreateRequest) {
    if let Some(host_config) = &mut request.host_config {
        host_config.umask = None;
    }
}

/// Hides the umask.
pub fn container_inspect(fields: &mut Map<String, Value>) {
    if let Some(host_config) = object(fields, "HostConfig") {
        host_config.shift_remove("Umask");
    }
}
