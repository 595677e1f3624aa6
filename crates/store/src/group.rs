//! Writers that come at the same time, and wait for the disk once for all of them.
//!
//! ```text
//! alone        change ─► commit and sync
//! not alone    change ─► commit, not synced ─► turn ─► synced by somebody since? done : one sync for all commits so far
//! ```

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::{Error, Result};

/// Who writes now, and how far the disk has come.
#[derive(Debug, Default)]
pub(crate) struct Group {
    writers: AtomicUsize,
    /// Held by the one who syncs for the others.
    pub(crate) turn: Mutex<()>,
    next: AtomicU64,
    /// Every commit below this one is on the disk.
    settled: AtomicU64,
    /// How often commits that were not synced were lost to a failure of the disk.
    losses: AtomicU64,
}

/// Which commit it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    number: u64,
    losses: u64,
}

/// One who writes, until it is dropped.
pub(crate) struct Writing<'a> {
    group: &'a Group,
    alone: bool,
}

impl Writing<'_> {
    /// Whether nobody else was writing when this one came.
    pub(crate) fn are_alone(&self) -> bool {
        self.alone
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.group.writers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Group {
    /// Somebody comes to write durably.
    pub(crate) fn enter(&self) -> Writing<'_> {
        Writing { group: self, alone: self.writers.fetch_add(1, Ordering::AcqRel) == 0 }
    }

    /// The place of the commit that the caller is about to make.
    pub(crate) fn place(&self) -> Place {
        Place {
            number: self.next.fetch_add(1, Ordering::AcqRel),
            losses: self.losses.load(Ordering::Acquire),
        }
    }

    /// A commit is on the disk, and with it every one before it.
    pub(crate) fn settled(&self, place: Place) {
        self.settled.fetch_max(place.number + 1, Ordering::AcqRel);
    }

    /// Whether a commit is on the disk.
    ///
    /// # Errors
    /// When it was lost before it came there.
    pub(crate) fn is_settled(&self, place: Place) -> Result<bool> {
        if place.number < self.settled.load(Ordering::Acquire) {
            return Ok(true);
        }
        if place.losses == self.losses.load(Ordering::Acquire) {
            return Ok(false);
        }
        Err(Error::Database("the disk failed before the change was written".to_owned()))
    }

    /// Commits that are not on the disk are gone.
    pub(crate) fn lose(&self) {
        self.losses.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_settles_what_was_committed_before_it_and_a_loss_nothing() {
        let group = Group::default();
        let (first, second, third) = (group.place(), group.place(), group.place());
        group.settled(second);
        assert!(group.is_settled(first).expect("first") && group.is_settled(second).expect("second"));
        assert!(!group.is_settled(third).expect("third"));
        group.lose();
        assert!(group.is_settled(first).expect("first, still"));
        group.is_settled(third).expect_err("lost");
        assert!(!group.is_settled(group.place()).expect("a later one"));
    }

    #[test]
    fn only_the_first_is_alone() {
        let group = Group::default();
        let first = group.enter();
        assert!(first.are_alone() && !group.enter().are_alone());
        drop(first);
        assert!(group.enter().are_alone());
    }
}
