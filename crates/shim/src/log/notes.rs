//! What a file of a log says about itself beside its lines: how many lines came before it, and whether the times are in order.
//!
//! It stands in the extended attribute `user.berth.log`, and in the comment of a compressed file, so that collectors see lines
//! alone. A file without it, of another engine or on a file system without attributes, is taken to be in order, and what is
//! lost of it is not counted.

use std::fs::File;

use crate::timestamp::Timestamp;

use super::seek;

const NAME: &[u8] = b"user.berth.log";

/// Nanoseconds since 1970.
pub(super) type Nanos = i64;

/// A time as a number.
pub(super) fn nanos(time: Timestamp) -> Nanos {
    time.seconds().saturating_mul(1_000_000_000).saturating_add(i64::from(time.nanoseconds()))
}

/// Lines whose times go back further than a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Back {
    /// Up to this offset the lines are in order.
    pub(super) offset: u64,
    /// The latest time that a line behind the offset goes back from.
    pub(super) latest: Nanos,
}

/// What a file says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Notes {
    /// Lines of output that ended before the file began; `None` when nobody knows.
    pub(super) first: Option<u64>,
    /// The same at its end, once nothing is written to it any more.
    pub(super) end: Option<u64>,
    /// The latest time of a line in an older file.
    pub(super) before: Nanos,
    /// The latest time of a line up to the file's end, together with `end`.
    pub(super) latest: Nanos,
    /// Where its times stop being in order.
    pub(super) back: Option<Back>,
}

impl Notes {
    /// Of the first file of a log.
    pub(super) const FIRST: Self =
        Self { first: Some(0), end: None, before: Nanos::MIN, latest: Nanos::MIN, back: None };

    /// What an open file says.
    pub(super) fn read(file: &File) -> Option<Self> {
        // A file system without attributes has files without notes.
        let value = linux::xattr::get(file, NAME).ok().flatten()?;
        Self::parse(std::str::from_utf8(&value).ok()?)
    }

    /// Writes them to a file. Nothing depends on them but what is said about lost lines, and the speed of a search.
    pub(super) fn write(&self, file: &File) {
        drop(linux::xattr::set(file, NAME, self.text().as_bytes()));
    }

    /// As one line of words.
    pub(super) fn text(&self) -> String {
        let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let back =
            self.back.map_or_else(|| "- -".to_owned(), |back| format!("{} {}", back.offset, back.latest));
        format!("{} {} {} {} {back}", count(self.first), count(self.end), self.before, self.latest)
    }

    /// Reads that line. Words behind it are those of a later version.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut word = || words.next();
        let count = |word: &str| if word == "-" { Some(None) } else { word.parse().ok().map(Some) };
        let (first, end) = (count(word()?)?, count(word()?)?);
        let (before, latest) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let back = match (word()?, word()?) {
            ("-", "-") => None,
            (offset, latest) => Some(Back { offset: offset.parse().ok()?, latest: latest.parse().ok()? }),
        };
        Some(Self { first, end, before, latest, back })
    }
}

/// Blocks whose lines a search looks at in any case, the current one included.
const RECENT: usize = 1 + (seek::MARGIN / seek::BLOCK) as usize;

/// Watches whether lines come in the order of their times. A line may be earlier than some before it, as the parts of a long
/// line are: within what a search looks at anyway, that does not matter.
#[derive(Debug)]
pub(super) struct Order {
    /// The latest time before the recent blocks.
    settled: Nanos,
    /// The latest time in each of the last blocks, the current one last.
    recent: [Nanos; RECENT],
    block: u64,
}

impl Order {
    /// At the beginning of a file, or behind `offset` bytes of it: `latest` is the latest time so far.
    pub(super) fn new(latest: Nanos, offset: u64) -> Self {
        Self { settled: latest, recent: [Nanos::MIN; RECENT], block: offset / seek::BLOCK }
    }

    /// Takes a line that begins at an offset; the time it goes back from when that is too far.
    pub(super) fn add(&mut self, offset: u64, time: Nanos) -> Option<Nanos> {
        let block = offset / seek::BLOCK;
        while self.block < block {
            self.settled = self.settled.max(self.recent[0]);
            self.recent.rotate_left(1);
            self.recent[RECENT - 1] = Nanos::MIN;
            self.block += 1;
        }
        self.recent[RECENT - 1] = self.recent[RECENT - 1].max(time);
        (time < self.settled).then_some(self.settled)
    }

    /// The latest time so far.
    pub(super) fn latest(&self) -> Nanos {
        self.recent.iter().copied().fold(self.settled, Nanos::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_are_written() {
        let back = Some(Back { offset: 77, latest: 12 });
        for notes in [
            Notes::FIRST,
            Notes { first: None, end: Some(9), before: -5, latest: 70, back },
            Notes { first: Some(3), end: Some(u64::MAX), before: 0, latest: Nanos::MAX, back: None },
        ] {
            assert_eq!(Notes::parse(&notes.text()), Some(notes));
            assert_eq!(Notes::parse(&format!("{} later", notes.text())), Some(notes));
        }
        for text in ["", "1", "x - 0 0 - -", "1 2 3 4 5", "1 2 3 4 5 x"] {
            assert_eq!(Notes::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn going_back_counts_when_a_search_would_miss_it() {
        let mut order = Order::new(Nanos::MIN, 0);
        assert_eq!(order.add(0, 100), None);
        assert_eq!(order.add(1000, 50), None, "within what is looked at");
        assert_eq!(order.add(seek::MARGIN, 60), None);
        assert_eq!(order.add(seek::MARGIN + seek::BLOCK, 70), Some(100));
        assert_eq!(order.add(seek::MARGIN + seek::BLOCK + 1, 101), None);
        assert_eq!(order.latest(), 101);
        assert_eq!(Order::new(9, 1 << 30).add(1 << 30, 8), Some(9), "earlier than the older files");
    }
}
