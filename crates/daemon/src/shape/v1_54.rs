//! Before 1.54: connecting a container to a network could not give it a MAC address.

use api::network::ConnectRequest;

/// Ignores the MAC address.
pub fn connect(request: &mut ConnectRequest) {
    if let Some(endpoint) = &mut request.endpoint_config {
        endpoint.mac_address.clear();
    }
}
