//! The engine: public handles, no behaviour.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use crate::boot::Program;
use crate::config::Config;
use crate::container::exec::Execs;
use crate::container::registry::Registry;
use crate::event::Events;
use crate::host::Host;
use crate::images::{Registries, Turns};
use crate::network::Networks;
use crate::records::Records;
use crate::volume::Volumes;

/// A cheap handle on everything the engine owns. Clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Parts>);

/// What the engine owns.
pub struct Parts {
    /// What it was told at start. What a reload may change is in [`Engine::current`].
    pub config: Config,
    pub(crate) current: RwLock<Arc<Config>>,
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
    /// The client of registries.
    pub(crate) registries: Registries,
    /// Who fetches which blob now.
    pub(crate) turns: Turns,
    /// Networks, addresses and ports.
    pub networks: Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// Where logs are noticed to have changed that are sent elsewhere.
    pub(crate) log_watches: crate::forward::Watches,
    /// Work on the files of containers and volumes, which others' file systems may hold up.
    pub(crate) file_work: crate::file_work::FileWork,
    /// What happened.
    pub events: Events,
    /// Our own binary.
    pub program: Program,
    /// A user namespace with the maps of the configuration, to map files by.
    pub(crate) users: Option<OwnedFd>,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// What it was told last: at start or by a reload.
    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The client of registries.
    pub(crate) fn registries(&self) -> crate::Result<registry::Client> {
        self.registries.client(&self.current())
    }

    /// Takes another configuration for what is done from now on, and tells it: the daemon's event `reload`, with these
    /// attributes. Directories and the default network stay what they were at start.
    pub fn reload(&self, config: Config, mut attributes: BTreeMap<String, String>) -> crate::Result<()> {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        let id = crate::system::id(&self.records)?;
        attributes.insert("name".to_owned(), self.host.name.clone());
        self.events.publish("daemon", "reload", &id, attributes);
        Ok(())
    }
}

impl Deref for Engine {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
