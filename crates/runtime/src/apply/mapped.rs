//! The root of a container whose layers have its ids on the disk.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::mount::{self, Change, Propagation};
use linux::process::{self as kernel, namespace};
use linux::{child, overlay, pidfd};

use super::missing;
use crate::channel::{self, Channel, Message};
use crate::error::While;
use crate::plan::RootMount;
use crate::{Error, Result};

/// The overlay of mapped layers, detached; `users` is the user namespace whose maps they get.
pub(crate) fn overlay_mapped(root: &RootMount, users: &OwnedFd) -> Result<OwnedFd> {
    let RootMount::OverlayMapped { lower, upper, work, volatile, attached, .. } = root else {
        return Err(missing("mapped root"));
    };
    let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
    let own = Some(overlay::Own { upper, work, volatile: *volatile });
    if *attached {
        return elsewhere(|| {
            let slave = Change { propagation: Some(Propagation::Slave), ..Change::default() };
            mount::change(mount::open_path(Path::new("/"))?, true, &slave)?;
            let scratch = upper.parent().ok_or_else(|| missing("place for the layers"))?;
            Ok(overlay::mapped_in_own_namespace(&lower, own, users.as_fd(), scratch)?)
        });
    }
    Ok(overlay::mapped(&lower, own, users.as_fd())?)
}

/// Makes a mount in a process that has a copy of the mount namespace to itself, and ends with it.
fn elsewhere(make: impl FnOnce() -> Result<OwnedFd>) -> Result<OwnedFd> {
    let (here, there) = Channel::pair()?;
    let here = Cell::new(Some(here));
    let maker = kernel::clone_into(namespace::MOUNT, None, || {
        // The end of the other side must be seen.
        drop(here.take());
        let told = match make() {
            Ok(made) => there.created(Some(made.as_fd())),
            Err(error) => there.failed(&error),
        };
        i32::from(told.is_err())
    })?;
    drop(there);
    let here = here.take().ok_or_else(channel::unexpected)?;
    let answer = here.receive();
    child::wait(pidfd::PidFd::from(maker.pidfd)).during(|| "the process that attached the layers")?;
    match answer? {
        Some(Message::Created(Some(made))) => Ok(made),
        Some(Message::Failed(error)) => Err(error),
        _ => Err(Error::new(crate::Kind::System, "the process that attached the layers says nothing")),
    }
}
