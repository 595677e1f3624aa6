//! GELF 1.1 (Graylog extended log format): compressed datagrams, in chunks when they are long, or JSON ended by NUL on TCP.
//!
//! ```text
//! datagram │ 1e 0f │ message id, 8 bytes │ number of the chunk │ how many chunks │ at most 1408 bytes │
//! ```

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Map, Value};

use crate::message::fingerprint;
use crate::option::{given, known};
use crate::target::{Target, parse};
use crate::{About, Error, Message, Options, Wire};

/// The longest datagram, and what of it a chunk's head takes.
const DATAGRAM: usize = 1420;
const HEAD: usize = 12;
/// More chunks than this no receiver puts together.
const MOST_CHUNKS: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compress {
    None,
    Gzip,
    Zlib,
}

/// The driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gelf {
    pub(crate) target: Target,
    compress: Compress,
    /// -1 (the library's own) to 9.
    level: i8,
    /// Attempts to connect anew before a batch is put back for longer; only TCP.
    pub max_reconnect: u32,
    /// How long to wait between them.
    pub reconnect_delay: Duration,
}

impl Gelf {
    pub(crate) fn parse(options: &Options) -> Result<Self, Error> {
        let target = target(given(options, "gelf-address").unwrap_or_default())?;
        let is_udp = matches!(target, Target::Udp(..));
        let own = [
            "gelf-address",
            "gelf-compression-type",
            "gelf-compression-level",
            "gelf-tcp-max-reconnect",
            "gelf-tcp-reconnect-delay",
        ];
        known("gelf", options, &own)?;
        let compression = |key: &str| match options.get(key) {
            Some(_) if !is_udp => Err(Error::new("compression is only supported on UDP")),
            value => Ok(value),
        };
        let unknown = |key: &str, value: &str| {
            Error::new(format!("unknown value {value:?} for log opt {key:?} for gelf log driver"))
        };
        let level = match compression("gelf-compression-level")? {
            None => 1,
            Some(text) => text
                .parse()
                .ok()
                .filter(|level| (-1..=9).contains(level))
                .ok_or_else(|| unknown("gelf-compression-level", text))?,
        };
        let compress = match compression("gelf-compression-type")?.map(String::as_str) {
            None | Some("gzip") => Compress::Gzip,
            Some("zlib") => Compress::Zlib,
            Some("none") => Compress::None,
            Some(other) => return Err(unknown("gelf-compression-type", other)),
        };
        let tcp = |key: &str, usual: u32| match options.get(key) {
            None => Ok(usual),
            Some(_) if is_udp => Err(Error::new(format!("{key:?} is only valid for TCP"))),
            Some(text) => text
                .parse::<u32>()
                .ok()
                .filter(|value| *value <= 86_400)
                .ok_or_else(|| Error::new(format!("{key:?} must be a positive integer"))),
        };
        let max_reconnect = tcp("gelf-tcp-max-reconnect", 3)?;
        let reconnect_delay = Duration::from_secs(tcp("gelf-tcp-reconnect-delay", 1)?.into());
        Ok(Self { target, compress, level, max_reconnect, reconnect_delay })
    }

    /// Empty lines are not sent: the format has no empty message.
    pub(crate) fn encode(&self, about: &About, message: &Message<'_>, wire: &mut Wire) {
        if message.line.is_empty() {
            return;
        }
        let text = document(about, message).to_string();
        if !matches!(self.target, Target::Udp(..)) {
            wire.bytes.extend_from_slice(text.as_bytes());
            wire.bytes.push(0);
            return;
        }
        let bytes = self.compressed(text.as_bytes());
        if bytes.len() <= DATAGRAM {
            wire.bytes.extend_from_slice(&bytes);
            return wire.end();
        }
        let chunks: Vec<&[u8]> = bytes.chunks(DATAGRAM - HEAD).take(MOST_CHUNKS).collect();
        let count = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
        let place = u64::try_from(wire.bytes.len()).unwrap_or_default();
        let id = fingerprint(place, format!("{} {}", about.container_id, message.time).as_bytes());
        for (number, chunk) in (0..=u8::MAX).zip(chunks) {
            wire.bytes.extend_from_slice(&[0x1e, 0x0f]);
            wire.bytes.extend_from_slice(&id.to_be_bytes());
            wire.bytes.extend_from_slice(&[number, count]);
            wire.bytes.extend_from_slice(chunk);
            wire.end();
        }
    }

    fn compressed(&self, text: &[u8]) -> Vec<u8> {
        let level = u32::try_from(self.level).map_or_else(|_| Compression::default(), Compression::new);
        let done = match self.compress {
            Compress::None => return text.to_vec(),
            Compress::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(text).and_then(|()| encoder.finish())
            }
            Compress::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(text).and_then(|()| encoder.finish())
            }
        };
        // Writing to memory does not fail; if it did, what is not compressed is understood as well.
        done.unwrap_or_else(|_| text.to_vec())
    }
}

fn target(address: &str) -> Result<Target, Error> {
    if address.is_empty() {
        return Err(Error::new("gelf-address is a required parameter"));
    }
    let parsed = parse(address)?;
    if !matches!(parsed.scheme, "udp" | "tcp") {
        return Err(Error::new(format!("unsupported scheme: '{}'", parsed.scheme)));
    }
    let incomplete = || Error::new("gelf: please provide gelf-address as proto://host:port");
    let (host, port) = (parsed.host.to_owned(), parsed.port.ok_or_else(incomplete)?);
    Ok(if parsed.scheme == "udp" { Target::Udp(host, port) } else { Target::Tcp(host, port) })
}

