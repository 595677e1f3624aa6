//! Output → lines of JSON in the log. Never fails and never waits for anybody: what cannot be written is counted.

use std::io;

use super::rotate::Rotating;
use super::split::{Piece, Splitter};
use super::{Error, LINE_LIMIT, Stream, compact, escape};
use crate::protocol::{Log, LogDriver, LogStatus};
use crate::timestamp::Timestamp;

/// Bytes of encoded lines after which they are written in the middle of a chunk.
const BATCH: usize = 256 * 1024;
/// The longest text of attributes that is repeated with every line.
const ATTRS_LIMIT: usize = 64 * 1024;

/// The writing end of one container's log.
pub struct Writer {
    file: Option<Rotating>,
    splitters: [Splitter; 2],
    encoder: Encoder,
    status: LogStatus,
}

impl Writer {
    /// Opens the log; what is in it already stays. [`LogDriver::None`] makes a writer that keeps nothing.
    pub fn open(log: &Log) -> Result<Self, Error> {
        let file = match log.driver {
            LogDriver::None => None,
            LogDriver::JsonFile | LogDriver::Local => {
                let file = Rotating::open(&log.path, log.max_size, log.max_file, log.compress);
                Some(file.map_err(Error::file("open", &log.path))?)
            }
            LogDriver::Unsupported => {
                return Err(Error::Settings("this shim writes json-file, local or none".into()));
            }
        };
        let attrs = encode_attrs(&log.attrs);
        if attrs.len() > ATTRS_LIMIT {
            let text =
                format!("labels and environment of {} bytes exceed the limit of {ATTRS_LIMIT}", attrs.len());
            return Err(Error::Settings(text));
        }
        let encoder =
            Encoder { batch: Vec::new(), compact: log.driver == LogDriver::Local, attrs, tail: None };
        Ok(Self { file, splitters: Default::default(), encoder, status: LogStatus::default() })
    }

    /// Logs the next bytes of a stream.
    pub fn append(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        let Some(file) = &mut self.file else { return };
        let (encoder, status) = (&mut self.encoder, &mut self.status);
        self.splitters[stream.index()].feed(bytes, now, |piece| put(file, encoder, status, stream, &piece));
        encoder.write(file, status);
    }

    /// Logs what is left of a line without an end: the stream is over.
    pub fn finish(&mut self, stream: Stream, now: Timestamp) {
        let Some(file) = &mut self.file else { return };
        let (encoder, status) = (&mut self.encoder, &mut self.status);
        self.splitters[stream.index()].finish(now, |piece| put(file, encoder, status, stream, &piece));
        encoder.write(file, status);
    }

    /// Does a little of what is not urgent (compressing); `false` when there is nothing left to do.
    pub fn work(&mut self) -> bool {
        match self.file.as_mut().map_or(Ok(false), Rotating::work) {
            Ok(more) => more,
            Err(error) => {
                note(&mut self.status, "compress", &error);
                false
            }
        }
    }

    /// Gives back the memory that is not needed while nothing is written.
    pub fn release(&mut self) {
        self.encoder.batch = Vec::new();
        self.encoder.tail = None;
        self.splitters.iter_mut().for_each(Splitter::release);
    }

    /// Ends the log; compressing that has begun is completed.
    pub fn close(mut self) -> LogStatus {
        while self.work() {}
        if let Some(file) = &mut self.file {
            file.end();
        }
        self.status
    }

    /// Lines lost so far, and why.
    #[must_use]
    pub fn status(&self) -> &LogStatus {
        &self.status
    }
}

/// Encodes one piece; begins a new file before it when the current one is full.
fn put(
    file: &mut Rotating,
    encoder: &mut Encoder,
    status: &mut LogStatus,
    stream: Stream,
    piece: &Piece<'_>,
) {
    if file.is_full_with(encoder.batch.len()) {
        encoder.write(file, status);
        if let Err(error) = file.rotate() {
            note(status, "rotate", &error);
        }
    }
    file.note(encoder.batch.len(), piece.time, piece.ends_line);
    encoder.encode(stream, piece);
    if encoder.batch.len() >= BATCH {
        encoder.write(file, status);
    }
}

fn note(status: &mut LogStatus, action: &str, error: &io::Error) {
    status.error = Some(format!("cannot {action} the log: {error}"));
}

/// Lines that are encoded and not yet written.
struct Encoder {
    batch: Vec<u8>,
    /// The lines are those of `local`.
    compact: bool,
    /// `,"attrs":{…}`, or nothing.
    attrs: Vec<u8>,
    /// What follows the output in the last line, which is the same for all lines that were read at once.
    tail: Option<(Stream, Timestamp, Vec<u8>)>,
}

impl Encoder {
    fn encode(&mut self, stream: Stream, piece: &Piece<'_>) {
        if self.batch.capacity() == 0 {
            self.batch.reserve(2 * LINE_LIMIT);
        }
        let batch = &mut self.batch;
        if self.compact {
            return compact::append(stream, piece, batch);
        }
        batch.extend_from_slice(b"{\"log\":\"");
        escape::append(piece.bytes, batch);
        batch.extend_from_slice(if piece.ends_line { b"\\n\",\"stream\":\"" } else { b"\",\"stream\":\"" });
        match &self.tail {
            Some((of, time, text)) if (*of, *time) == (stream, piece.time) => batch.extend_from_slice(text),
            _ => {
                let mut text = Vec::with_capacity(self.attrs.len() + 64);
                text.extend_from_slice(stream.name().as_bytes());
                text.push(b'"');
                text.extend_from_slice(&self.attrs);
                text.extend_from_slice(b",\"time\":\"");
                piece.time.append(&mut text);
                text.extend_from_slice(b"\"}\n");
                batch.extend_from_slice(&text);
                self.tail = Some((stream, piece.time, text));
            }
        }
    }

    /// Writes what is encoded, and counts what cannot be written.
    fn write(&mut self, file: &mut Rotating, status: &mut LogStatus) {
        if self.batch.is_empty() {
            return;
        }
        if let Err(short) = file.append(&self.batch) {
            status.lost_lines += short.lost_lines;
            note(status, "write", &short.error);
        }
        self.batch.clear();
    }
}

/// `,"attrs":{"a":"b"}` sorted by name, or nothing.
fn encode_attrs(attrs: &[(String, String)]) -> Vec<u8> {
    if attrs.is_empty() {
        return Vec::new();
    }
    let mut sorted: Vec<_> = attrs.iter().collect();
    sorted.sort();
    let mut text = b",\"attrs\":{".to_vec();
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        text.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        escape::append(name.as_bytes(), &mut text);
        text.extend_from_slice(b"\":\"");
        escape::append(value.as_bytes(), &mut text);
        text.push(b'"');
    }
    text.push(b'}');
    text
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
