//! `GET /containers/{id}/logs`: output from the log, framed unless the container has a terminal, or as JSON.

use api::frame::{self, Stream};
use api::media_type::{JSON_LINES, JSON_SEQ, NDJSON};
use api::time::Timestamp;
use bytes::Bytes;
use engine::container::logs::{self, LogEntry, LogOptions, Logs};

use serde_json::{Map, Value, json};

use super::Request;
use crate::server::accept;
use crate::server::body::{Body, BodySender};
use crate::server::failure::Failure;
use crate::server::router::Outcome;
use crate::server::serve::stopped;
use crate::server::{hijack, reply};

/// How lines are printed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Print {
    /// Each line begins with its time.
    pub(super) timestamps: bool,
    /// Each line has the labels and environment that the log keeps.
    pub(super) details: bool,
    /// The bytes are framed.
    pub(super) framed: bool,
    /// Each entry is a document of this media type.
    pub(super) json: Option<&'static str>,
}

pub(super) async fn logs(call: Request) -> Outcome {
    let options = options(&call)?;
    let json = json_type(&call)?;
    let Logs { mut entries, tty } = logs::logs(&call.state.engine, call.param("name"), options).await?;
    let (timestamps, details) = (call.query.flag("timestamps"), call.query.flag("details"));
    let print = Print { timestamps, details, framed: !tty, json };
    let content_type = json.unwrap_or_else(|| hijack::content_type(call.version, !tty));
    let (sender, body) = Body::channel();
    let mut stop = call.state.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = send_all(&mut entries, print, &sender) => {}
            () = call.presence.stops_sending() => {}
            () = stopped(&mut stop) => {}
        }
    });
    Ok(reply::stream(content_type, body))
}

/// The media type of documents, when the client wants them: it says `format=json`, or accepts one by name (since 1.54).
fn json_type(call: &Request) -> Result<Option<&'static str>, Failure> {
    if !call.is_at_least(54) {
        return Ok(None);
    }
    let accepted = accept::choose(call.header("accept"), &[JSON_LINES, NDJSON, JSON_SEQ]);
    match call.query.get("format") {
        "" => Ok(accepted),
        "json" => Ok(Some(accepted.unwrap_or(NDJSON))),
        _ => Err(Failure::invalid("unsupported log format")),
    }
}

fn options(call: &Request) -> Result<LogOptions, Failure> {
    let (stdout, stderr) = (call.query.flag("stdout"), call.query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Failure::invalid("Bad parameters: you must choose at least one stream"));
    }
    let nanos = |time: Timestamp| i64::try_from(time.unix_nanos()).ok();
    let until = call.query.time("until")?.filter(|until| *until != Timestamp::new(0, 0));
    // What is not a number means all, as in Docker; -1 does too.
    let tail = call.query.get("tail").parse::<u64>().ok();
    Ok(LogOptions {
        stdout,
        stderr,
        follow: call.query.flag("follow"),
        tail,
        since: call.query.time("since")?.and_then(nanos),
        until: until.and_then(nanos),
    })
}

type Entries = tokio::sync::mpsc::Receiver<engine::Result<Vec<LogEntry>>>;

/// Sends entries until there are no more or the client has gone. An error is told in the stream.
pub(super) async fn send_all(entries: &mut Entries, print: Print, sender: &BodySender) {
    while let Some(batch) = entries.recv().await {
        let mut bytes = Vec::new();
        match batch {
            Ok(batch) => batch.iter().for_each(|entry| print.append(entry, &mut bytes)),
            Err(error) => bytes.extend_from_slice(&print.error(&error.message)),
        }
        if sender.send(Ok(bytes.into())).await.is_err() {
            return;
        }
    }
}

impl Print {
    /// An entry as it goes to the client.
    pub(super) fn entry(self, entry: &LogEntry) -> Bytes {
        let mut bytes = Vec::with_capacity(entry.bytes.len() + frame::HEADER_LEN + 32);
        self.append(entry, &mut bytes);
        bytes.into()
    }

