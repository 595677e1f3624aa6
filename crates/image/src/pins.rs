//! What operations under way need, so that the collector leaves it alone. Lives in memory: one process has the store,
//! and what it was doing when it was killed is not under way any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts of what is pinned, by digest or layer key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins {
    counts: Arc<Mutex<HashMap<String, usize>>>,
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
    pub(crate) fn freeze(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    /// Pins something. To be called before it is looked for, so that what is found stays.
    pub(crate) fn add(&self, key: impl ToString) {
        let key = key.to_string();
        *self.pins.freeze().entry(key.clone()).or_default() += 1;
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = self.pins.freeze();
        for key in self.keys.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(count) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
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
        assert_eq!(pins.freeze().get("a"), Some(&1));
        drop(second);
        assert!(pins.freeze().is_empty());
    }
}
