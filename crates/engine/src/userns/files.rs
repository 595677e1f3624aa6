//! Files that have the ids of containers on the disk, as a user namespace shows them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::Users;
use crate::engine::Engine;
use crate::{Error, Result};

/// A user namespace to map files by; `None` where ids are what they are.
pub(crate) fn namespace(engine: &Engine, users: &Users) -> Result<Option<OwnedFd>> {
    let failed = |error: std::io::Error| Error::system(format!("open a user namespace: {error}"));
    match users {
        Users::Host => Ok(None),
        Users::Own(_) => {
            let known = engine.users.as_ref();
            let known = known.ok_or_else(|| Error::system("there is no user namespace to map files by"))?;
            known.try_clone().map(Some).map_err(failed)
        }
        Users::Of { pid, .. } => {
            let file = std::fs::File::open(format!("/proc/{pid}/ns/user")).map_err(failed)?;
            Ok(Some(OwnedFd::from(file)))
        }
    }
}

/// A read-only overlay of layers whose ids are mapped, mounted nowhere.
pub(crate) fn overlay(engine: &Engine, lower: &[&Path], users: &OwnedFd) -> linux::Result<OwnedFd> {
    match linux::overlay::mapped(lower, None, users.as_fd()) {
        // Before Linux 6.15 layers are to be attached in the namespace of who mounts.
        Err(error) if error.errno() == EINVAL => {
            let scratch = &engine.config.data_root;
            linux::mntns::run_in_copy(|| {
                linux::overlay::mapped_in_own_namespace(lower, None, users.as_fd(), scratch)
            })?
        }
        made => made,
    }
}

/// Invalid argument (errno(3)).
const EINVAL: i32 = 22;
