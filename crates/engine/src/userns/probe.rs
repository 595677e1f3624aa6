//! Whether this machine can map the ids of layers, asked once at start.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux::mount::{self, Change};

use super::Remap;
use crate::boot::Program;
use crate::{Error, Result};

/// What a kernel must be at least: overlayfs takes layers whose ids are mapped.
const KERNEL: (u32, u32) = (5, 19);

/// Makes a user namespace with these maps, to map files by, and tries it on the file system of the data root.
///
/// # Errors
/// What this machine lacks, and what to do.
pub(crate) fn probe(program: &Program, remap: &Remap, release: &str, data_root: &Path) -> Result<OwnedFd> {
    if kernel(release) < KERNEL {
        let (major, minor) = KERNEL;
        return Err(Error::invalid(format!(
            "--userns-remap needs Linux {major}.{minor} or newer, whose overlayfs can map the ids of layers; this is {release}"
        )));
    }
    let (users, groups) = remap.mappings();
    let namespace = runtime::id_map::open(&program.path, &users, &groups).map_err(|error| {
        Error::system(format!(
            "--userns-remap: no user namespace can be made (is user.max_user_namespaces 0?): {error}"
        ))
    })?;
    if let Err(error) = shown(data_root, &namespace) {
        return Err(Error::system(format!(
            "--userns-remap: the file system of {} cannot have its ids mapped: {error}. Put --data-root on ext4, xfs or btrfs \
             (tmpfs since Linux 6.3)",
            data_root.display()
        )));
    }
    Ok(namespace)
}

/// A directory of the host, mounted nowhere, whose ids show as a user namespace has them.
pub(crate) fn shown(path: &Path, users: &OwnedFd) -> linux::Result<OwnedFd> {
    let copy = mount::clone_path(path, false)?;
    mount::change(&copy, false, &Change { id_map: Some(users.as_fd()), ..Change::default() })?;
    Ok(copy)
}

/// `6.1.0-40-amd64` → (6, 1).
fn kernel(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_kernels_are_told_what_is_needed() {
        for (release, is_new) in [("5.18.19", false), ("5.19.0-rc1", true), ("6.1.0-40-amd64", true)] {
            assert_eq!(kernel(release) >= KERNEL, is_new, "{release}");
        }
    }
}
