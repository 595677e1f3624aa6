//! What a layer has made itself, remembered in few bytes: a layer may have millions of entries, with long paths.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Paths, by hashes that nobody outside can foresee: two of a million are alike once in ten million layers.
#[derive(Default)]
pub(crate) struct Made {
    keys: RandomState,
    seen: HashSet<u64>,
}

impl Made {
    /// Adds a path; `false` when it was there.
    pub(crate) fn insert(&mut self, path: &[u8]) -> bool {
        self.seen.insert(self.keys.hash_one(path))
    }

    /// Whether a path was added.
    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        self.seen.contains(&self.keys.hash_one(path))
    }
}
