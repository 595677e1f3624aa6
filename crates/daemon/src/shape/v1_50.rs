//! Before 1.50: the configuration of an image had all the fields of a container's, and info spoke of bridge filtering.

use serde_json::{Map, Value, json};

use super::{add_missing, object};

/// Brings back the fields of a container's configuration.
pub fn image_inspect(fields: &mut Map<String, Value>) {
    if let Some(config) = object(fields, "Config") {
        let empty = json!({
            "AttachStderr": false, "AttachStdin": false, "AttachStdout": false, "Domainname": "", "Hostname": "",
            "Image": "", "OpenStdin": false, "StdinOnce": false, "Tty": false,
        });
        add_missing(config, empty);
    }
}

/// Brings back bridge filtering and hides devices.
pub fn info(fields: &mut Map<String, Value>) {
    fields.shift_remove("DiscoveredDevices");
    add_missing(fields, json!({"BridgeNfIptables": false, "BridgeNfIp6tables": false}));
}
