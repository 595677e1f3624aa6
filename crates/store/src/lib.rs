//! Durable records in one transactional database.
//!
//! `store` knows nothing about what the records mean: an owner names its [`Table`]s, reads them from a
//! [`Snapshot`] and changes them, several at once, in a [`Transaction`]. A commit that has returned survives the loss
//! of power. A record that cannot be read is reported by [`Snapshot::scan`] and never keeps the others from being read.
//!
//! ```text
//! <directory>/             0700
//!   lock                   held (flock) by the one process that has the store open; contains its pid
//!   records.redb           the database: checksummed pages
//! ```

mod claim;
mod copy;
mod error;
mod group;
mod intent;
mod open;
mod salvage;
mod table;

pub use claim::{Claim, Claimed, claim};
pub use error::{Error, Kind};
pub use intent::{Intent, Intents};
pub use open::{Integrity, Store};
pub use salvage::{Salvaged, salvage};
pub use table::{BadRecord, Key, Record, Scan, Snapshot, Table, Transaction};

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;
