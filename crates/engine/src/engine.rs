//! The engine: public handles, no behaviour.

use std::ops::Deref;
use std::sync::Arc;

use crate::boot::Program;
use crate::config::Config;
use crate::container::exec::Execs;
use crate::container::registry::Registry;
use crate::event::Events;
use crate::host::Host;
use crate::network::Networks;
use crate::records::Records;
use crate::volume::Volumes;

/// A cheap handle on everything the engine owns. Clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Parts>);

/// What the engine owns.
pub struct Parts {
    /// What it was told at start.
    pub config: Config,
    /// What this machine is.
    pub host: Host,
    /// Durable records.
    pub(crate) records: Records,
    /// Containers.
    pub containers: Registry,
    /// Programs run in containers beside their own.
    pub execs: Execs,
    /// Images and layers.
    pub images: image::Images,
    /// Networks, addresses and ports.
    pub networks: Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// What happened.
    pub events: Events,
    /// Our own binary.
    pub program: Program,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Engine {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
