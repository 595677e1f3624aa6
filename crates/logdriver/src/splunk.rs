//! Splunk's HTTP event collector: a POST of JSON documents, one after the other.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use crate::option::{boolean, given, known};
use crate::target::{Target, Tls, parse};
use crate::{About, Error, Message, Options, Wire};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Inline,
    Json,
    Raw,
}

/// The driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splunk {
    pub(crate) target: Target,
    /// What the request's `Host` says.
    host: String,
    token: String,
    source: String,
    source_type: String,
    index: String,
    format: Format,
    /// The level of compression, when there is one.
    gzip: Option<i8>,
    acknowledges: bool,
}

impl Splunk {
    pub(crate) fn parse(options: &Options) -> Result<Self, Error> {
        let own = [
            "splunk-url",
            "splunk-token",
            "splunk-source",
            "splunk-sourcetype",
            "splunk-index",
            "splunk-capath",
            "splunk-caname",
            "splunk-insecureskipverify",
            "splunk-format",
            "splunk-verify-connection",
            "splunk-gzip",
            "splunk-gzip-level",
            "splunk-index-acknowledgment",
        ];
        known("splunk", options, &own)?;
        let expected = |key: &str| {
            options.get(key).cloned().ok_or_else(|| Error::new(format!("splunk: {key} is expected")))
        };
        let (target, host) = target(&expected("splunk-url")?, options)?;
        let format = match options.get("splunk-format").map(String::as_str) {
            None | Some("inline") => Format::Inline,
            Some("json") => Format::Json,
            Some("raw") => Format::Raw,
            Some(other) => {
                return Err(Error::new(format!(
                    "Unknown format specified {other}, supported formats are inline, json and raw"
                )));
            }
        };
        boolean(options, "splunk-verify-connection")?;
        let gzip = boolean(options, "splunk-gzip")?.unwrap_or(false);
        let level = level(given(options, "splunk-gzip-level").unwrap_or("-1"))?;
        let text = |key: &str| given(options, key).unwrap_or_default().to_owned();
        Ok(Self {
            target,
            host,
            token: expected("splunk-token")?,
            source: text("splunk-source"),
            source_type: text("splunk-sourcetype"),
            index: text("splunk-index"),
            format,
            gzip: gzip.then_some(level),
            acknowledges: boolean(options, "splunk-index-acknowledgment")?.unwrap_or(false),
        })
    }

    pub(crate) fn encode(&self, about: &About, message: &Message<'_>, wire: &mut Wire) {
        // The collector refuses a whole request for one event of white space.
        if self.format == Format::Raw && message.line.trim_ascii().is_empty() {
            return;
        }
        let mut document = Map::new();
        let mut put = |key: &str, value: Value| drop(document.insert(key.to_owned(), value));
        put("event", self.event(about, message));
        let microseconds = message.time.nanoseconds() / 1000;
        put("time", format!("{}.{microseconds:06}", message.time.seconds()).into());
        put("host", about.host.as_str().into());
        for (key, value) in
            [("source", &self.source), ("sourcetype", &self.source_type), ("index", &self.index)]
        {
            if !value.is_empty() {
                put(key, value.as_str().into());
            }
        }
        wire.bytes.extend_from_slice(Value::Object(document).to_string().as_bytes());
    }

    fn event(&self, about: &About, message: &Message<'_>) -> Value {
        if self.format == Format::Raw {
            let mut text = String::new();
            if !about.tag.is_empty() {
                text.push_str(&format!("{} ", about.tag));
            }
            for (key, value) in &about.attributes {
                text.push_str(&format!("{key}={value} "));
            }
            return (text + &message.text()).into();
        }
        let parsed = match self.format {
            Format::Json => serde_json::from_slice(message.line).ok(),
            _ => None,
        };
        let line = parsed.unwrap_or_else(|| message.text().into());
        let mut event =
            Map::from_iter([("line".to_owned(), line), ("source".to_owned(), message.source().into())]);
        if !about.tag.is_empty() {
            event.insert("tag".to_owned(), about.tag.as_str().into());
        }
        if !about.attributes.is_empty() {
            event.insert("attrs".to_owned(), json!(about.attributes));
        }
        Value::Object(event)
    }

    /// The request that carries these documents.
    #[must_use]
    pub fn request(&self, documents: &[u8], channel: &str) -> Vec<u8> {
        let compressed = self.gzip.and_then(|level| {
            let level = u32::try_from(level).map_or_else(|_| Compression::default(), Compression::new);
            let mut encoder = GzEncoder::new(Vec::new(), level);
            // Writing to memory does not fail; if it did, the documents go as they are.
            encoder.write_all(documents).and_then(|()| encoder.finish()).ok()
        });
        let body = compressed.as_deref().unwrap_or(documents);
        let mut head = format!(
            "POST /services/collector/event/1.0 HTTP/1.1\r\nHost: {}\r\nUser-Agent: berth\r\n\
             Content-Length: {}\r\nAuthorization: Splunk {}\r\n",
            self.host,
            body.len(),
            self.token
        );
        if compressed.is_some() {
            head.push_str("Content-Encoding: gzip\r\n");
        }
        if self.acknowledges {
            head.push_str(&format!("X-Splunk-Request-Channel: {channel}\r\n"));
        }
        [head.as_bytes(), b"\r\n", body].concat()
    }
}

