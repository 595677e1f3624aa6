//! Before 1.47: nothing told of the manifests of an image, and info listed registries for artifacts that must not be distributed.

use serde_json::{Map, Value, json};

use super::{add_missing, object, rows};

/// Hides the manifests of images.
pub fn disk_usage(fields: &mut Map<String, Value>) {
    rows(fields, "Images").for_each(|image| drop(image.shift_remove("Manifests")));
}

/// Brings back the empty lists.
pub fn info(fields: &mut Map<String, Value>) {
    if let Some(registries) = object(fields, "RegistryConfig") {
        let empty = json!({
            "AllowNondistributableArtifactsCIDRs": null, "AllowNondistributableArtifactsHostnames": null,
        });
        add_missing(registries, empty);
    }
}
