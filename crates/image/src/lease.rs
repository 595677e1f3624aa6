//! Leases: what a pull has brought so far stays over a kill of the daemon, so that the next attempt continues there.
//!
//! ```text
//! lease(name) ─► keep(digests) ─► receive … ─► admit      the image holds its content from now on, and the lease is over
//!                     └─ killed, cut, cancelled ─► the next lease of this name, or the collector after a day
//! ```

use std::collections::BTreeSet;

use oci::Digest;
use serde::{Deserialize, Serialize};
use store::Table;

use crate::images::Images;
use crate::pins::PinTable;
use crate::uses::{self, GARBAGE, Mark};
use crate::{Hold, Result};

/// Leases by the name of what is being pulled.
pub(crate) const LEASES: Table<String, LeaseRecord> = Table::new("leases");

/// How long what an abandoned pull has brought is kept, in seconds.
const LIFE: i64 = 24 * 60 * 60;

/// What a pull under way needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseRecord {
    /// Digests of blobs and keys of layers.
    pub(crate) keys: BTreeSet<String>,
    /// When something was added last, in seconds since 1970.
    pub(crate) renewed: i64,
}

/// The key by which a running operation pins its lease itself.
pub(crate) fn pin_key(name: &str) -> String {
    format!("lease {name}")
}

impl Images {
    /// Begins an operation whose content outlives the daemon, or continues an earlier one of the same name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn lease(&self, name: &str) -> Result<Hold> {
        let pin = self.pins.operation();
        pin.add(pin_key(name));
        let record = self.store.read()?.get(&LEASES, &name.to_owned());
        // A record that cannot be read holds nothing; it is written anew with the first content.
        for key in record.ok().flatten().unwrap_or_default().keys {
            pin.add(key);
        }
        Ok(Hold { pin, lease: Some(name.to_owned()) })
    }

    /// Makes sure that what is about to arrive outlives a kill. Costs one durable write, so call it for many at once.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn keep<'a>(&self, hold: &Hold, digests: impl IntoIterator<Item = &'a Digest>) -> Result<()> {
        let keys: BTreeSet<String> = digests.into_iter().map(ToString::to_string).collect();
        for key in &keys {
            hold.pin.add(key);
        }
        let Some(name) = &hold.lease else { return Ok(()) };
        self.store.write(|transaction| {
            let mut record = transaction.get(&LEASES, name).ok().flatten().unwrap_or_default();
            let before = record.keys.len();
            record.keys.extend(keys);
            if record.keys.len() > before {
                record.renewed = crate::time::now_seconds();
                transaction.put(&LEASES, name, &record)?;
            }
            Ok::<_, crate::Error>(())
        })?;
        self.options.steps.reached("lease recorded");
        Ok(())
    }

    /// Ends an operation whose content has an image now, or is not wanted any more. Without this a lease that was not
    /// admitted waits for the next attempt.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn end(&self, hold: Hold) -> Result<()> {
        if let Some(name) = &hold.lease
            && self.store.read()?.get(&LEASES, name).map_or(true, |lease| lease.is_some())
        {
            self.store.write(|transaction| transaction.delete(&LEASES, name))?;
        }
        drop(hold);
        Ok(())
    }

    /// What leases keep. Leases that nobody has continued for a day end here; with `all`, every one that is not in use.
    pub(crate) fn leased(&self, frozen: &PinTable, all: bool) -> Result<BTreeSet<String>> {
        let now = crate::time::now_seconds();
        let scan = self.store.read()?.scan(&LEASES)?;
        let ended =
            |name: &str, record: &LeaseRecord| !frozen.holds(&pin_key(name)) && (all || is_old(record, now));
        let (over, kept): (Vec<_>, Vec<_>) =
            scan.records.into_iter().partition(|(name, record)| ended(name, record));
        if !over.is_empty() || !scan.bad.is_empty() {
            self.store.write(|transaction| {
                for (name, record) in &over {
                    transaction.delete(&LEASES, name)?;
                    for key in &record.keys {
                        transaction.put(&GARBAGE, &uses::blob(key), &Mark {})?;
                        transaction.put(&GARBAGE, &uses::layer(key), &Mark {})?;
                    }
                }
                for bad in &scan.bad {
                    transaction.delete_raw(&LEASES, &bad.key)?;
                }
                Ok::<_, crate::Error>(())
            })?;
        }
        Ok(kept.into_iter().flat_map(|(_, record)| record.keys).collect())
    }
}

/// Whether a lease is over; one of the future belongs to a clock that was wrong.
pub(crate) fn is_old(record: &LeaseRecord, now: i64) -> bool {
    now.saturating_sub(record.renewed).saturating_abs() > LIFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_a_day() {
        let record = LeaseRecord { renewed: 1_000_000, ..LeaseRecord::default() };
        assert!(!is_old(&record, 1_000_000));
        assert!(!is_old(&record, 1_000_000 + LIFE));
        assert!(is_old(&record, 1_000_001 + LIFE));
        assert!(is_old(&record, 0));
    }
}
