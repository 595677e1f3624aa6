//! The engine's durable records: containers and volumes in one database.

use std::path::Path;

use serde::{Deserialize, Serialize};
use store::{BadRecord, Store, Table};

use crate::container::record::Record;
use crate::network::record::NetworkRecord;
use crate::{Error, Result};

const CONTAINERS: Table<String, Record> = Table::new("containers");
const VOLUMES: Table<String, VolumeRecord> = Table::new("volumes");
const NETWORKS: Table<String, NetworkRecord> = Table::new("networks");
const ABOUT: Table<String, String> = Table::new("about");

/// One volume's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: i64,
    /// Labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Driver options.
    pub options: std::collections::BTreeMap<String, String>,
    /// Made without a name.
    pub anonymous: bool,
    /// Who keeps it.
    #[serde(default = "local_driver")]
    pub driver: String,
    /// What is still to be done with its directory before it can be used.
    #[serde(default)]
    pub pending: Option<Pending>,
}

/// What a change to a volume has still to do with its directory: the record comes first, and a boot finishes the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pending {
    /// Its content waits in the staging directory of this name.
    Content(String),
    /// Its directory has still this name.
    Rename(String),
    /// These containers were paused for a snapshot of it.
    Paused(Vec<String>),
    /// It was made for a container that is not recorded yet.
    Unclaimed,
    /// It was empty, and is being filled for a container that is not recorded yet.
    Filling,
}

fn local_driver() -> String {
    crate::volume::LOCAL.to_owned()
}

/// The engine's records.
#[derive(Debug)]
pub(crate) struct Records {
    store: Store,
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Error::system(error.to_string())
    }
}

impl Records {
    /// Opens the records below a directory.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        Ok(Self { store: Store::open(directory)? })
    }

    /// The database, for owners of other tables in it.
    #[must_use]
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Writes a container's record. A write that is not durable is made durable by the next one that is.
    pub(crate) fn save(&self, record: &Record, durable: bool) -> Result<()> {
        if !durable {
            return Ok(self
                .store
                .write_relaxed(|transaction| transaction.put(&CONTAINERS, &record.id, record))?);
        }
        Ok(self.store.write(|transaction| transaction.put(&CONTAINERS, &record.id, record))?)
    }

    /// Writes the record of a new container, durably, together with what its root lies on.
    pub(crate) fn add(&self, record: &Record, root: Option<&image::Reserved>) -> Result<()> {
        self.store.write(|transaction| {
            if let Some(root) = root {
                root.record(transaction).map_err(crate::image_use::error)?;
            }
            Ok(transaction.put(&CONTAINERS, &record.id, record)?)
        })
    }

    /// Forgets a container and what its root lies on.
    pub(crate) fn forget(&self, images: &image::Images, id: &str, durable: bool) -> Result<()> {
        let delete = |transaction: &mut store::Transaction| -> Result<()> {
            images.forget_snapshot(transaction, id).map_err(crate::image_use::error)?;
            transaction.delete(&CONTAINERS, &id.to_owned())?;
            Ok(())
        };
        if durable { self.store.write(delete) } else { self.store.write_relaxed(delete) }
    }

    /// All containers, and the records that could not be read.
    pub(crate) fn containers(&self) -> Result<(Vec<Record>, Vec<BadRecord>)> {
        let scan = self.store.read()?.scan(&CONTAINERS)?;
        Ok((scan.records.into_iter().map(|(_, record)| record).collect(), scan.bad))
    }

    /// Writes a volume's record.
    pub(crate) fn save_volume(&self, record: &VolumeRecord) -> Result<()> {
        Ok(self.store.write(|transaction| transaction.put(&VOLUMES, &record.name, record))?)
    }

    /// The same, and the disk is not waited for.
    pub(crate) fn save_volume_relaxed(&self, record: &VolumeRecord) -> Result<()> {
        Ok(self.store.write_relaxed(|transaction| transaction.put(&VOLUMES, &record.name, record))?)
    }

    /// Gives a volume's record another name, in one step.
    pub(crate) fn rename_volume(&self, old: &str, record: &VolumeRecord) -> Result<()> {
        Ok(self.store.write(|transaction| {
            transaction.delete(&VOLUMES, &old.to_owned())?;
            transaction.put(&VOLUMES, &record.name, record)
        })?)
    }

    /// Forgets a volume.
    pub(crate) fn forget_volume(&self, name: &str) -> Result<()> {
        self.store.write(|transaction| transaction.delete(&VOLUMES, &name.to_owned()).map(drop))?;
        Ok(())
    }

    /// All volumes, and the records that could not be read.
    pub(crate) fn volumes(&self) -> Result<(Vec<VolumeRecord>, Vec<BadRecord>)> {
        let scan = self.store.read()?.scan(&VOLUMES)?;
        Ok((scan.records.into_iter().map(|(_, record)| record).collect(), scan.bad))
    }

    /// Writes a network's record.
    pub(crate) fn save_network(&self, record: &NetworkRecord) -> Result<()> {
        Ok(self.store.write(|transaction| transaction.put(&NETWORKS, &record.id, record))?)
    }

    /// Forgets a network.
    pub(crate) fn forget_network(&self, id: &str) -> Result<()> {
        self.store.write(|transaction| transaction.delete(&NETWORKS, &id.to_owned()).map(drop))?;
        Ok(())
    }

    /// All networks that were made, and the records that could not be read.
    pub(crate) fn networks(&self) -> Result<(Vec<NetworkRecord>, Vec<BadRecord>)> {
        let scan = self.store.read()?.scan(&NETWORKS)?;
        Ok((scan.records.into_iter().map(|(_, record)| record).collect(), scan.bad))
    }

    /// A text of the daemon's own that outlives it; made by `make` the first time.
    pub(crate) fn lasting(&self, key: &str, make: impl FnOnce() -> Result<String>) -> Result<String> {
        if let Some(found) = self.store.read()?.get(&ABOUT, &key.to_owned())? {
            return Ok(found);
        }
        let value = make()?;
        self.store.write(|transaction| transaction.put(&ABOUT, &key.to_owned(), &value))?;
        Ok(value)
    }

    /// Sets a text of the daemon's own; whether it was another one before.
    pub(crate) fn replace(&self, key: &str, value: &str) -> Result<bool> {
        let before = self.store.read()?.get(&ABOUT, &key.to_owned())?;
        if before.as_deref() == Some(value) {
            return Ok(false);
        }
        self.store.write(|transaction| transaction.put(&ABOUT, &key.to_owned(), &value.to_owned()))?;
        Ok(before.is_some())
    }
}
