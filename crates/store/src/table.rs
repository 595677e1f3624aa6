//! Typed tables, read in a snapshot and changed in a transaction. Records are JSON, so that people can read them and
//! later versions can add members.

use std::borrow::Cow;
use std::marker::PhantomData;

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::database;
use crate::{Error, Result};

type Raw<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// What can be stored: any type that serde writes and reads back.
pub trait Record: Serialize + DeserializeOwned {}
impl<T: Serialize + DeserializeOwned> Record for T {}

/// What a record can be found by. The text form orders the records.
pub trait Key: Sized {
    /// The key as text.
    fn encode(&self) -> Cow<'_, str>;
    /// The key of a text; `None` when no key has it.
    fn decode(text: &str) -> Option<Self>;
}

impl Key for String {
    fn encode(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }

    fn decode(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Key for u64 {
    /// Twenty digits, so that the order of texts is the order of numbers.
    fn encode(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{self:020}"))
    }

    fn decode(text: &str) -> Option<Self> {
        (text.len() == 20).then(|| text.parse().ok()).flatten()
    }
}

/// A table of records of one type. A constant of its owner: `const IMAGES: Table<String, Image> = Table::new("images")`.
#[derive(Debug)]
pub struct Table<K, R> {
    name: &'static str,
    types: PhantomData<fn() -> (K, R)>,
}

impl<K, R> Clone for Table<K, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, R> Copy for Table<K, R> {}

impl<K, R> Table<K, R> {
    /// The table called `name`; names that start with `_` are the store's own.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    /// The table's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    const fn raw(&self) -> Raw<'static> {
        TableDefinition::new(self.name)
    }
}

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Its table.
    pub table: &'static str,
    /// Its key as text.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// All records of a table: those that could be read, in the order of their keys, and those that could not.
#[derive(Debug)]
pub struct Scan<K, R> {
    /// The readable records.
    pub records: Vec<(K, R)>,
    /// The unreadable ones, to be reported.
    pub bad: Vec<BadRecord>,
}

impl<K, R> Scan<K, R> {
    fn empty() -> Self {
        Self { records: Vec::new(), bad: Vec::new() }
    }
}

fn decode<R: Record>(table: &'static str, key: &str, bytes: &[u8]) -> Result<R> {
    serde_json::from_slice(bytes).map_err(|error| Error::Undecodable {
        table,
        key: key.to_owned(),
        reason: error.to_string(),
    })
}

fn any_with_prefix(table: &impl ReadableTable<&'static str, &'static [u8]>, prefix: &str) -> Result<bool> {
    match table.range(prefix..).map_err(database)?.next() {
        Some(first) => Ok(first.map_err(database)?.0.value().starts_with(prefix)),
        None => Ok(false),
    }
}

fn scan_table<K: Key, R: Record>(
    name: &'static str,
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    prefix: &str,
) -> Result<Scan<K, R>> {
    let mut scan = Scan::empty();
    for item in table.range(prefix..).map_err(database)? {
        let (key, value) = item.map_err(database)?;
        let text = key.value();
        if !text.starts_with(prefix) {
            break;
        }
        let bad = |reason: String| BadRecord { table: name, key: text.to_owned(), reason };
        match (K::decode(text), serde_json::from_slice(value.value())) {
            (Some(key), Ok(record)) => scan.records.push((key, record)),
            (None, _) => scan.bad.push(bad("the key is not one of this table".to_owned())),
            (_, Err(error)) => scan.bad.push(bad(error.to_string())),
        }
    }
    Ok(scan)
}

/// A view of the records at one moment.
pub struct Snapshot {
    transaction: ReadTransaction,
}

impl Snapshot {
    pub(crate) fn new(transaction: ReadTransaction) -> Self {
        Self { transaction }
    }

    fn open<K, R>(
        &self,
        table: &Table<K, R>,
    ) -> Result<Option<redb::ReadOnlyTable<&'static str, &'static [u8]>>> {
        match self.transaction.open_table(table.raw()) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(database(error)),
        }
    }

    /// The record of a key, if there is one.
    ///
    /// # Errors
    /// `Undecodable` when there is one and it cannot be read.
    pub fn get<K: Key, R: Record>(&self, table: &Table<K, R>, key: &K) -> Result<Option<R>> {
        let Some(raw) = self.open(table)? else { return Ok(None) };
        let key = key.encode();
        match raw.get(&*key).map_err(database)? {
            Some(value) => decode(table.name, &key, value.value()).map(Some),
            None => Ok(None),
        }
    }

