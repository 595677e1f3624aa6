//! Before 1.44: images had a virtual size and always a time, a container was made with one network at most, its MAC
//! address was its own, read-only mounts were so at their top only.

use api::container_create::CreateRequest;
use api::mount::{BindOptions, kind};
use serde_json::{Map, Value, json};

use super::create::{endpoint_of_network_mode, endpoints, is_bridge_or_user_defined};
use super::{add_missing, object};
use crate::server::failure::Failure;

/// Brings back the virtual size and the time that never was.
pub fn image_inspect(fields: &mut Map<String, Value>) {
    add_virtual_size(fields);
    add_missing(fields, json!({"Created": api::time::ZERO}));
}

/// Brings back the virtual size.
pub fn image_summary(fields: &mut Map<String, Value>) {
    add_virtual_size(fields);
}

/// Brings back the virtual size of each image.
pub fn disk_usage(fields: &mut Map<String, Value>) {
    super::rows(fields, "Images").for_each(add_virtual_size);
}

fn add_virtual_size(fields: &mut Map<String, Value>) {
    let size = fields.get("Size").cloned().unwrap_or_else(|| json!(0));
    fields.insert("VirtualSize".into(), size);
}

/// Hides what runtimes say about themselves.
pub fn info(fields: &mut Map<String, Value>) {
    for runtime in object(fields, "Runtimes").into_iter().flat_map(Map::values_mut) {
        if let Some(runtime) = runtime.as_object_mut() {
            runtime.shift_remove("status");
        }
    }
}

/// Moves the MAC address, refuses several networks, keeps read-only mounts as they were.
pub fn create(request: &mut CreateRequest) -> Result<(), Failure> {
    if let Some(healthcheck) = &mut request.config.healthcheck {
        healthcheck.start_interval = 0;
    }
    for mount in request.host_config.iter_mut().flat_map(|host| &mut host.mounts) {
        if mount.kind != kind::BIND {
            continue;
        }
        if mount.bind_options.as_ref().is_some_and(|options| options.read_only_force_recursive) {
            return Err(Failure::invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"));
        }
        if mount.read_only {
            mount.bind_options.get_or_insert_with(BindOptions::default).read_only_non_recursive = true;
        }
    }
    let networks = request.networking_config.as_ref().and_then(|config| config.endpoints_config.as_ref());
    if let Some(networks) = networks.filter(|networks| networks.len() > 1) {
        let names: Vec<&str> = networks.keys().map(String::as_str).collect();
        return Err(Failure::invalid(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    move_mac_address(request)
}

fn move_mac_address(request: &mut CreateRequest) -> Result<(), Failure> {
    let address = std::mem::take(&mut request.config.mac_address);
    for endpoint in endpoints(request) {
        endpoint.mac_address.clear();
    }
    if address.is_empty() {
        return Ok(());
    }
    if !is_bridge_or_user_defined(request) {
        return Err(Failure::invalid("conflicting options: mac-address and the network mode"));
    }
    endpoint_of_network_mode(request, true)?.mac_address = address;
    Ok(())
}
