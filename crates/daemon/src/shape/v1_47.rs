//! Before 1.47: info listed registries for artifacts that must not be distributed.

use serde_json::{Map, Value, json};

use super::{add_missing, object};

/// Brings back the empty lists.
pub fn info(fields: &mut Map<String, Value>) {
    if let Some(registries) = object(fields, "RegistryConfig") {
        let empty = json!({
            "AllowNondistributableArtifactsCIDRs": null, "AllowNondistributableArtifactsHostnames": null,
        });
        add_missing(registries, empty);
    }
}