    /// All records of a table, the unreadable ones apart.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn scan<K: Key, R: Record>(&self, table: &Table<K, R>) -> Result<Scan<K, R>> {
        self.scan_prefix(table, "")
    }

    /// All records of a table whose key's text starts with `prefix`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn scan_prefix<K: Key, R: Record>(&self, table: &Table<K, R>, prefix: &str) -> Result<Scan<K, R>> {
        match self.open(table)? {
            Some(raw) => scan_table(table.name, &raw, prefix),
            None => Ok(Scan::empty()),
        }
    }

    /// Whether a table has a record whose key's text starts with `prefix`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_prefix<K, R>(&self, table: &Table<K, R>, prefix: &str) -> Result<bool> {
        match self.open(table)? {
            Some(raw) => any_with_prefix(&raw, prefix),
            None => Ok(false),
        }
    }

    /// How many records a table has, readable or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn len<K: Key, R: Record>(&self, table: &Table<K, R>) -> Result<u64> {
        match self.open(table)? {
            Some(raw) => raw.len().map_err(database),
            None => Ok(0),
        }
    }
}

/// Changes to any number of tables that become durable together, or not at all.
pub struct Transaction {
    transaction: WriteTransaction,
}

impl Transaction {
    pub(crate) fn new(transaction: WriteTransaction) -> Self {
        Self { transaction }
    }

    pub(crate) fn commit(self) -> Result<()> {
        self.transaction.commit().map_err(database)
    }

    /// The record of a key as this transaction sees it.
    ///
    /// # Errors
    /// `Undecodable` when there is one and it cannot be read.
    pub fn get<K: Key, R: Record>(&self, table: &Table<K, R>, key: &K) -> Result<Option<R>> {
        let raw = self.transaction.open_table(table.raw()).map_err(database)?;
        let key = key.encode();
        match raw.get(&*key).map_err(database)? {
            Some(value) => decode(table.name, &key, value.value()).map(Some),
            None => Ok(None),
        }
    }

    /// Writes a record, replacing the one of the same key.
    ///
    /// # Errors
    /// When the record cannot be encoded or the database cannot be written.
    pub fn put<K: Key, R: Record>(&mut self, table: &Table<K, R>, key: &K, record: &R) -> Result<()> {
        let key = key.encode();
        let bytes = serde_json::to_vec(record).map_err(|error| Error::Unencodable {
            table: table.name,
            key: key.clone().into_owned(),
            reason: error.to_string(),
        })?;
        self.put_raw(table, &key, &bytes)
    }

    fn put_raw<K, R>(&mut self, table: &Table<K, R>, key: &str, bytes: &[u8]) -> Result<()> {
        let mut raw = self.transaction.open_table(table.raw()).map_err(database)?;
        raw.insert(key, bytes).map_err(database)?;
        Ok(())
    }

    /// Removes the record of a key; `false` when there was none. Also removes a record that cannot be read.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn delete<K: Key, R>(&mut self, table: &Table<K, R>, key: &K) -> Result<bool> {
        self.delete_raw(table, &key.encode())
    }

    /// Removes the record of a key's text, as [`BadRecord`] reports it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn delete_raw<K, R>(&mut self, table: &Table<K, R>, key: &str) -> Result<bool> {
        let mut raw = self.transaction.open_table(table.raw()).map_err(database)?;
        Ok(raw.remove(key).map_err(database)?.is_some())
    }

    /// Whether a table has a record whose key's text starts with `prefix`, as this transaction sees it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_prefix<K, R>(&self, table: &Table<K, R>, prefix: &str) -> Result<bool> {
        let raw = self.transaction.open_table(table.raw()).map_err(database)?;
        any_with_prefix(&raw, prefix)
    }

    /// All records of a table as this transaction sees them, the unreadable ones apart.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn scan<K: Key, R: Record>(&self, table: &Table<K, R>) -> Result<Scan<K, R>> {
        let raw = self.transaction.open_table(table.raw()).map_err(database)?;
        scan_table(table.name, &raw, "")
    }

    /// All records of a table whose key's text starts with `prefix`, as this transaction sees them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn scan_prefix<K: Key, R: Record>(&self, table: &Table<K, R>, prefix: &str) -> Result<Scan<K, R>> {
        let raw = self.transaction.open_table(table.raw()).map_err(database)?;
        scan_table(table.name, &raw, prefix)
    }
}
