//! One line of the file, as bytes and as what it says.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{Stream, compact};
use crate::timestamp::Timestamp;

/// The longest line of the file that is understood: 16 KiB of output, each byte escaped, and attributes.
pub(super) const FILE_LINE_LIMIT: usize = 1024 * 1024;

/// What a container wrote: a line, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When; all parts of a line have the time of the first.
    pub time: Timestamp,
    /// Where.
    pub stream: Stream,
    /// The bytes, with the `\n` when the line ends here.
    pub bytes: Vec<u8>,
    /// Labels, environment and tag, in the order of the file.
    pub attrs: Vec<(String, String)>,
    /// Whether the line begins here: false for all but the first part.
    pub begins_line: bool,
    /// Whether the line ends here: false for all but the last part, and for output that ended without `\n`.
    pub ends_line: bool,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    attrs: Attrs,
}

/// A JSON object of strings in its own order.
#[derive(Default)]
struct Attrs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Attrs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Attrs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attrs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Attrs(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Each line tells its own format.
fn is_json(line: &[u8]) -> bool {
    line.first() == Some(&b'{')
}

/// What a line of the file says; `None` for one that is torn or was never ours. `begins_line` is left true.
pub(super) fn decode(line: &[u8]) -> Option<Entry> {
    if !is_json(line) {
        return compact::decode(line);
    }
    let fields: Fields<'_> = serde_json::from_slice(line).ok()?;
    let stream = Stream::ALL.into_iter().find(|stream| stream.name() == fields.stream)?;
    let time = Timestamp::parse(fields.time.as_bytes())?;
    let bytes = fields.log.into_owned().into_bytes();
    let ends_line = bytes.last() == Some(&b'\n');
    Some(Entry { time, stream, bytes, attrs: fields.attrs.0, begins_line: true, ends_line })
}

/// The time of a line of the file, without decoding its output; `None` for one that is torn.
pub(super) fn time(line: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Time<'a> {
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    if !is_json(line) {
        return compact::time(line);
    }
    // Written by us or by Docker, the time comes last: `,"time":"…"}`.
    let end = line.strip_suffix(b"\"}").map(|rest| &rest[rest.len().saturating_sub(64)..]);
    let quick = end.and_then(|end| {
        let key = b",\"time\":\"";
        let at = end.windows(key.len()).rposition(|window| window == key)?;
        Timestamp::parse(&end[at + key.len()..])
    });
    quick.or_else(|| Timestamp::parse(serde_json::from_slice::<Time<'_>>(line).ok()?.time.as_bytes()))
}

/// Whether a line of the file ends a line of output, judged without decoding it.
pub(super) fn ends_output_line(line: &[u8]) -> bool {
    if !is_json(line) {
        return compact::ends_output_line(line);
    }
    // Inside the string a quote has a backslash before it, so the first `","stream":` is the end of `log`.
    let end = b"\",\"stream\":";
    match line.windows(end.len()).position(|window| window == end) {
        Some(at) => ends_with_newline(&line[..at]),
        None => decode(line).is_none_or(|entry| entry.ends_line),
    }
}

/// Whether a JSON string, without its closing quote, ends with an escaped newline and not with `\\` and `n`.
fn ends_with_newline(text: &[u8]) -> bool {
    let Some(rest) = text.strip_suffix(b"n") else { return false };
    rest.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_docker_are_understood() {
        let line = br#"{"log":"a \u003cb\u003e \"c\"\n","stream":"stderr","attrs":{"z":"1","a":"2"},"time":"2026-11-21T03:43:07.5Z"}"#;
        let entry = decode(line).expect("an entry");
        let expected = Entry {
            time: Timestamp::new(1_795_232_587, 500_000_000),
            stream: Stream::Stderr,
            bytes: b"a <b> \"c\"\n".to_vec(),
            attrs: vec![("z".into(), "1".into()), ("a".into(), "2".into())],
            begins_line: true,
            ends_line: true,
        };
        assert_eq!(entry, expected);
        assert_eq!(time(line), Some(expected.time));
        assert!(ends_output_line(line));
    }

    #[test]
    fn the_end_of_a_line_is_told_from_what_looks_like_it() {
        let cases = [
            (r#"{"log":"a\n","stream":"stdout","time":"2026-11-21T03:43:07Z"}"#, true),
            (r#"{"log":"a","stream":"stdout","time":"2026-11-21T03:43:07Z"}"#, false),
            (r#"{"log":"a\\n","stream":"stdout","time":"2026-11-21T03:43:07Z"}"#, false),
            (r#"{"log":"a\\\n","stream":"stdout","time":"2026-11-21T03:43:07Z"}"#, true),
            (r#"{"log":"\",\"stream\":\n","stream":"stdout","time":"2026-11-21T03:43:07Z"}"#, true),
            (r#"{"stream":"stdout","time":"2026-11-21T03:43:07Z","log":"a"}"#, false),
        ];
        for (text, expected) in cases {
            assert_eq!(ends_output_line(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn torn_and_foreign_lines_are_no_entries() {
        for text in [
            "",
            "{",
            r#"{"log":"a"}"#,
            r#"{"log":"a","stream":"x","time":"2026-11-21T03:43:07Z"}"#,
            "[]",
            "\0",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(time(br#"{"log":"a","stream":"stdout","ti"#), None);
    }
}
