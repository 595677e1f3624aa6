//! What a driver is given: the container, a line of it; and what it makes of them.

use std::collections::BTreeMap;

use timestamp::Timestamp;

/// What is the same for every line of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// 64 hexadecimal digits.
    pub container_id: String,
    /// Without the leading slash.
    pub container_name: String,
    /// Digest of the image.
    pub image_id: String,
    /// The image as the user wrote it.
    pub image_name: String,
    /// The program and its arguments.
    pub command: String,
    /// When the container was made, in RFC 3339.
    pub created: String,
    /// The machine.
    pub host: String,
    /// The tag, with its template filled in.
    pub tag: String,
    /// Chosen labels and variables.
    pub attributes: BTreeMap<String, String>,
    /// The process that sends.
    pub pid: u32,
    /// Seconds by which the local time is ahead of UTC.
    pub utc_offset: i32,
}

impl About {
    /// The first twelve digits of the identifier.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.container_id.get(..12).unwrap_or(&self.container_id)
    }
}

/// A line, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// When it was written.
    pub time: Timestamp,
    /// It was written to standard error.
    pub stderr: bool,
    /// Without its end.
    pub line: &'a [u8],
    /// Where it belongs, when it is no whole line.
    pub partial: Option<Partial>,
}

impl Message<'_> {
    /// Docker's name of the stream.
    #[must_use]
    pub fn source(&self) -> &'static str {
        if self.stderr { "stderr" } else { "stdout" }
    }

    /// Severity in syslog's numbers: 3 (error) or 6 (informational).
    #[must_use]
    pub fn severity(&self) -> u8 {
        if self.stderr { 3 } else { 6 }
    }

    /// The line as text: what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.line)
    }
}

/// Which part of which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// The same for all parts of a line: 64 hexadecimal digits.
    pub id: String,
    /// 1 for the first part.
    pub ordinal: u32,
    /// The line's end follows.
    pub last: bool,
}

impl Partial {
    /// The identifier of a line by what its parts share: the container, the stream and the time of the first part.
    #[must_use]
    pub fn id_of(container_id: &str, stderr: bool, time: Timestamp) -> String {
        let text = format!("{container_id} {stderr} {}", time.unix_nanos());
        (0..4_u64).map(|seed| format!("{:016x}", fingerprint(seed, text.as_bytes()))).collect()
    }
}

/// FNV-1a: tells things apart, nothing more.
pub(crate) fn fingerprint(seed: u64, bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What goes to the collector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wire {
    /// The bytes of a stream, or of all datagrams one after the other.
    pub bytes: Vec<u8>,
    /// Where each datagram ends.
    pub ends: Vec<usize>,
    /// What the collector has to acknowledge, in this order.
    pub acks: Vec<String>,
}

impl Wire {
    /// Ends a datagram with what has been added since the last one.
    pub(crate) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// The datagrams.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// Takes everything away.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.acks.clear();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Driver, Options};

    pub(crate) fn about() -> About {
        About {
            container_id: "0123456789abcdef".repeat(4),
            container_name: "foo".into(),
            image_id: "sha256:00".into(),
            image_name: "busybox".into(),
            command: "sh -c true".into(),
            created: "2026-11-21T13:22:41.267689621Z".into(),
            host: "vm".into(),
            tag: "0123456789ab".into(),
            attributes: [("a.b".to_owned(), "1".to_owned()), ("COLOR".to_owned(), "red".to_owned())].into(),
            pid: 77,
            utc_offset: 0,
        }
    }

    pub(crate) fn out(line: &[u8]) -> Message<'_> {
        // 2026-11-21T13:22:40.762578123Z
        let time = Timestamp::new(1_795_267_360, 762_578_123);
        Message { time, stderr: false, line, partial: None }
    }

    pub(crate) fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    pub(crate) fn refusal(driver: &str, pairs: &[(&str, &str)]) -> String {
        Driver::parse(driver, &options(pairs)).map_or_else(|error| error.0, |found| format!("{found:?}"))
    }

    #[test]
    fn the_parts_of_a_line_share_an_identifier() {
        let id = |stderr: bool, second: i64| Partial::id_of("c", stderr, Timestamp::new(second, 0));
        assert_eq!(id(false, 1), id(false, 1));
        assert_eq!(id(false, 1).len(), 64);
        assert!(id(false, 1) != id(true, 1) && id(false, 1) != id(false, 2));
    }
}
