//! Before 1.55: limits of single devices could not be updated.

use api::container_create::UpdateRequest;

/// Ignores limits of single devices.
pub fn update(request: &mut UpdateRequest) {
    let resources = &mut request.resources;
    resources.blkio_weight_device = None;
    resources.blkio_device_read_bps = None;
    resources.blkio_device_write_bps = None;
    resources.blkio_device_read_iops = None;
    resources.blkio_device_write_iops = None;
}
