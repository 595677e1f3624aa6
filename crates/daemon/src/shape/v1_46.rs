//! Before 1.46: lists did not show annotations, and no event told that an image was made.

use serde_json::{Map, Value};

use super::object;

/// Hides annotations.
pub fn container_summary(fields: &mut Map<String, Value>) {
    if let Some(host_config) = object(fields, "HostConfig") {
        host_config.shift_remove("Annotations");
    }
}

/// Whether an event is kept from the client.
pub fn hides_event(event: &api::events::Message) -> bool {
    event.kind == api::events::kind::IMAGE && event.action == "create"
}
