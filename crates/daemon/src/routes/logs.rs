//! `GET /containers/{id}/logs`: output from the log, framed unless the container has a terminal.

use api::frame::{self, Stream};
use api::time::Timestamp;
use bytes::Bytes;
use engine::container::logs::{self, LogEntry, LogOptions, Logs};

use super::Request;
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
}

pub(super) async fn logs(call: Request) -> Outcome {
    let options = options(&call)?;
    let Logs { mut entries, tty } = logs::logs(&call.state.engine, call.param("name"), options).await?;
    let (timestamps, details) = (call.query.flag("timestamps"), call.query.flag("details"));
    let print = Print { timestamps, details, framed: !tty };
    let content_type = hijack::content_type(call.version, !tty);
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

fn options(call: &Request) -> Result<LogOptions, Failure> {
    let (stdout, stderr) = (call.query.flag("stdout"), call.query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Failure::invalid("Bad parameters: you must choose at least one stream"));
    }
    if call.is_at_least(54) && !call.query.get("format").is_empty() {
        return Err(Failure::not_implemented("the format of logs"));
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
        let line = format!("Error grabbing logs: {message}\n");
        if self.framed { frame::encode(Stream::System, line.as_bytes()).into() } else { line.into() }
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
        let long = Print { timestamps: true, details: true, framed: false };
        assert_eq!(long.entry(&entry), "1970-01-01T00:00:01.500000000Z a=1,b=c+d%26 hello\n");
        entry.begins_line = false;
        assert_eq!(long.entry(&entry), "hello\n");
        assert_eq!(
            Print { framed: true, ..raw }.error("gone"),
            "\x03\0\0\0\0\0\0\x1aError grabbing logs: gone\n"
        );
    }
}
