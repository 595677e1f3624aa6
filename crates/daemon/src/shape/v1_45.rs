//! Before 1.45: aliases of an endpoint held the container's own names, images told of the container they came from,
//! a volume could only be mounted whole.

use api::container_create::CreateRequest;
use serde_json::{Map, Value, json};

use super::{add_missing, object, text};
use crate::server::failure::Failure;

/// Digits of a short ID.
const SHORT_ID: usize = 12;

/// Adds the short ID and the host name to the aliases in user-defined networks.
pub fn container_inspect(fields: &mut Map<String, Value>) {
    let id: String = text(fields, "Id").chars().take(SHORT_ID).collect();
    let hostname = object(fields, "Config").map(|config| text(config, "Hostname")).unwrap_or_default();
    let Some(networks) = object(fields, "NetworkSettings").and_then(|settings| object(settings, "Networks"))
    else {
        return;
    };
    for (name, endpoint) in networks.iter_mut() {
        let Some(endpoint) = endpoint.as_object_mut().filter(|_| super::create::is_user_defined(name)) else {
            continue;
        };
        let mut aliases = endpoint.get("Aliases").and_then(Value::as_array).cloned().unwrap_or_default();
        for alias in [&id, &hostname] {
            let alias = json!(alias);
            if !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        endpoint.insert("Aliases".into(), Value::Array(aliases));
    }
}

/// Brings back the container that an image came from.
pub fn image_inspect(fields: &mut Map<String, Value>) {
    add_missing(fields, json!({"Container": "", "ContainerConfig": null}));
}

/// Refuses parts of volumes.
pub fn create(request: &mut CreateRequest) -> Result<(), Failure> {
    let mut mounts = request.host_config.iter().flat_map(|host| &host.mounts);
    if mounts.any(|mount| mount.volume_options.as_ref().is_some_and(|options| !options.subpath.is_empty())) {
        return Err(Failure::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
    }
    Ok(())
}
