//! Before 1.48: no descriptors, no priority of gateways, no mounts of images, IPv4 was always on.

use api::container_create::CreateRequest;
use api::network;
use serde_json::{Map, Value};

use super::create::endpoints;
use crate::server::failure::Failure;

/// Hides the platform's manifest.
pub fn container_inspect(fields: &mut Map<String, Value>) {
    fields.shift_remove("ImageManifestDescriptor");
}

/// Hides the platform's manifest.
pub fn container_summary(fields: &mut Map<String, Value>) {
    fields.shift_remove("ImageManifestDescriptor");
}

/// Hides what the name points to.
pub fn image_inspect(fields: &mut Map<String, Value>) {
    fields.shift_remove("Descriptor");
}

/// Hides what the name points to.
pub fn image_summary(fields: &mut Map<String, Value>) {
    fields.shift_remove("Descriptor");
}

/// Hides what names point to.
pub fn disk_usage(fields: &mut Map<String, Value>) {
    super::rows(fields, "Images").for_each(image_summary);
}

/// Ignores priorities and refuses mounts of images.
pub fn create(request: &mut CreateRequest) -> Result<(), Failure> {
    for endpoint in endpoints(request) {
        endpoint.gw_priority = 0;
    }
    let mut mounts = request.host_config.iter().flat_map(|host| &host.mounts);
    if mounts.any(|mount| mount.kind == api::mount::kind::IMAGE) {
        return Err(Failure::invalid("Mount type \"Image\" needs API v1.48 or newer"));
    }
    Ok(())
}

/// Ignores whether IPv4 is wanted.
pub fn create_network(request: &mut network::CreateRequest) {
    request.enable_ipv4 = None;
}