    /// Adds an entry to what goes to the client.
    fn append(self, entry: &LogEntry, bytes: &mut Vec<u8>) {
        if let Some(media_type) = self.json {
            return document(media_type, self.message(entry), bytes);
        }
        let mut prefix = Vec::new();
        if entry.begins_line {
            self.prefix(entry, &mut prefix);
        }
        if self.framed {
            let stream = if entry.stderr { Stream::Stderr } else { Stream::Stdout };
            // An entry holds 16 KiB and its prefix.
            let length = u32::try_from(prefix.len() + entry.bytes.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&frame::header(stream, length));
        }
        bytes.extend_from_slice(&prefix);
        bytes.extend_from_slice(&entry.bytes);
    }

    /// An error in the middle of the stream.
    fn error(self, message: &str) -> Bytes {
        if let Some(media_type) = self.json {
            let mut bytes = Vec::new();
            document(media_type, json!({ "Timestamp": api::time::ZERO, "Error": message }), &mut bytes);
            return bytes.into();
        }
        let line = format!("Error grabbing logs: {message}\n");
        if self.framed { frame::encode(Stream::System, line.as_bytes()).into() } else { line.into() }
    }

    /// An entry as a document.
    fn message(self, entry: &LogEntry) -> Value {
        let mut message = Map::new();
        let mut put = |key: &str, value: Value| drop(message.insert(key.to_owned(), value));
        if !entry.bytes.is_empty() {
            put("Line", String::from_utf8_lossy(&entry.bytes).into());
        }
        put("Source", if entry.stderr { "stderr" } else { "stdout" }.into());
        put("Timestamp", Timestamp::from_unix_nanos(i128::from(entry.at)).to_string().into());
        if self.details && !entry.attributes.is_empty() {
            let pairs = entry.attributes.iter().map(|(key, value)| json!({ "Key": key, "Value": value }));
            put("Attrs", pairs.collect());
        }
        Value::Object(message)
    }

    fn prefix(self, entry: &LogEntry, line: &mut Vec<u8>) {
        if self.timestamps {
            let time = Timestamp::from_unix_nanos(i128::from(entry.at));
            line.extend_from_slice(time.to_fixed().as_bytes());
            line.push(b' ');
        }
        if self.details {
            let pairs =
                entry.attributes.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
            line.extend_from_slice(pairs.collect::<Vec<_>>().join(",").as_bytes());
            line.push(b' ');
        }
    }
}

/// One document of a stream.
fn document(media_type: &str, value: Value, bytes: &mut Vec<u8>) {
    if media_type == JSON_SEQ {
        bytes.push(0x1e);
    }
    bytes.extend_from_slice(value.to_string().as_bytes());
    bytes.push(b'\n');
}

/// Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_printed() {
        let attributes = [("b".to_string(), "c d&".to_string()), ("a".to_string(), "1".to_string())];
        let mut entry = LogEntry {
            at: 1_500_000_000,
            stderr: true,
            bytes: b"hello\n".to_vec(),
            attributes: attributes.into(),
            begins_line: true,
        };
        let raw = Print::default();
        assert_eq!(raw.entry(&entry), "hello\n");
        assert_eq!(Print { framed: true, ..raw }.entry(&entry), "\x02\0\0\0\0\0\0\x06hello\n");
        let lines = Print { json: Some(NDJSON), ..raw };
        let document = r#"{"Line":"hello\n","Source":"stderr","Timestamp":"1970-01-01T00:00:01.5Z"}"#;
        assert_eq!(lines.entry(&entry), format!("{document}\n"));
        let attrs = r#","Attrs":[{"Key":"a","Value":"1"},{"Key":"b","Value":"c d&"}]}"#;
        let sequence = Print { json: Some(JSON_SEQ), details: true, ..raw };
        let expected = format!("\x1e{}{attrs}\n", document.trim_end_matches('}'));
        assert_eq!(sequence.entry(&entry), expected);
        assert_eq!(lines.error("gone"), "{\"Timestamp\":\"0001-01-01T00:00:00Z\",\"Error\":\"gone\"}\n");
        let long = Print { timestamps: true, details: true, ..raw };
        assert_eq!(long.entry(&entry), "1970-01-01T00:00:01.500000000Z a=1,b=c+d%26 hello\n");
        entry.begins_line = false;
        assert_eq!(long.entry(&entry), "hello\n");
        assert_eq!(
            Print { framed: true, ..raw }.error("gone"),
            "\x03\0\0\0\0\0\0\x1aError grabbing logs: gone\n"
        );
    }
}
