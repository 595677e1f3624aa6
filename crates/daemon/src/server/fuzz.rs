//! What reads the heads and targets of clients' requests, fed with mutated seeds.

use http::header::{ACCEPT_ENCODING, CONNECTION, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue};

use super::encoding::Encoding;
use super::legacy_hijack::{Verdict, judge};
use super::negotiate::Versions;
use super::query::Query;
use super::raw_target::escape;
use super::target::{Target, percent_decode};
use super::websocket;

#[test]
fn target() {
    let seeds =
        ["/v1.44/containers/json", "/images/a%2Fb%3a1/json", "//x//", "/v1.44", "/%e2%82%ac", "/a%2e%2e/%00"];
    fuzz::text("target", &seeds, |text| {
        let parsed = Target::parse(text);
        if let Ok(target) = &parsed {
            assert!(target.segments.iter().all(|segment| !segment.is_empty() && !segment.contains('/')));
            drop(Versions::default().negotiate(target.version.as_deref()));
            // Taken apart once more it is the same, unless it has escapes of its own or begins with what may be a version.
            let joined = format!("/v1.44/{}", target.segments.join("/"));
            if !target.segments.is_empty() && !joined.contains('%') {
                let again = Target::parse(&joined).map(|again| again.segments);
                assert_eq!(again.as_ref(), Ok(&target.segments));
            }
        }
        parsed
    });
}

#[test]
fn query() {
    let seeds = [
        "all=1&limit=7&size=true&filters=%7B%22label%22%3A%5B%22x%22%5D%7D",
        "since=1700000000.5&until=2026-11-21T00:00:00Z&a=+&b=%2B&c&=d&&e==",
        "t=-1&t=99999999999999999999&stdout=True&h=0&w=NaN",
        "platform=%7B%22os%22%3A%22linux%22%7D&names=a%3A1&names=b",
    ];
    fuzz::text("query", &seeds, |text| {
        let query = Query::parse(text)?;
        for name in ["all", "limit", "since", "until", "t", "h", "w", "filters", ""] {
            let values = query.all(name);
            assert_eq!(values.first().map_or("", String::as_str), query.get(name));
            assert_eq!(!values.is_empty(), query.contains(name));
            let _flag: (bool, bool) = (query.flag(name), query.flag_or(name, true));
            drop((query.number(name), query.time(name)));
        }
        query.filters().map(drop)
    });
}

#[test]
fn escapes() {
    let seeds = ["GET /j?filters={\"a\":[\"b c\"]} HTTP/1.1\r\nX: {\"}\r\n\r\n{\"", "GET /a|b", "\r\n\\^`"];
    fuzz::bytes("escapes", &seeds, |input| {
        let escaped = escape(input.to_vec());
        let behind = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len());
            bytes[end..].to_vec()
        };
        assert_eq!(behind(&escaped), behind(input), "more than the first line was changed");
        assert_eq!(escape(escaped.clone()), escaped, "what is escaped is escaped again");
        let decoded = |bytes: &[u8]| percent_decode(&String::from_utf8_lossy(bytes));
        // Undone, it is what came.
        if std::str::from_utf8(input).is_ok() {
            assert_eq!(decoded(&escaped).is_ok(), decoded(input).is_ok());
        }
        escaped.len() > input.len()
    });
}

#[test]
fn heads() {
    let seeds = [
        "POST /v1.24/containers/x/attach?stream=1 HTTP/1.1\r\nHost: h\r\n\r\nbytes",
        "POST /exec/x/start HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n",
        "POST /build HTTP/1.1\r\nContent-Length: 7\r\n\r\n",
        "GET /_ping HTTP/1.1\r\n\r\n",
    ];
    fuzz::bytes("heads", &seeds, |input| {
        let whole = judge(input);
        if let Verdict::Legacy(end) = whole {
            assert!(input[end..].starts_with(b"\r\n\r\n"));
        }
        // What is told of the beginning stays true of the rest.
        for cut in [input.len() / 2, input.len().saturating_sub(1)] {
            match judge(&input[..cut]) {
                Verdict::Unknown => {}
                early => assert_eq!(early, whole),
            }
        }
        matches!(whole, Verdict::Legacy(_))
    });
}

#[test]
fn headers() {
    let seeds = [
        "gzip;q=0.5, deflate",
        "*;q=1e3,gzip;q=NaN",
        "websocket, upgrade",
        "dGhlIHNhbXBsZSBub25jZQ==",
        "13",
        "eyJ1c2VybmFtZSI6ImEiLCJwYXNzd29yZCI6ImIifQ==",
    ];
    fuzz::text("headers", &seeds, |text| {
        let value = HeaderValue::from_str(text).map_err(|error| error.to_string())?;
        let text = value.to_str().map_err(|error| error.to_string())?;
        let chosen = Encoding::choose(text);
        let auth = api::registry::AuthConfig::from_header(text);
        let mut headers = HeaderMap::new();
        for name in [
            UPGRADE,
            CONNECTION,
            ACCEPT_ENCODING,
            HeaderName::from_static("sec-websocket-key"),
            HeaderName::from_static("sec-websocket-version"),
        ] {
            headers.insert(name, value.clone());
        }
        let opened = websocket::accept(&headers).map(drop).map_err(|failure| failure.message);
        opened.map_err(|words| format!("{words}, {}, {}", chosen.word(), auth.username.is_empty()))
    });
}
