//! Output in any pieces → lines of at most 16 KiB.

use super::{LINE_LIMIT, scan};
use crate::timestamp::Timestamp;

/// What has been read of the current line of one stream.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of a line whose end has not come, at most [`LINE_LIMIT`] bytes.
    begun: Vec<u8>,
    /// When the first part of the current line was handed on, if it is already in parts.
    parts_since: Option<Timestamp>,
}

/// A piece to be logged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The bytes, without the line's end.
    pub(super) bytes: &'a [u8],
    /// Whether the line ends here.
    pub(super) ends_line: bool,
    /// When it came; the parts of one line all have the time of the first.
    pub(super) time: Timestamp,
}

impl Splitter {
    /// Takes the next bytes of the stream and hands on every line, or part of a line, that is complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], now: Timestamp, mut take: impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            let room = LINE_LIMIT - self.begun.len();
            let window = &bytes[..bytes.len().min(room)];
            match scan::line_end(window) {
                Some(end) => {
                    let time = self.parts_since.take().unwrap_or(now);
                    if self.begun.is_empty() {
                        take(Piece { bytes: &bytes[..end], ends_line: true, time });
                    } else {
                        self.begun.extend_from_slice(&bytes[..end]);
                        take(Piece { bytes: &self.begun, ends_line: true, time });
                        self.begun.clear();
                    }
                    bytes = &bytes[end + 1..];
                }
                None if window.len() < room => {
                    self.begun.extend_from_slice(bytes);
                    return;
                }
                None => {
                    self.begun.extend_from_slice(&bytes[..room]);
                    bytes = &bytes[room..];
                    let time = *self.parts_since.get_or_insert(now);
                    let whole = whole_characters(&self.begun);
                    take(Piece { bytes: &self.begun[..whole], ends_line: false, time });
                    self.begun.drain(..whole);
                }
            }
        }
    }

    /// The stream has ended: hands on what is left of a line without an end.
    pub(super) fn finish(&mut self, now: Timestamp, mut take: impl FnMut(Piece<'_>)) {
        let time = self.parts_since.take().unwrap_or(now);
        if !self.begun.is_empty() {
            take(Piece { bytes: &self.begun, ends_line: false, time });
        }
        self.begun = Vec::new();
    }

    /// Gives memory back that holds nothing.
    pub(super) fn release(&mut self) {
        self.begun.shrink_to_fit();
    }
}

/// The length of `bytes` without a UTF-8 character that is cut at the end.
///
/// Docker cuts in the middle of characters, which turns both halves into U+FFFD; we keep the character whole.
fn whole_characters(bytes: &[u8]) -> usize {
    let Some(back) = bytes.iter().rev().take(4).position(|byte| byte & 0xc0 != 0x80) else {
        return bytes.len();
    };
    let start = bytes.len() - 1 - back;
    let needed = match bytes[start] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if start + needed > bytes.len() { start } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pieces = Vec<(Vec<u8>, bool, i64)>;

    fn split(chunks: &[&[u8]]) -> Pieces {
        let (mut splitter, mut pieces) = (Splitter::default(), Pieces::new());
        let mut moment = 0;
        let mut keep =
            |piece: Piece<'_>| pieces.push((piece.bytes.to_vec(), piece.ends_line, piece.time.seconds()));
        for chunk in chunks {
            moment += 1;
            splitter.feed(chunk, Timestamp::new(moment, 0), &mut keep);
        }
        splitter.finish(Timestamp::new(moment + 1, 0), &mut keep);
        pieces
    }

    #[test]
    fn lines_are_found_whatever_the_chunks() {
        let found = split(&[b"one\ntw", b"o\n", b"\nthr", b"ee"]);
        let expected: Pieces = [("one", true, 1), ("two", true, 2), ("", true, 3), ("three", false, 5)]
            .map(|(text, ends, time)| (text.as_bytes().to_vec(), ends, time))
            .to_vec();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_long_line_is_cut_at_16_kib_and_its_parts_share_one_time() {
        let line = vec![b'x'; LINE_LIMIT];
        let found = split(&[&line, b"y", &line, b"\n", &line, b"\n"]);
        let shape: Vec<_> = found.iter().map(|(bytes, ends, time)| (bytes.len(), *ends, *time)).collect();
        // As in Docker, a line of exactly the limit is cut before its end comes.
        let expected = [
            (LINE_LIMIT, false, 1),
            (LINE_LIMIT, false, 1),
            (1, true, 1),
            (LINE_LIMIT, false, 5),
            (0, true, 5),
        ];
        assert_eq!(shape, expected);
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        let mut line = vec![b'x'; LINE_LIMIT - 1];
        line.extend_from_slice("€ and on\n".as_bytes());
        let found = split(&[&line]);
        assert_eq!(found[0].0.len(), LINE_LIMIT - 1);
        assert_eq!(found[1].0, "€ and on".as_bytes());
    }

    #[test]
    fn random_chunks_give_back_the_same_bytes() {
        let mut random = crate::random::Random::from_clock("split");
        for _ in 0..60 {
            let bytes = random.bytes(120_000);
            let mut chunks = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (chunk, next) = rest.split_at(1 + random.below(rest.len().min(40_000)));
                chunks.push(chunk);
                rest = next;
            }
            let mut joined = Vec::new();
            for (piece, ends, _) in split(&chunks) {
                assert!(piece.len() <= LINE_LIMIT);
                joined.extend_from_slice(&piece);
                if ends {
                    joined.push(b'\n');
                }
            }
            assert!(joined == bytes);
        }
    }
}
