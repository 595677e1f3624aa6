//! Fluentd's forward protocol, version 1, in its message mode: `[tag, time, record, option]` as MessagePack.

use std::time::Duration;

use crate::option::{boolean, duration, given, known, number};
use crate::target::{Target, Tls, parse};
use crate::{About, Error, Message, Options, Partial, Wire, msgpack};

const HOST: &str = "127.0.0.1";
const PORT: u16 = 24224;

/// The driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fluentd {
    pub(crate) target: Target,
    sub_second: bool,
    /// Every message has to be acknowledged.
    pub request_ack: bool,
    /// How long to wait before the first new attempt.
    pub retry_wait: Duration,
    /// Attempts before what could not be sent is given up; `None`: no end.
    pub max_retries: Option<u64>,
    /// How long a write may take.
    pub write_timeout: Option<Duration>,
    /// How long an acknowledgement may take.
    pub read_timeout: Option<Duration>,
    /// How long a connection is used.
    pub reconnect_interval: Option<Duration>,
}

impl Fluentd {
    pub(crate) fn parse(options: &Options) -> Result<Self, Error> {
        let own = [
            "fluentd-address",
            "fluentd-async",
            "fluentd-async-connect",
            "fluentd-async-reconnect-interval",
            "fluentd-buffer-limit",
            "fluentd-max-retries",
            "fluentd-read-timeout",
            "fluentd-request-ack",
            "fluentd-retry-wait",
            "fluentd-sub-second-precision",
            "fluentd-write-timeout",
        ];
        known("fluentd", options, &own)?;
        let address = given(options, "fluentd-address").unwrap_or_default();
        let target = target(address)
            .map_err(|error| Error::new(format!("invalid fluentd-address ({address}): {error}")))?;
        // The log on the disk is the buffer, and it never makes the program wait: both are so whatever they say.
        if let Some(size) = given(options, "fluentd-buffer-limit") {
            check_size(size)?;
        }
        if given(options, "fluentd-async").is_some() && given(options, "fluentd-async-connect").is_some() {
            return Err(Error::new(
                "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect'",
            ));
        }
        boolean(options, "fluentd-async")?;
        boolean(options, "fluentd-async-connect")?;
        let reconnect_interval = duration(options, "fluentd-async-reconnect-interval")?;
        let is_short =
            |wait: &Duration| !(Duration::from_millis(100)..=Duration::from_secs(10)).contains(wait);
        if reconnect_interval.as_ref().is_some_and(is_short) {
            return Err(Error::new(
                "invalid fluentd-async-reconnect-interval: value should be a duration between 100ms and 10s",
            ));
        }
        Ok(Self {
            target,
            sub_second: boolean(options, "fluentd-sub-second-precision")?.unwrap_or(false),
            request_ack: boolean(options, "fluentd-request-ack")?.unwrap_or(false),
            retry_wait: duration(options, "fluentd-retry-wait")?.unwrap_or(Duration::from_secs(1)),
            max_retries: number(options, "fluentd-max-retries")?,
            write_timeout: duration(options, "fluentd-write-timeout")?,
            read_timeout: duration(options, "fluentd-read-timeout")?,
            reconnect_interval,
        })
    }

    pub(crate) fn encode(&self, about: &About, message: &Message<'_>, wire: &mut Wire) {
        let out = &mut wire.bytes;
        msgpack::array(4, out);
        msgpack::string(about.tag.as_bytes(), out);
        match self.sub_second {
            true => msgpack::event_time(message.time.seconds(), message.time.nanoseconds(), out),
            false => msgpack::seconds(message.time.seconds(), out),
        }
        let name = format!("/{}", about.container_name);
        let mut record: Vec<(&str, Vec<u8>)> = vec![
            ("container_id", about.container_id.clone().into()),
            ("container_name", name.into()),
            ("source", message.source().into()),
            ("log", message.line.to_vec()),
        ];
        record.extend(about.attributes.iter().map(|(key, value)| (key.as_str(), value.clone().into())));
        if let Some(Partial { id, ordinal, last }) = &message.partial {
            record.push(("partial_message", "true".into()));
            record.push(("partial_id", id.clone().into()));
            record.push(("partial_ordinal", ordinal.to_string().into()));
            record.push(("partial_last", last.to_string().into()));
        }
        msgpack::map(record.len(), out);
        for (key, value) in &record {
            msgpack::string(key.as_bytes(), out);
            msgpack::string(value, out);
        }
        if !self.request_ack {
            return msgpack::map(0, out);
        }
        let place = format!("{} {} {}", about.container_id, message.time, wire.acks.len());
        let chunk = format!("{:016x}", crate::message::fingerprint(0, place.as_bytes()));
        msgpack::map(1, out);
        msgpack::string(b"chunk", out);
        msgpack::string(chunk.as_bytes(), out);
        wire.acks.push(chunk);
    }
}

/// The chunk that the collector's answer at the beginning of `bytes` acknowledges, and how long the answer is; `None`
/// while it is not all there.
///
/// # Errors
/// What is no such answer.
pub fn acknowledged(bytes: &[u8]) -> Result<Option<(String, usize)>, Error> {
    let broken =
        |reason: &str| Error::new(format!("the collector's acknowledgement cannot be read: {reason}"));
    let Some((ack, length)) = msgpack::read_map(bytes, b"ack").map_err(broken)? else { return Ok(None) };
    let ack = ack.ok_or_else(|| broken("it names no chunk"))?;
    Ok(Some((String::from_utf8_lossy(&ack).into_owned(), length)))
}