fn level(text: &str) -> Result<i8, Error> {
    let level: i64 = text
        .parse()
        .map_err(|_| Error::new(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))?;
    i8::try_from(level).ok().filter(|level| (-1..=9).contains(level)).ok_or_else(|| {
        Error::new(format!(
            "not supported level '{text}' for splunk-gzip-level (supported values between -1 and 9)"
        ))
    })
}

/// Where the collector is, and what it is called there.
fn target(url: &str, options: &Options) -> Result<(Target, String), Error> {
    let form = || Error::new("splunk: expected format scheme://dns_name_or_ip:port for splunk-url");
    let parsed = parse(url)
        .map_err(|_| Error::new(format!("splunk: failed to parse {url} as url value in splunk-url")))?;
    if !matches!(parsed.path, "" | "/") || parsed.host.is_empty() || url.contains('@') {
        return Err(form());
    }
    // What goes into the head of a request must not end it.
    let token = given(options, "splunk-token").unwrap_or_default();
    if token.chars().chain(parsed.host.chars()).any(|c| c.is_control()) {
        return Err(Error::new("splunk: splunk-url and splunk-token must not hold control characters"));
    }
    let shown = if parsed.host.contains(':') { format!("[{}]", parsed.host) } else { parsed.host.to_owned() };
    let named = parsed.port.map_or_else(|| shown.clone(), |port| format!("{shown}:{port}"));
    let host = parsed.host.to_owned();
    let target = match parsed.scheme {
        "http" => Target::Tcp(host, parsed.port.unwrap_or(80)),
        "https" => Target::Tls(host, parsed.port.unwrap_or(443), tls(options)?),
        _ => return Err(form()),
    };
    Ok((target, named))
}

fn tls(options: &Options) -> Result<Tls, Error> {
    Ok(Tls {
        authorities: given(options, "splunk-capath").map(Into::into),
        identity: None,
        skip_verify: boolean(options, "splunk-insecureskipverify")?.unwrap_or(false),
        server_name: given(options, "splunk-caname").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Driver;
    use crate::message::tests::{about, options, out, refusal};

    const URL: (&str, &str) = ("splunk-url", "https://h:8088");
    const TOKEN: (&str, &str) = ("splunk-token", "TOK");

    fn sent(more: &[(&str, &str)], line: &[u8]) -> String {
        let pairs = [&[URL, TOKEN], more].concat();
        let driver = Driver::parse("splunk", &options(&pairs)).unwrap().unwrap();
        let mut wire = Wire::default();
        driver.encode(&about(), &out(line), &mut wire);
        String::from_utf8(wire.bytes).unwrap()
    }

    #[test]
    fn documents_are_dockers() {
        assert_eq!(
            sent(&[], b"x"),
            r#"{"event":{"line":"x","source":"stdout","tag":"0123456789ab","attrs":{"COLOR":"red","a.b":"1"}},"time":"1795267360.762578","host":"vm"}"#
        );
        assert_eq!(
            sent(&[("splunk-format", "json"), ("splunk-index", "i")], b"{\"a\": 1}"),
            r#"{"event":{"line":{"a":1},"source":"stdout","tag":"0123456789ab","attrs":{"COLOR":"red","a.b":"1"}},"time":"1795267360.762578","host":"vm","index":"i"}"#
        );
        assert_eq!(
            sent(&[("splunk-format", "raw")], b"x"),
            r#"{"event":"0123456789ab COLOR=red a.b=1 x","time":"1795267360.762578","host":"vm"}"#
        );
        assert_eq!(sent(&[("splunk-format", "raw")], b" \t"), "");
    }

    #[test]
    fn requests_say_who_asks() {
        let Ok(Some(Driver::Splunk(splunk))) = Driver::parse("splunk", &options(&[URL, TOKEN])) else {
            panic!("a driver")
        };
        let text = String::from_utf8(splunk.request(b"{}", "c")).unwrap();
        assert_eq!(
            text,
            "POST /services/collector/event/1.0 HTTP/1.1\r\nHost: h:8088\r\nUser-Agent: berth\r\n\
             Content-Length: 2\r\nAuthorization: Splunk TOK\r\n\r\n{}"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        let form = "splunk: expected format scheme://dns_name_or_ip:port for splunk-url";
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[], "splunk: splunk-url is expected"),
            (&[URL], "splunk: splunk-token is expected"),
            (&[("splunk-url", "ftp://h"), TOKEN], form),
            (&[("splunk-url", "http://h/path"), TOKEN], form),
            (
                &[URL, TOKEN, ("splunk-format", "x")],
                "Unknown format specified x, supported formats are inline, json and raw",
            ),
            (
                &[URL, TOKEN, ("splunk-gzip-level", "10")],
                "not supported level '10' for splunk-gzip-level (supported values between -1 and 9)",
            ),
            (&[URL, TOKEN, ("foo", "1")], "unknown log opt 'foo' for splunk log driver"),
        ];
        for (pairs, words) in cases {
            assert_eq!(refusal("splunk", pairs), words);
        }
    }
}
