//! The operation log: what was begun, how far it came, and that it is done.
//!
//! ```text
//! begin ──► step ──► step ──► … ──► done (the record is gone)
//!              a kill anywhere: `pending` returns what was begun and which steps were recorded
//! ```

use serde::{Deserialize, Serialize};

use crate::table::{Key, Record, Scan, Snapshot, Table, Transaction};
use crate::{Error, Result};

/// An operation that has begun and is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent<O> {
    /// What is to be done; everything that finishing or undoing it needs.
    pub operation: O,
    /// The steps whose effects are known to have happened, in order.
    pub steps: Vec<String>,
}

/// The intents of one owner.
#[derive(Debug, Clone, Copy)]
pub struct Intents<O> {
    table: Table<String, Intent<O>>,
}

impl<O: Record> Intents<O> {
    /// The intents kept in the table `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { table: Table::new(name) }
    }

    /// Records that an operation begins. To be committed before its first outside effect.
    ///
    /// # Errors
    /// When an intent of this id is still pending.
    pub fn begin(&self, transaction: &mut Transaction, id: &str, operation: O) -> Result<()> {
        let key = id.to_owned();
        if transaction.get(&self.table, &key)?.is_some() {
            return Err(Error::Database(format!(
                "an operation {id:?} is already under way in {}",
                self.table.name()
            )));
        }
        transaction.put(&self.table, &key, &Intent { operation, steps: Vec::new() })
    }

    /// Records that a step's effect has happened. A pending intent is needed; recording a step twice changes nothing.
    ///
    /// # Errors
    /// When no such operation is under way.
    pub fn step(&self, transaction: &mut Transaction, id: &str, step: &str) -> Result<()> {
        let key = id.to_owned();
        let Some(mut intent) = transaction.get(&self.table, &key)? else {
            return Err(Error::Database(format!(
                "no operation {id:?} is under way in {}",
                self.table.name()
            )));
        };
        if intent.steps.iter().any(|done| done == step) {
            return Ok(());
        }
        intent.steps.push(step.to_owned());
        transaction.put(&self.table, &key, &intent)
    }

    /// Records that an operation is done, or undone; done twice changes nothing.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn done(&self, transaction: &mut Transaction, id: &str) -> Result<()> {
        transaction.delete_raw(&self.table, &id.to_owned().encode()).map(drop)
    }

    /// Everything begun and not done.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pending(&self, snapshot: &Snapshot) -> Result<Scan<String, Intent<O>>> {
        snapshot.scan(&self.table)
    }
}
