//! Volumes: what containers keep apart from their own layers.
//!
//! ```text
//!  <data-root>/volumes/
//!    <name>/_data          content of a volume of the local driver; with options: what they mean is mounted over it
//!    .staging/<id>/        content on its way in or out; what no record names is swept at boot
//! ```
//! A volume with options is mounted when the first container starts with it and unmounted when the last one has ended.
//! The mounts are the host's, not the daemon's: they outlive it, and the next daemon finds them.

mod claim;
pub mod content;
mod copy;
mod create;
mod incoming;
mod list;
mod local;
mod options;
mod place;
pub(crate) mod plugin;
mod remove;
mod uses;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::records::VolumeRecord;
use crate::{Error, Result, time};

pub use create::create;
pub use list::{inspect, list};
pub use remove::{prune, remove};

pub(crate) use claim::{begin_filling, claim, give_up, is_reserved};
pub(crate) use create::{ensure, record_of, refuse_name};
pub(crate) use list::{is_used_beside, measured};
pub(crate) use place::settle;
pub(crate) use remove::{Why, erase};
pub(crate) use uses::{acquire_all, adopt, end_reservations, lend, release_all};

use plugin::{Driver, Plugins};
use uses::Uses;

/// The driver that every engine has.
pub(crate) const LOCAL: &str = "local";

const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// All volumes.
#[derive(Debug)]
pub struct Volumes {
    root: PathBuf,
    volumes: Mutex<BTreeMap<String, VolumeRecord>>,
    uses: Uses,
    plugins: Plugins,
}

impl Volumes {
    pub(crate) fn new(root: &Path, records: Vec<VolumeRecord>) -> Self {
        let volumes = records.into_iter().map(|record| (record.name.clone(), record)).collect();
        Self {
            root: root.to_owned(),
            volumes: Mutex::new(volumes),
            uses: Uses::default(),
            plugins: Plugins::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, VolumeRecord>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the content of a volume of the local driver is on the host.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name).join("_data")
    }

    /// Where the content of a volume is, or will be: a plugin says it only when it mounts.
    pub(crate) fn shown_path(&self, name: &str) -> String {
        match self.find(name) {
            Some(record) if record.driver != LOCAL => String::new(),
            _ => self.path(name).display().to_string(),
        }
    }

    /// Where a plugin has mounted a volume for a container that runs; empty when it has not.
    pub(crate) fn mounted_path(&self, name: &str) -> String {
        self.plugins.mounted_path(name).map_or_else(String::new, |path| path.display().to_string())
    }

    /// The name of a volume's driver.
    pub(crate) fn driver_name(&self, name: &str) -> String {
        self.find(name).map_or_else(|| LOCAL.to_owned(), |record| record.driver)
    }

    /// The plugin that keeps a volume; `None` for the local driver.
    fn plugin(&self, record: &VolumeRecord) -> Result<Option<Driver>> {
        if record.driver == LOCAL { Ok(None) } else { self.plugins.driver(&record.driver).map(Some) }
    }

    /// All records.
    pub(crate) fn records(&self) -> Vec<VolumeRecord> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<VolumeRecord> {
        self.lock().get(name).cloned()
    }

    fn get(&self, name: &str) -> Result<VolumeRecord> {
        self.find(name).ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))
    }
}

/// A record for a volume of the local driver that is to be made now.
pub(crate) fn new_record(name: &str, anonymous: bool) -> VolumeRecord {
    let mut labels = BTreeMap::new();
    if anonymous {
        labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
    }
    VolumeRecord {
        name: name.to_owned(),
        created: time::now(),
        labels,
        options: BTreeMap::new(),
        anonymous,
        driver: LOCAL.to_owned(),
        pending: None,
    }
}

/// The attributes of a volume's events.
fn attributes(record: &VolumeRecord) -> BTreeMap<String, String> {
    BTreeMap::from([("driver".to_owned(), record.driver.clone())])
}
