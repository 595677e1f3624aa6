//! Before 1.52: addresses of the default bridge stood beside the networks, events had `status`, `id` and `from`, disk
//! usage was lists only, a container could have one MAC address for all its networks.

use api::container_create::CreateRequest;
use api::endpoint::EndpointSettings;
use serde_json::{Map, Value, json};

use super::create::{endpoint_of_network_mode, is_bridge_or_user_defined};
use super::{add_missing, object, text};
use crate::server::failure::Failure;

/// Brings back the default bridge's addresses, the graph driver, and triggers that there are none of.
pub fn container_inspect(fields: &mut Map<String, Value>) {
    if let Some(settings) = object(fields, "NetworkSettings") {
        add_bridge_addresses(settings);
    }
    if !fields.contains_key("GraphDriver")
        && let Some(storage) = fields.shift_remove("Storage")
        && let Some(name) = storage.pointer("/RootFS/Snapshot/Name")
    {
        fields.insert("GraphDriver".into(), json!({"Data": null, "Name": name}));
    }
    if let Some(config) = object(fields, "Config") {
        add_missing(config, json!({"OnBuild": null}));
    }
}

/// Says as well that there is no token.
pub fn auth(fields: &mut Map<String, Value>) {
    add_missing(fields, json!({ "IdentityToken": "" }));
}

fn add_bridge_addresses(settings: &mut Map<String, Value>) {
    let bridge =
        settings.get("Networks").and_then(|networks| networks.get("bridge")).cloned().unwrap_or_default();
    let mut addresses = json!({
        "Bridge": "", "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null,
        "EndpointID": "", "Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
        "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "MacAddress": "",
    });
    if let (Value::Object(addresses), Value::Object(bridge)) = (&mut addresses, bridge) {
        for (key, value) in addresses.iter_mut() {
            if let Some(found) = bridge.get(key) {
                *value = found.clone();
            }
        }
    }
    add_missing(settings, addresses);
}

/// Hides health.
pub fn container_summary(fields: &mut Map<String, Value>) {
    fields.shift_remove("Health");
}

/// Brings back fields that were printed also when empty.
pub fn image_inspect(fields: &mut Map<String, Value>) {
    add_missing(fields, json!({"Parent": "", "Comment": "", "DockerVersion": "", "Author": ""}));
    add_missing(fields, json!({"GraphDriver": {"Data": null, "Name": "overlayfs"}}));
    if let Some(config) = object(fields, "Config") {
        let empty = json!({
            "Cmd": null, "Entrypoint": null, "Env": null, "Labels": null, "OnBuild": null, "User": "",
            "Volumes": null, "WorkingDir": "",
        });
        add_missing(config, empty);
    }
}

/// Hides how full a network is.
pub fn network_inspect(fields: &mut Map<String, Value>) {
    fields.shift_remove("Status");
}

/// Says what happened to what in the old words as well.
pub fn event(fields: &mut Map<String, Value>) {
    let kind = text(fields, "Type");
    let actor = fields.get("Actor").cloned().unwrap_or_default();
    if matches!(kind.as_str(), "container" | "image") {
        let action = fields.get("Action").cloned().unwrap_or_default();
        fields.insert("status".into(), action);
        fields.insert("id".into(), actor.get("ID").cloned().unwrap_or_default());
    }
    if kind == "container" {
        let image = actor.pointer("/Attributes/image").cloned().unwrap_or_else(|| json!(""));
        fields.insert("from".into(), image);
    }
}

/// Only lists, of rows as they were.
pub fn disk_usage(fields: &mut Map<String, Value>) {
    *fields = legacy_disk_usage(fields);
    super::rows(fields, "Containers").for_each(container_summary);
}

/// Brings back the containers, which only inspecting a network told.
pub fn network_summary(fields: &mut Map<String, Value>) {
    fields.insert("Containers".into(), json!({}));
}

/// The lists of old, from the new parts. 1.52 and newer print both unless asked for details.
pub fn legacy_disk_usage(fields: &Map<String, Value>) -> Map<String, Value> {
    let mut lists = Map::new();
    let part = |key: &str, field: &str| fields.get(key).map(|usage| usage.get(field).cloned());
    let layers = part("ImageUsage", "TotalSize").flatten().filter(|size| size != 0);
    lists.extend(layers.map(|size| ("LayersSize".to_string(), size)));
    for (list, key) in [
        ("Images", "ImageUsage"),
        ("Containers", "ContainerUsage"),
        ("Volumes", "VolumeUsage"),
        ("BuildCache", "BuildCacheUsage"),
    ] {
        if let Some(items) = part(key, "Items") {
            lists.insert(list.into(), items.unwrap_or_else(|| json!([])));
        }
    }
    lists
}

/// Gives the container-wide MAC address to the container's main network. Gives a warning for people.
pub fn create(request: &mut CreateRequest) -> Result<Option<String>, Failure> {
    let address = std::mem::take(&mut request.config.mac_address);
    if address.is_empty() {
        return Ok(None);
    }
    if is_bridge_or_user_defined(request) {
        let endpoint = endpoint_of_network_mode(request, false).map_err(|failure| {
            Failure::invalid(format!(
                "unable to migrate container-wide MAC address to a specific network: {failure}"
            ))
        })?;
        set_mac_address(endpoint, address)?;
    }
    Ok(Some(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.".into(),
    ))
}

fn set_mac_address(endpoint: &mut EndpointSettings, address: String) -> Result<(), Failure> {
    if endpoint.mac_address.is_empty() {
        endpoint.mac_address = address;
    } else if !endpoint.mac_address.eq_ignore_ascii_case(&address) {
        return Err(Failure::invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left \
             empty",
        ));
    }
    Ok(())
}
