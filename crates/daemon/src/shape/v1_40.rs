//! Before 1.40: bind mounts were always recursive, the IPC name space could be shared unless said otherwise, the limit
//! of processes could not be updated.

use api::container_create::{CreateRequest, UpdateRequest};

/// Sets the old defaults.
pub fn create(request: &mut CreateRequest) {
    let host_config = request.host_config.get_or_insert_default();
    if host_config.ipc_mode.is_empty() {
        host_config.ipc_mode = "shareable".into();
    }
    for options in host_config.mounts.iter_mut().filter_map(|mount| mount.bind_options.as_mut()) {
        options.non_recursive = false;
    }
}

/// Ignores the limit of processes.
pub fn update(request: &mut UpdateRequest) {
    request.resources.pids_limit = None;
}