fn document(about: &About, message: &Message<'_>) -> Value {
    let milliseconds = message.time.unix_nanos().div_euclid(1_000_000);
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    put("version", "1.1".into());
    put("host", about.host.as_str().into());
    put("short_message", message.text().into());
    // Whole numbers below 2^53 are exact.
    put("timestamp", (milliseconds as f64 / 1000.0).into());
    put("level", message.severity().into());
    for (key, value) in &about.attributes {
        put(&format!("_{key}"), value.as_str().into());
    }
    for (key, value) in [
        ("_command", &about.command),
        ("_container_id", &about.container_id),
        ("_container_name", &about.container_name),
        ("_created", &about.created),
        ("_image_id", &about.image_id),
        ("_image_name", &about.image_name),
        ("_tag", &about.tag),
    ] {
        put(key, value.as_str().into());
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Driver;
    use crate::message::tests::{about, options, out, refusal};

    const DOCUMENT: &str = concat!(
        r#"{"version":"1.1","host":"vm","short_message":"a <line>","timestamp":1795267360.762,"level":6,"#,
        r#""_COLOR":"red","_a.b":"1","_command":"sh -c true","_container_id":"0123456789abcdef0123456789abcdef"#,
        r#"0123456789abcdef0123456789abcdef","_container_name":"foo","_created":"2026-11-21T13:22:41.267689621Z","#,
        r#""_image_id":"sha256:00","_image_name":"busybox","_tag":"0123456789ab"}"#
    );

    fn sent(pairs: &[(&str, &str)], line: &[u8]) -> Wire {
        let driver = Driver::parse("gelf", &options(pairs)).unwrap().unwrap();
        let mut wire = Wire::default();
        driver.encode(&about(), &out(b""), &mut wire);
        driver.encode(&about(), &out(line), &mut wire);
        wire
    }

    #[test]
    fn documents_are_dockers() {
        let udp = ("gelf-address", "udp://h:1");
        let plain = sent(&[udp, ("gelf-compression-type", "none")], b"a <line>");
        assert_eq!(plain.datagrams().collect::<Vec<_>>(), [DOCUMENT.as_bytes()]);
        let stream = sent(&[("gelf-address", "tcp://h:1")], b"a <line>");
        assert_eq!(stream.bytes, [DOCUMENT.as_bytes(), b"\0"].concat());
        let read = |reader: &mut dyn std::io::Read| std::io::read_to_string(reader).unwrap();
        let gzip = sent(&[udp], b"a <line>").bytes;
        assert_eq!(read(&mut flate2::read::GzDecoder::new(gzip.as_slice())), DOCUMENT);
        let zlib = sent(&[udp, ("gelf-compression-type", "zlib")], b"a <line>").bytes;
        assert_eq!(read(&mut flate2::read::ZlibDecoder::new(zlib.as_slice())), DOCUMENT);
    }

    #[test]
    fn long_messages_are_chunked() {
        let line = vec![b'x'; 16 << 10];
        let pairs = [("gelf-address", "udp://h:1"), ("gelf-compression-type", "none")];
        let wire = sent(&pairs, &line);
        let mut joined = Vec::new();
        let count = u8::try_from(wire.ends.len()).unwrap();
        for (number, datagram) in (0..).zip(wire.datagrams()) {
            assert!(datagram.len() <= DATAGRAM);
            assert_eq!((&datagram[..2], &datagram[10..12]), (&[0x1e, 0x0f][..], &[number, count][..]));
            assert_eq!(datagram[2..10], wire.bytes[2..10]);
            joined.extend_from_slice(&datagram[HEAD..]);
        }
        let document: Value = serde_json::from_slice(&joined).unwrap();
        assert_eq!(document["short_message"].as_str().map(str::len), Some(16 << 10));
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        let udp = ("gelf-address", "udp://a:1");
        let tcp = ("gelf-address", "tcp://a:1");
        let unknown = |value: &str, key: &str| {
            format!("unknown value {value:?} for log opt {key:?} for gelf log driver")
        };
        let cases: Vec<(Vec<(&str, &str)>, String)> = vec![
            (vec![], "gelf-address is a required parameter".into()),
            (vec![("gelf-address", "http://a:1")], "unsupported scheme: 'http'".into()),
            (
                vec![("gelf-address", "udp://a")],
                "gelf: please provide gelf-address as proto://host:port".into(),
            ),
            (vec![udp, ("gelf-compression-type", "foo")], unknown("foo", "gelf-compression-type")),
            (vec![udp, ("gelf-compression-level", "10")], unknown("10", "gelf-compression-level")),
            (vec![tcp, ("gelf-compression-type", "gzip")], "compression is only supported on UDP".into()),
            (
                vec![udp, ("gelf-tcp-max-reconnect", "1")],
                "\"gelf-tcp-max-reconnect\" is only valid for TCP".into(),
            ),
            (
                vec![tcp, ("gelf-tcp-reconnect-delay", "x")],
                "\"gelf-tcp-reconnect-delay\" must be a positive integer".into(),
            ),
            (vec![udp, ("foo", "x")], "unknown log opt \"foo\" for gelf log driver".into()),
        ];
        for (pairs, words) in cases {
            assert_eq!(refusal("gelf", &pairs), words);
        }
    }
}
