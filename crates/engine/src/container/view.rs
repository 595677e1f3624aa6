//! The published snapshot of a container: immutable, so that reading it never waits for anything.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::record::Record;
use super::state::{Refusal, State};
use crate::shim_link::Link;
use crate::{Error, id};

/// What is true of a container at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// Its record.
    pub record: Arc<Record>,
    /// Connection to its shim, and handles of its process; only while one lives.
    pub live: Option<Live>,
    /// Times its program has ended since the daemon knows it.
    pub exits: u64,
    /// Launches that have been answered, well or not, since the daemon knows it.
    pub launches: u64,
}

/// A living shim and the process it keeps.
#[derive(Debug, Clone)]
pub struct Live {
    /// The shim.
    pub link: Link,
    /// The container's first process.
    pub pidfd: Arc<linux::pidfd::PidFd>,
    /// Its network namespace.
    pub netns: Option<Arc<OwnedFd>>,
}

impl View {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.record.state
    }

    /// The error of a request that the state refuses, in Docker's words.
    #[must_use]
    pub fn refusal(&self, refusal: Refusal) -> Error {
        let Record { id, name, .. } = self.record.as_ref();
        match refusal {
            Refusal::NotRunning => Error::conflict(format!("container {id} is not running")),
            Refusal::Paused => {
                Error::conflict("cannot start a paused container, try unpause instead".to_owned())
            }
            Refusal::NotPaused => Error::conflict(format!("Container {id} is not paused")),
            Refusal::AlreadyPaused => Error::conflict(format!("Container {id} is already paused")),
            Refusal::Restarting => {
                Error::conflict(format!("Container {id} is restarting, wait until the container is running"))
            }
            Refusal::StillRunning => Error::conflict(format!(
                "cannot remove container \"{name}\": container is running: stop the container before removing or force remove"
            )),
            Refusal::StillPaused => Error::conflict(format!(
                "cannot remove container \"{name}\": container is paused and must be unpaused first"
            )),
            Refusal::Removing => {
                Error::conflict(format!("removal of container {} is already in progress", id::short(id)))
            }
            Refusal::Starting => Error::conflict(format!("container {id} is being started")),
            Refusal::Dead => {
                Error::conflict("container is marked for removal and cannot be started".to_owned())
            }
        }
    }
}
