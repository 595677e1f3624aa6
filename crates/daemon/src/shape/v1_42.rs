//! Before 1.42: options that do not fit the type of a mount were not looked at, the first size of a terminal was not
//! used, the signal of a stop could not be chosen, all unused volumes were pruned.

use api::container_create::CreateRequest;
use api::exec::ExecCreateRequest;
use api::filters::Filters;
use api::mount::kind;

/// Ignores what was not looked at.
pub fn create(request: &mut CreateRequest) {
    let Some(host_config) = &mut request.host_config else { return };
    host_config.console_size = [0, 0];
    for mount in &mut host_config.mounts {
        mount.volume_options.take_if(|_| mount.kind != kind::VOLUME);
        mount.tmpfs_options.take_if(|_| mount.kind != kind::TMPFS);
        if let Some(options) = &mut mount.bind_options {
            options.create_mountpoint = false;
        }
    }
}

/// Ignores the first size of a terminal.
pub fn create_exec(request: &mut ExecCreateRequest) {
    request.console_size = None;
}

/// Prunes named volumes as well.
pub fn prune_volumes(filters: &mut Filters) {
    filters.add("all", "true");
}
