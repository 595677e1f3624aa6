//! Our own binary on a read-only mount that is attached nowhere: nobody who reaches it through `/proc/<pid>/exe` of a
//! process that runs it can write to it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

use crate::Result;
use crate::error::Named;
use crate::mount::{self, Change, attribute};

/// A handle (O_PATH) for [`crate::process::execute_file`], or for `/proc/self/fd/<number>` of another process.
pub fn read_only() -> Result<OwnedFd> {
    let own = Path::new("/proc/self/exe");
    let handle = rustix::fs::open(own, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .named(|| "open(\"/proc/self/exe\", O_PATH)")?;
    let flags = rustix::fs::fstatvfs(&handle).named(|| "fstatvfs(exe)")?.f_flag;
    // A process that was itself started through such a handle already runs from the read-only mount.
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Ok(handle);
    }
    let detached = mount::clone_fd(&handle, false)?;
    mount::change(&detached, false, &Change { set: attribute::READ_ONLY, ..Change::default() })?;
    Ok(detached)
}
