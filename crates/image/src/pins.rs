//! What operations under way need, so that the collector leaves it alone. Lives in memory: one process has the store,
//! and what it was doing when it was killed is not under way any more.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is pinned, by digest or layer key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins {
    table: Arc<Mutex<PinTable>>,
}

/// What is pinned now, and what was let go since the last collection.
#[derive(Debug, Default)]
pub(crate) struct PinTable {
    counts: HashMap<String, usize>,
    let_go: BTreeSet<String>,
}

impl PinTable {
    /// Whether an operation under way needs this.
    pub(crate) fn holds(&self, key: &str) -> bool {
        self.counts.contains_key(key)
    }

    /// What operations needed that have ended since this was asked last: it may be that nothing else needs it.
    pub(crate) fn take_let_go(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.let_go)
    }
}

/// Keeps what was added until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    keys: Mutex<Vec<String>>,
}

impl Pins {
    /// A new operation, with nothing pinned yet.
    pub(crate) fn operation(&self) -> Pin {
        Pin { pins: self.clone(), keys: Mutex::new(Vec::new()) }
    }

    /// Stops the world of pins: while the guard is held nothing is pinned or let go.
    pub(crate) fn freeze(&self) -> MutexGuard<'_, PinTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    /// Pins something. To be called before it is looked for, so that what is found stays.
    pub(crate) fn add(&self, key: impl ToString) {
        let key = key.to_string();
        *self.pins.freeze().counts.entry(key.clone()).or_default() += 1;
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut table = self.pins.freeze();
        for key in self.keys.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(count) = table.counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    table.counts.remove(&key);
                    table.let_go.insert(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_counts_and_is_let_go() {
        let pins = Pins::default();
        let first = pins.operation();
        let second = pins.operation();
        first.add("a");
        second.add("a");
        drop(first);
        assert!(pins.freeze().holds("a") && pins.freeze().take_let_go().is_empty());
        drop(second);
        assert!(!pins.freeze().holds("a"));
        assert_eq!(pins.freeze().take_let_go(), BTreeSet::from(["a".to_owned()]));
        assert!(pins.freeze().take_let_go().is_empty());
    }
}
