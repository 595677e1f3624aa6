//! What is still to be sent of a container's log, and up to where it has been.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use logdriver::{Message, Partial};
use serde::{Deserialize, Serialize};
use shim::log::{Entry, Position, Query, Reader, Stream};
use shim::timestamp::Timestamp;

use crate::{Error, Result};

/// Lines and bytes that are sent at a time.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Entries that are read at a time, so that other tasks get their turn.
const AT_ONCE: usize = 4096;
/// Bytes of a saved place that are read.
const LONGEST_PLACE: usize = 4096;

/// Up to where a log has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    position: Position,
    /// For each stream, the parts that have been sent of a line which goes on.
    parts: [u32; 2],
}

/// A line that is to be sent.
#[derive(Debug)]
pub(super) struct Line {
    time: Timestamp,
    stderr: bool,
    bytes: Vec<u8>,
    partial: Option<Partial>,
    place: Option<Place>,
}

impl Line {
    pub(super) fn message(&self) -> Message<'_> {
        Message { time: self.time, stderr: self.stderr, line: &self.bytes, partial: self.partial.clone() }
    }
}

/// Reads a log in order.
pub(super) struct Lines {
    container_id: String,
    reader: Reader,
    saved: PathBuf,
    waiting: VecDeque<Line>,
    bytes: usize,
    /// In the mode `non-blocking`: more bytes than these do not wait; what comes then is not sent.
    limit: Option<u64>,
    /// Lines that were not sent for that reason, since [`Self::take_dropped`].
    dropped: u64,
    parts: [u32; 2],
}

impl Lines {
    /// Opens the log at `path` where it has not been sent yet.
    pub(super) fn open(container_id: &str, path: &Path, saved: PathBuf, limit: Option<u64>) -> Result<Self> {
        let place = read_place(&saved)?;
        let broken = |error: shim::log::Error| Error::system(format!("read the log: {error}"));
        let (reader, parts) = match place {
            None => (Reader::open(path, &Query::default()).map_err(broken)?, [0; 2]),
            Some(place) => {
                let (reader, found) = Reader::resume(path, place.position).map_err(broken)?;
                if !found {
                    tracing::warn!(
                        container = crate::id::short(container_id),
                        "lines that were not sent yet have been rotated away"
                    );
                }
                (reader, place.parts)
            }
        };
        let container_id = container_id.to_owned();
        Ok(Self { container_id, reader, saved, waiting: VecDeque::new(), bytes: 0, limit, dropped: 0, parts })
    }

    /// Reads a batch.
    pub(super) fn fill(&mut self) -> Result<()> {
        while !self.is_batch() && self.read_one()? {}
        Ok(())
    }

    /// Reads on while nothing can be sent; what there is no room for is dropped. `true` when there is more to read now.
    pub(super) fn read_on(&mut self) -> Result<bool> {
        for _ in 0..AT_ONCE {
            if !self.read_one()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads an entry; `false` when there is none now.
    fn read_one(&mut self) -> Result<bool> {
        let entry = self.reader.read();
        let entry = entry.map_err(|error| Error::system(format!("read the log: {error}")))?;
        let Some(entry) = entry else { return Ok(false) };
        if let Some(lost) = self.reader.take_lost() {
            let container = crate::id::short(&self.container_id);
            tracing::warn!(
                container,
                lines = lost.lines,
                uncounted = lost.uncounted,
                "lines that were not sent yet have been rotated away"
            );
        }
        let line = self.line(entry);
        let bytes = self.bytes + line.bytes.len();
        if self.limit.is_some_and(|limit| !self.waiting.is_empty() && bytes as u64 > limit) {
            self.dropped += 1;
        } else {
            self.bytes = bytes;
            self.waiting.push_back(line);
        }
        Ok(true)
    }

    fn is_batch(&self) -> bool {
        let most = self
            .limit
            .map_or(BATCH_BYTES, |limit| BATCH_BYTES.min(usize::try_from(limit).unwrap_or(usize::MAX)));
        self.waiting.len() >= BATCH || self.bytes >= most
    }

    fn line(&mut self, entry: Entry) -> Line {
        let stderr = entry.stream == Stream::Stderr;
        let mut bytes = entry.bytes;
        if entry.ends_line && bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let parts = &mut self.parts[usize::from(stderr)];
        let partial = (*parts > 0 || !entry.ends_line).then(|| Partial {
            id: Partial::id_of(&self.container_id, stderr, entry.time),
            ordinal: *parts + 1,
            last: entry.ends_line,
        });
        *parts = if entry.ends_line { 0 } else { *parts + 1 };
        let place = self.reader.position().map(|position| Place { position, parts: self.parts });
        Line { time: entry.time, stderr, bytes, partial, place }
    }

    /// The lines that are sent next.
    pub(super) fn batch(&mut self) -> Vec<Line> {
        let mut bytes = 0;
        let fits = |line: &&Line| {
            let before = bytes;
            bytes += line.bytes.len();
            before < BATCH_BYTES
        };
        let count = self.waiting.iter().take(BATCH).take_while(fits).count();
        let batch: Vec<Line> = self.waiting.drain(..count).collect();
        self.bytes -= batch.iter().map(|line| line.bytes.len()).sum::<usize>();
        batch
    }

    /// How many lines have been left out since this was asked last.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Keeps all files open that are still to be read.
    pub(super) fn hold(&mut self) -> Result<()> {
        self.reader.hold().map_err(|error| Error::system(format!("hold the log: {error}")))
    }

    /// Remembers that a batch has been sent. A loss of power may forget that, and have it sent again.
    pub(super) fn save(&self, batch: &[Line]) -> Result<()> {
        let Some(place) = batch.iter().rev().find_map(|line| line.place) else { return Ok(()) };
        let text = serde_json::to_vec(&place).map_err(|error| Error::system(error.to_string()))?;
        let temporary = self.saved.with_extension("tmp");
        let written =
            std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &self.saved));
        written.map_err(|error| Error::system(format!("write {}: {error}", self.saved.display())))
    }
}

/// A saved place; `None` when there is none, or one that a loss of power has spoilt.
fn read_place(path: &Path) -> Result<Option<Place>> {
    match std::fs::read(path) {
        Ok(bytes) if bytes.len() <= LONGEST_PLACE => Ok(serde_json::from_slice(&bytes).ok()),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system(format!("read {}: {error}", path.display()))),
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
