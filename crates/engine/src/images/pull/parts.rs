//! Which bytes of a blob are here, on their way and still to be asked for. Pure.
//!
//! Streams begin at the first gap. When there is none left, a new stream takes the second half of what another one still
//! has to bring, so that all of them end at about the same time and few requests are made:
//!
//! ```text
//! one stream      ████████───────────────────────────────►
//! a second one    ████████───────────────►████────────────►
//! a third one     ███████████────►████────►███████─────────►
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use image::Ranges;

/// What is left for a stream is not divided when the halves would be shorter, in bytes.
const SHORTEST: u64 = 4 << 20;

/// Names a stream.
pub(super) type StreamId = usize;

/// A blob in parts.
#[derive(Debug)]
pub(super) struct Parts {
    size: u64,
    here: Ranges,
    /// What each stream still has to bring.
    coming: BTreeMap<StreamId, Range<u64>>,
    next: StreamId,
}

impl Parts {
    /// A blob of `size` bytes of which some may be here.
    pub(super) fn new(size: u64, here: Ranges) -> Self {
        Self { size, here, coming: BTreeMap::new(), next: 0 }
    }

    /// Something for a new stream to bring; `None` when everything worth a stream is here or on its way.
    pub(super) fn take(&mut self) -> Option<(StreamId, Range<u64>)> {
        let range = self.first_gap().or_else(|| self.half_of_another())?;
        let id = self.next;
        self.next += 1;
        self.coming.insert(id, range.clone());
        Some((id, range))
    }

    fn first_gap(&self) -> Option<Range<u64>> {
        let mut known = self.here.clone();
        for range in self.coming.values() {
            known.add(range.clone());
        }
        known.first_gap(self.size)
    }

    fn half_of_another(&mut self) -> Option<Range<u64>> {
        let longest = self.coming.values_mut().max_by_key(|range| range.end - range.start)?;
        let length = longest.end - longest.start;
        if length < 2 * SHORTEST {
            return None;
        }
        let middle = longest.start + length / 2;
        let second = middle..longest.end;
        longest.end = middle;
        Some(second)
    }

    /// A stream has brought `length` bytes from `at` on: how many of them are wanted from it. It is over when that was all.
    pub(super) fn arrived(&mut self, id: StreamId, at: u64, length: u64) -> Wanted {
        let Some(range) = self.coming.get_mut(&id) else { return Wanted { bytes: 0, is_over: true } };
        let bytes = length.min(range.end.saturating_sub(at));
        self.here.add(at..at + bytes);
        range.start = at + bytes;
        let is_over = range.start >= range.end;
        if is_over {
            self.coming.remove(&id);
        }
        Wanted { bytes, is_over }
    }

    /// A stream brings nothing more: what it had left is a gap again.
    pub(super) fn gave_up(&mut self, id: StreamId) {
        self.coming.remove(&id);
    }

    /// Whether all is here.
    pub(super) fn is_complete(&self) -> bool {
        self.here.first_gap(self.size).is_none()
    }

    /// How many bytes are here.
    pub(super) fn count(&self) -> u64 {
        self.here.count()
    }
}

/// What of a piece is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// So many bytes from its beginning.
    pub(super) bytes: u64,
    /// Whether nothing more is wanted from the stream.
    pub(super) is_over: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn here(ranges: &[Range<u64>]) -> Ranges {
        let mut known = Ranges::default();
        for range in ranges {
            known.add(range.clone());
        }
        known
    }

    #[test]
    fn a_second_stream_takes_the_second_half_of_what_is_left() {
        let mut parts = Parts::new(100 * MIB, here(&[]));
        assert_eq!(parts.take(), Some((0, 0..100 * MIB)));
        assert_eq!(parts.arrived(0, 0, 20 * MIB), Wanted { bytes: 20 * MIB, is_over: false });
        assert_eq!(parts.take(), Some((1, 60 * MIB..100 * MIB)));
        assert_eq!(parts.take(), Some((2, 80 * MIB..100 * MIB)));
        // The first one stops where the second one began.
        assert_eq!(parts.arrived(0, 20 * MIB, 50 * MIB), Wanted { bytes: 40 * MIB, is_over: true });
        assert_eq!(parts.arrived(0, 60 * MIB, MIB), Wanted { bytes: 0, is_over: true });
    }

    #[test]
    fn little_is_not_divided() {
        let mut parts = Parts::new(7 * MIB, here(&[]));
        assert!(parts.take().is_some());
        assert_eq!(parts.take(), None);
    }

    #[test]
    fn gaps_come_before_halves_and_a_stream_that_ends_leaves_one() {
        let mut parts = Parts::new(50 * MIB, here(&[0..10 * MIB, 20 * MIB..30 * MIB]));
        assert_eq!(parts.take(), Some((0, 10 * MIB..20 * MIB)));
        assert_eq!(parts.take(), Some((1, 30 * MIB..50 * MIB)));
        parts.arrived(0, 10 * MIB, 4 * MIB);
        parts.gave_up(0);
        assert_eq!(parts.take(), Some((2, 14 * MIB..20 * MIB)));
        parts.arrived(2, 14 * MIB, 6 * MIB);
        parts.arrived(1, 30 * MIB, 20 * MIB);
        assert!(parts.is_complete());
        assert_eq!((parts.count(), parts.take()), (50 * MIB, None));
    }

    #[test]
    fn an_empty_blob_is_complete() {
        let mut parts = Parts::new(0, here(&[]));
        assert!(parts.is_complete());
        assert_eq!(parts.take(), None);
    }
}
