//! Opening the store: its directory, its lock, its schema version, its integrity.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use crate::claim::{Claim, Claimed, claim};
use crate::error::database;
use crate::group::{Group, Place};
use crate::table::{Snapshot, Transaction};
use crate::{Error, Result};

const DATABASE: &str = "records.redb";
const LOCK: &str = "lock";
/// The layout of tables and records that this version writes.
const SCHEMA: u64 = 1;
const ABOUT: TableDefinition<&str, u64> = TableDefinition::new("_about");
const SCHEMA_KEY: &str = "schema";
/// The database's page cache in bytes; metadata is small.
const CACHE_SIZE: usize = 16 << 20;

/// The open database of a daemon. Cheap to clone; the last clone closes it and frees the lock.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` after a failure of the disk, until it can be opened again.
    database: RwLock<Option<Database>>,
    /// What is read while the file can be read, but not opened.
    copy: Mutex<Option<Database>>,
    path: PathBuf,
    group: Group,
    _lock: Claim,
}

/// What an integrity check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// Every page's checksum is right.
    Sound,
    /// Something was wrong and has been repaired from what was right.
    Repaired,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a directory, which is made (0700) when it is not there.
    ///
    /// # Errors
    /// `Locked` when another process has it open, `TooNew` when a newer berth wrote it, `Corrupt` when the file is
    /// damaged beyond what the database repairs by itself.
    pub fn open(directory: &Path) -> Result<Self> {
        make_private(directory)?;
        let lock = lock(directory)?;
        let path = directory.join(DATABASE);
        let exists = path.exists();
        let database = open_database(&path)?;
        check_schema(&database, &path)?;
        if !exists {
            // The file's name must be as durable as the records that will be written into it.
            let handle = File::open(directory).map_err(file_error("open", directory))?;
            linux::file::sync(&handle)?;
        }
        let (database, copy) = (RwLock::new(Some(database)), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { database, copy, path, group: Group::default(), _lock: lock }) })
    }

    /// Moves a damaged database out of the way, so that [`Store::open`] starts an empty one. Returns the new name,
    /// or `None` when there was no database. Used by `system check --repair` before records are rebuilt from content.
    ///
    /// # Errors
    /// `Locked` when another process has the store open.
    pub fn set_aside(directory: &Path) -> Result<Option<PathBuf>> {
        make_private(directory)?;
        let _lock = lock(directory)?;
        move_aside(directory)
    }

    /// The same for a database that is open: all who have this store go on with an empty one, also when this fails after
    /// the old one is away. Views of the old one go on showing it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn start_anew(&self) -> Result<Option<PathBuf>> {
        let path = &self.inner.path;
        let mut open = self.inner.database.write().unwrap_or_else(PoisonError::into_inner);
        *open = None;
        // Those who wait for a sync of what they have committed are told that it was lost.
        self.inner.group.lose();
        let aside = path.parent().map_or(Ok(None), move_aside)?;
        let empty = open_database(path)?;
        check_schema(&empty, path)?;
        *open = Some(empty);
        Ok(aside)
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// A view of everything committed so far that later commits do not change. On a disk that has become read-only, of
    /// everything that is on it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn read(&self) -> Result<Snapshot> {
        let begin = |open: &Database| -> Result<Snapshot> {
            Ok(Snapshot::new(open.begin_read().map_err(database_error)?))
        };
        match self.with(begin) {
            Err(error) if error.is_of_read_only_disk() => {
                let mut copy = self.inner.copy.lock().unwrap_or_else(PoisonError::into_inner);
                let open = copy.take().map_or_else(|| crate::copy::in_memory(&self.inner.path), Ok)?;
                begin(copy.insert(open))
            }
            begun => begun,
        }
    }

    /// Runs `change` in a transaction: all of it is committed durably when it succeeds, none of it when it fails.
    /// Only one transaction runs at a time; the others wait.
    ///
    /// # Errors
    /// What `change` returned, or why the commit failed.
    pub fn write<T, E: From<Error>>(
        &self,
        change: impl FnOnce(&mut Transaction) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let writers = self.inner.group.enter();
        if writers.are_alone() {
            return self.transact(redb::Durability::Immediate, change).map(|(value, _)| value);
        }
        let (value, place) = self.transact(redb::Durability::None, change)?;
        self.settle(place)?;
        Ok(value)
    }

    /// As [`Store::write`], but the disk is not waited for: readers see the change at once, and it becomes durable with
    /// the next durable commit. For what can be found out again after a loss of power.
    ///
    /// # Errors
    /// What `change` returned, or why the commit failed.
    pub fn write_relaxed<T, E: From<Error>>(
        &self,
        change: impl FnOnce(&mut Transaction) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.transact(redb::Durability::None, change).map(|(value, _)| value)
    }

    fn transact<T, E: From<Error>>(
        &self,
        durability: redb::Durability,
        change: impl FnOnce(&mut Transaction) -> std::result::Result<T, E>,
    ) -> std::result::Result<(T, Place), E> {
        self.with(|open| {
            let mut inner = open.begin_write().map_err(database_error)?;
            inner.set_durability(durability).map_err(database)?;
            let mut transaction = Transaction::new(inner);
            let value = change(&mut transaction)?;
            // Taken while nobody else writes: the places are in the order of the commits.
            let place = self.inner.group.place();
            transaction.commit()?;
            if matches!(durability, redb::Durability::Immediate) {
                self.inner.group.settled(place);
            }
            Ok((value, place))
        })
    }

    /// Waits until what was committed at a place is on the disk: with the sync of whoever comes first, or by one for all
    /// who have committed until then.
    fn settle(&self, place: Place) -> Result<()> {
        let _turn = self.inner.group.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.inner.group.is_settled(place)? {
            return Ok(());
        }
        let ((), _) = self.transact(redb::Durability::Immediate, |_| {
            // What the disk has failed since was let go of, and this would sync what is left.
            self.inner.group.is_settled(place).map(drop)
        })?;
        Ok(())
    }

    /// Works with the open database. One that the disk has failed takes no more changes: it is let go of, and the next
    /// who comes opens it again.
    fn with<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Database) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.open_again()?;
        let done = {
            let database = self.inner.database.read().unwrap_or_else(PoisonError::into_inner);
            // Let go of by somebody else since we looked.
            work(database.as_ref().ok_or(Error::Busy)?)
        };
        if done.is_err() {
            self.let_go_if_failed();
        }
        done
    }

    fn open_again(&self) -> Result<()> {
        if self.inner.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut database = self.inner.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some(open_database(&self.inner.path)?);
            *self.inner.copy.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(())
    }

    /// Closes a database that can only be read any more. While somebody reads it stays: the next failure sees to it.
    fn let_go_if_failed(&self) {
        let Ok(mut database) = self.inner.database.try_write() else { return };
        // Nobody else has it now: the answer comes at once.
        let refusal = database.as_ref().and_then(|open| open.begin_write().err());
        if let Some(redb::TransactionError::Storage(StorageError::PreviousIo | StorageError::Corrupted(_))) =
            refusal
        {
            *database = None;
            self.inner.group.lose();
        }
    }

    /// Reads every page and compares checksums, and repairs what it can.
    ///
    /// # Errors
    /// `Busy` while a snapshot is held, `Corrupt` when the file cannot be repaired.
    pub fn check(&self) -> Result<Integrity> {
        self.open_again()?;
        let mut database = self.inner.database.write().unwrap_or_else(PoisonError::into_inner);
        match database.as_mut().ok_or(Error::Busy)?.check_integrity() {
            Ok(true) => Ok(Integrity::Sound),
            Ok(false) => Ok(Integrity::Repaired),
            Err(DatabaseError::TransactionInProgress) => Err(Error::Busy),
            Err(error) => Err(open_error(error, &self.inner.path)),
        }
    }
}

