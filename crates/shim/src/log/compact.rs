//! The lines of the `local` driver: a short head and the bytes as they came.
//!
//! ```text
//! o 1795232587.500000000 what the program wrote\n
//! │ │                    └ the bytes, which hold no end of line
//! │ └ seconds since 1970 and nine digits of nanoseconds; parts of one line have the time of the first
//! └ o: standard output, e: standard error; O, E: the line goes on in a later entry, or never ended
//! ```
//!
//! It is a third of what JSON takes, needs no escaping, and keeps every byte. As each entry is one line of the file,
//! everything that finds places in a log works on it as well. (Docker's own `local` files are an internal format that
//! is subject to change; nothing but the engine reads them.)

use super::Stream;
use super::line::Entry;
use super::split::Piece;
use crate::timestamp::Timestamp;

/// Bytes of the longest head: letter, space, time, space.
const LONGEST_HEAD: usize = 40;

/// Appends one piece as a line.
pub(super) fn append(stream: Stream, piece: &Piece<'_>, out: &mut Vec<u8>) {
    let letter = match (stream, piece.ends_line) {
        (Stream::Stdout, true) => 'o',
        (Stream::Stdout, false) => 'O',
        (Stream::Stderr, true) => 'e',
        (Stream::Stderr, false) => 'E',
    };
    let head = format!("{letter} {}.{:09} ", piece.time.seconds(), piece.time.nanoseconds());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(piece.bytes);
    out.push(b'\n');
}

/// What the head says: stream, whether the line ends, time, and where the bytes begin.
fn head(line: &[u8]) -> Option<(Stream, bool, Timestamp, usize)> {
    let (stream, ends_line) = match line.first()? {
        b'o' => (Stream::Stdout, true),
        b'O' => (Stream::Stdout, false),
        b'e' => (Stream::Stderr, true),
        b'E' => (Stream::Stderr, false),
        _ => return None,
    };
    let rest = line.get(1..line.len().min(LONGEST_HEAD))?.strip_prefix(b" ")?;
    let length = rest.iter().position(|byte| *byte == b' ')?;
    let (seconds, fraction) = std::str::from_utf8(&rest[..length]).ok()?.split_once('.')?;
    let fraction = fraction.parse().ok().filter(|_| fraction.len() == 9)?;
    Some((stream, ends_line, Timestamp::new(seconds.parse().ok()?, fraction), length + 3))
}

/// What a line says; `None` for one that is torn.
pub(super) fn decode(line: &[u8]) -> Option<Entry> {
    let (stream, ends_line, time, start) = head(line)?;
    let mut bytes = line[start..].to_vec();
    if ends_line {
        bytes.push(b'\n');
    }
    Some(Entry { time, stream, bytes, attrs: Vec::new(), begins_line: true, ends_line })
}

/// The time of a line.
pub(super) fn time(line: &[u8]) -> Option<Timestamp> {
    head(line).map(|(_, _, time, _)| time)
}

/// Whether a line of the file ends a line of output; a torn one does.
pub(super) fn ends_output_line(line: &[u8]) -> bool {
    !matches!(line.first(), Some(b'O' | b'E'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (stream, bytes, ends_line) in [
            (Stream::Stdout, &b"plain"[..], true),
            (Stream::Stderr, b"", true),
            (Stream::Stdout, b"a part \xff\0 of", false),
            (Stream::Stderr, b" o 1.000000000 x", false),
        ] {
            let time = Timestamp::new(1_795_232_587, 5);
            let mut line = Vec::new();
            append(stream, &Piece { bytes, ends_line, time }, &mut line);
            assert_eq!(line.pop(), Some(b'\n'));
            let mut expected = bytes.to_vec();
            expected.extend(ends_line.then_some(b'\n'));
            let entry =
                Entry { time, stream, bytes: expected, attrs: Vec::new(), begins_line: true, ends_line };
            assert_eq!(decode(&line), Some(entry));
            assert_eq!((super::time(&line), ends_output_line(&line)), (Some(time), ends_line));
        }
    }

    #[test]
    fn torn_heads_are_no_entries() {
        for text in ["", "o", "o ", "o 12", "o 12.5 x", "x 1.000000000 y", "o 1.000000000", "o -.000000000 x"]
        {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
