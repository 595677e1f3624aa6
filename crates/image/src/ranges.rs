//! Ranges of bytes: which parts of something are here.

use std::ops::Range;

/// Ranges that neither overlap nor touch, the lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a range, and joins it with those that it touches.
    pub fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|known| known.end < range.start);
        let last = self.0.partition_point(|known| known.start <= range.end);
        let joined = self.0[first..last]
            .iter()
            .fold(range, |joined, known| joined.start.min(known.start)..joined.end.max(known.end));
        self.0.splice(first..last, [joined]);
    }

    /// The first range below `end` that is not here.
    #[must_use]
    pub fn first_gap(&self, end: u64) -> Option<Range<u64>> {
        let start = self.prefix();
        let next = self.0.iter().map(|known| known.start).find(|known| *known > start).unwrap_or(end);
        (start < end).then(|| start..next.min(end))
    }

    /// How many bytes are here from the beginning on without a gap.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        self.0.first().filter(|known| known.start == 0).map_or(0, |known| known.end)
    }

    /// How many bytes are here.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|known| known.end - known.start).sum()
    }

    /// The ranges, the lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_what_they_touch() {
        let check = |added: &[(u64, u64)], expected: &[(u64, u64)]| {
            let mut ranges = Ranges::default();
            for (start, end) in added {
                ranges.add(*start..*end);
            }
            let found: Vec<_> = ranges.iter().map(|range| (range.start, range.end)).collect();
            assert_eq!(found, expected, "{added:?}");
        };
        check(&[], &[]);
        check(&[(3, 3)], &[]);
        check(&[(5, 9), (0, 2)], &[(0, 2), (5, 9)]);
        check(&[(5, 9), (0, 5)], &[(0, 9)]);
        check(&[(0, 2), (4, 6), (8, 9), (2, 4)], &[(0, 6), (8, 9)]);
        check(&[(0, 2), (4, 6), (8, 9), (1, 10)], &[(0, 10)]);
        check(&[(0, 10), (2, 3)], &[(0, 10)]);
    }

    #[test]
    fn the_first_gap_is_found() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.first_gap(9), Some(0..9));
        ranges.add(3..5);
        assert_eq!((ranges.first_gap(9), ranges.prefix()), (Some(0..3), 0));
        ranges.add(0..3);
        assert_eq!((ranges.first_gap(9), ranges.prefix(), ranges.count()), (Some(5..9), 5, 5));
        ranges.add(5..9);
        assert_eq!(ranges.first_gap(9), None);
    }
}