fn database_error(error: redb::TransactionError) -> Error {
    database(error)
}

pub(crate) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::File { action, path, error }
}

/// Gives a damaged database another name, durably; `None` when there is none.
fn move_aside(directory: &Path) -> Result<Option<PathBuf>> {
    let handle = File::open(directory).map_err(file_error("open", directory))?;
    for number in 1..1000 {
        let name = format!("{DATABASE}.damaged-{number}");
        match linux::at::rename_new(&handle, DATABASE.as_bytes(), &handle, name.as_bytes()) {
            Ok(true) => {
                linux::file::sync(&handle)?;
                return Ok(Some(directory.join(name)));
            }
            Ok(false) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    let error = std::io::Error::other("a thousand damaged databases are already there: remove them");
    Err(file_error("set aside", &directory.join(DATABASE))(error))
}

fn make_private(directory: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(file_error("make", directory))?;
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))
        .map_err(file_error("protect", directory))
}

fn lock(directory: &Path) -> Result<Claim> {
    let path = directory.join(LOCK);
    match claim(&path).map_err(file_error("lock", &path))? {
        Claimed::Ours(claim) => Ok(claim),
        Claimed::Theirs(pid) => {
            let holder = if pid.is_empty() { pid } else { format!(" (process {pid})") };
            Err(Error::Locked { directory: directory.to_owned(), holder })
        }
    }
}

fn open_database(path: &Path) -> Result<Database> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(file_error("open", path))?;
    Database::builder().set_cache_size(CACHE_SIZE).create_file(file).map_err(|error| open_error(error, path))
}

pub(crate) fn open_error(error: DatabaseError, path: &Path) -> Error {
    let corrupt = |reason: String| Error::Corrupt { path: path.to_owned(), reason };
    match error {
        DatabaseError::Storage(StorageError::Corrupted(reason)) => corrupt(reason),
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() == std::io::ErrorKind::InvalidData =>
        {
            corrupt(error.to_string())
        }
        DatabaseError::RepairAborted => corrupt("the repair was stopped".to_owned()),
        DatabaseError::UpgradeRequired(version) => corrupt(format!("file format {version} is not supported")),
        error => database(error),
    }
}

fn check_schema(open: &Database, path: &Path) -> Result<()> {
    let transaction = open.begin_write().map_err(database_error)?;
    let found = {
        let mut table = transaction.open_table(ABOUT).map_err(database)?;
        let found = table.get(SCHEMA_KEY).map_err(database)?.map(|value| value.value());
        if found.is_none() {
            table.insert(SCHEMA_KEY, SCHEMA).map_err(database)?;
        }
        found
    };
    match found {
        Some(SCHEMA) => transaction.abort().map_err(database),
        None => transaction.commit().map_err(database),
        Some(found) => Err(Error::TooNew { path: path.to_owned(), found, known: SCHEMA }),
    }
}