fn target(address: &str) -> Result<Target, Error> {
    if address.is_empty() {
        return Ok(Target::Tcp(HOST.to_owned(), PORT));
    }
    let full = if address.contains("://") { address.to_owned() } else { format!("tcp://{address}") };
    let parsed = parse(&full)?;
    if parsed.scheme == "unix" {
        return match parsed.path.trim_start_matches('/') {
            "" => Err(Error::new("path is empty")),
            _ => Ok(Target::Unix(parsed.path.into())),
        };
    }
    if !matches!(parsed.scheme, "tcp" | "tls") {
        return Err(Error::new(format!("unsupported scheme: '{}'", parsed.scheme)));
    }
    if !parsed.path.is_empty() {
        return Err(Error::new("should not contain a path element"));
    }
    let host = if parsed.host.is_empty() { HOST } else { parsed.host };
    let (host, port) = (host.to_owned(), parsed.port.unwrap_or(PORT));
    Ok(match parsed.scheme {
        "tls" => Target::Tls(host, port, Tls::default()),
        _ => Target::Tcp(host, port),
    })
}

fn check_size(text: &str) -> Result<(), Error> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let is_unit = |unit: &str| {
        matches!(unit.trim_end_matches('b').trim_end_matches('i'), "" | "k" | "m" | "g" | "t" | "p")
    };
    let unit = lower.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    if number.parse::<f64>().is_ok_and(|value| value >= 0.0) && is_unit(unit) {
        return Ok(());
    }
    Err(Error::new(format!("invalid size: '{text}'")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Driver;
    use crate::message::tests::{about, options, out, refusal};

    fn sent(pairs: &[(&str, &str)], message: &Message<'_>) -> (Vec<u8>, Vec<String>) {
        let driver = Driver::parse("fluentd", &options(pairs)).unwrap().unwrap();
        let mut wire = Wire::default();
        driver.encode(&about(), message, &mut wire);
        (wire.bytes, wire.acks)
    }

    /// What Docker's driver sent for the same, with the keys in our order.
    fn expected(time: &[u8], middle: &[u8], option: &[u8]) -> Vec<u8> {
        let id = "0123456789abcdef".repeat(4);
        let fields = [
            b"\xaccontainer_id\xd9@".as_slice(),
            id.as_bytes(),
            b"\xaecontainer_name\xa4/foo\xa6source\xa6stdout\xa3log\xa1x",
            b"\xa5COLOR\xa3red\xa3a.b\xa11",
        ];
        [b"\x94\xac0123456789ab".as_slice(), time, &middle[..1], &fields.concat(), &middle[1..], option]
            .concat()
    }

    #[test]
    fn messages_are_those_of_docker() {
        let message = out(b"x");
        assert_eq!(sent(&[], &message).0, expected(b"\xd2\x6b\x01\x9b\x20", b"\x86", b"\x80"));
        let exact = sent(&[("fluentd-sub-second-precision", "true")], &message).0;
        assert_eq!(exact, expected(b"\xd7\0\x6b\x01\x9b\x20\x2d\x74\x04\xcb", b"\x86", b"\x80"));
        let partial = Some(Partial { id: "i".into(), ordinal: 2, last: false });
        let tail = b"\x8a\xafpartial_message\xa4true\xaapartial_id\xa1i\xafpartial_ordinal\xa12\xacpartial_last\xa5false";
        assert_eq!(
            sent(&[], &Message { partial, ..message.clone() }).0,
            expected(b"\xd2\x6b\x01\x9b\x20", tail, b"\x80")
        );
        let (bytes, acks) = sent(&[("fluentd-request-ack", "true")], &message);
        let option = [b"\x81\xa5chunk\xb0", acks[0].as_bytes()].concat();
        assert_eq!(bytes, expected(b"\xd2\x6b\x01\x9b\x20", b"\x86", &option));
        assert_eq!(acknowledged(b"\x81\xa3ack\xa2abrest"), Ok(Some(("ab".into(), 8))));
        assert_eq!(acknowledged(b"\x81\xa3ack\xd9"), Ok(None));
        assert!(acknowledged(b"\xc0").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        let syntax = |text: &str| format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
        let cases = [
            (
                "fluentd-address",
                "foo://a",
                "invalid fluentd-address (foo://a): unsupported scheme: 'foo'".into(),
            ),
            ("fluentd-address", "unix://", "invalid fluentd-address (unix://): path is empty".into()),
            (
                "fluentd-address",
                "tcp://a:1/b",
                "invalid fluentd-address (tcp://a:1/b): should not contain a path element".into(),
            ),
            ("fluentd-async", "foo", syntax("foo")),
            ("fluentd-request-ack", "foo", syntax("foo")),
            ("fluentd-sub-second-precision", "foo", syntax("foo")),
            ("fluentd-buffer-limit", "foo", "invalid size: 'foo'".into()),
            ("fluentd-max-retries", "foo", "strconv.ParseUint: parsing \"foo\": invalid syntax".into()),
            ("fluentd-retry-wait", "foo", "time: invalid duration \"foo\"".into()),
            (
                "fluentd-async-reconnect-interval",
                "1ms",
                "invalid fluentd-async-reconnect-interval: value should be a duration between 100ms and 10s"
                    .into(),
            ),
            ("foo", "bar", "unknown log opt 'foo' for fluentd log driver".into()),
        ];
        for (key, value, words) in cases {
            assert_eq!(refusal("fluentd", &[(key, value)]), words);
        }
    }
}
