//! A container's output, read from its log on disk: the shim and the container are never asked.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use shim::log::{Follow, Lost, Query, Reader, Stream};
use shim::timestamp::Timestamp;
use tokio::io::Interest;
use tokio::sync::mpsc;

use super::launch::Places;
use super::registry::Handle;
use super::state::{Nanos, State};
use crate::descriptor;
use crate::engine::Engine;
use crate::{Error, Result};

/// Batches that may wait for a slow reader.
const AHEAD: usize = 8;
/// Entries and bytes that make a batch full.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Go on with what is written later, until the container ends.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only from this time.
    pub since: Option<Nanos>,
    /// Only up to this time.
    pub until: Option<Nanos>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When.
    pub at: Nanos,
    /// From standard error.
    pub stderr: bool,
    /// The bytes, with the line's end when it ends here.
    pub bytes: Vec<u8>,
    /// Labels and environment kept with each line.
    pub attributes: BTreeMap<String, String>,
    /// The line begins here: false for all but the first part of a long line.
    pub begins_line: bool,
}

/// An open log.
#[derive(Debug)]
pub struct Logs {
    /// Entries, oldest first, several at a time where there are several; the channel closes at the end.
    pub entries: mpsc::Receiver<Result<Vec<LogEntry>>>,
    /// Output is raw: the program has a terminal.
    pub tty: bool,
}

fn stamp(at: Nanos) -> Timestamp {
    let nanoseconds = u32::try_from(at.rem_euclid(1_000_000_000)).unwrap_or(0);
    Timestamp::new(at.div_euclid(1_000_000_000), nanoseconds)
}

fn broken(error: shim::log::Error) -> Error {
    Error::system(format!("read the log: {error}"))
}

/// Opens the log of a container.
pub async fn logs(engine: &Engine, reference: &str, options: LogOptions) -> Result<Logs> {
    if !options.stdout && !options.stderr {
        return Err(Error::invalid("You must choose at least one stream"));
    }
    let handle = engine.containers.find(reference)?;
    let record = handle.view().record.clone();
    if !super::logging::is_readable(&record.spec.log) {
        return Err(Error::not_implemented("configured logging driver does not support reading"));
    }
    let path = Places::of(engine, &record.id)
        .data_dir
        .join(super::logging::file_name(&record.id, &record.spec.log.driver));
    let query =
        Query { tail: options.tail, since: options.since.map(stamp), until: options.until.map(stamp) };
    let follow_on = options.follow;
    let state = &record.state;
    let has_ended = state.running().is_none() && state.ended().is_some_and(|ended| ended.started_at != 0);
    let name = crate::id::short(&record.id).to_owned();
    let open = move || {
        if has_ended && !path.exists() {
            tracing::warn!(container = name, path = %path.display(), "its log is gone: somebody removed the file");
        }
        if follow_on { Reader::open_to_follow(&path, &query) } else { Reader::open(&path, &query) }
    };
    let reader = crate::blocking(move || open().map_err(broken)).await?;
    let (sender, entries) = mpsc::channel(AHEAD);
    let tty = record.config.tty;
    tokio::spawn(async move {
        let ended = if options.follow {
            follow(reader, &handle, &options, &sender).await
        } else {
            read(reader, &options, &sender).await
        };
        if let Err(error) = ended {
            // A reader that has left needs no error.
            let _ = sender.send(Err(error)).await;
        }
    });
    Ok(Logs { entries, tty })
}

/// An entry in our words, when its stream is wanted.
fn wanted(entry: shim::log::Entry, options: &LogOptions) -> Option<LogEntry> {
    let stderr = entry.stream == Stream::Stderr;
    if if stderr { !options.stderr } else { !options.stdout } {
        return None;
    }
    Some(LogEntry {
        at: crate::shim_link::nanos(entry.time),
        stderr,
        bytes: entry.bytes,
        attributes: entry.attrs.into_iter().collect(),
        begins_line: entry.begins_line,
    })
}

/// What is said about lines that rotation removed before they could be read, where the next line comes: on the standard error,
/// when that is wanted.
fn told(lost: Lost, next: &shim::log::Entry, options: &LogOptions) -> Option<LogEntry> {
    let count = match lost {
        Lost { lines, uncounted: false } => lines.to_string(),
        Lost { lines: 0, .. } => "some".to_owned(),
        Lost { lines, .. } => format!("more than {lines}"),
    };
    tracing::warn!(lines = count, "a reader of a log was overtaken by its rotation");
    options.stderr.then(|| LogEntry {
        at: crate::shim_link::nanos(next.time),
        stderr: true,
        bytes: format!(
            "[{count} lines were removed by the rotation of this log before they could be read]\n"
        )
        .into_bytes(),
        attributes: BTreeMap::new(),
        begins_line: true,
    })
}

type Sender = mpsc::Sender<Result<Vec<LogEntry>>>;

/// Entries that are gathered: handing on each by itself would cost more than reading it.
#[derive(Default)]
struct Batch {
    entries: Vec<LogEntry>,
    bytes: usize,
}

impl Batch {
    /// Adds an entry; a full batch is handed out.
    fn add(&mut self, entry: LogEntry) -> Option<Vec<LogEntry>> {
        self.bytes += entry.bytes.len();
        self.entries.push(entry);
        if self.entries.len() < BATCH && self.bytes < BATCH_BYTES {
            return None;
        }
        self.take()
    }

    /// What has been gathered; `None` when it is nothing.
    fn take(&mut self) -> Option<Vec<LogEntry>> {
        self.bytes = 0;
        Some(std::mem::take(&mut self.entries)).filter(|entries| !entries.is_empty())
    }
}

async fn read(mut reader: Reader, options: &LogOptions, sender: &Sender) -> Result<()> {
    // Reading is from the page cache mostly; a batch at a time keeps the other tasks going.
    let options = options.clone();
    let sender = sender.clone();
    crate::blocking(move || {
        let mut batch = Batch::default();
        while let Some(entry) = reader.read().map_err(broken)? {
            let gap = reader.take_lost().and_then(|lost| told(lost, &entry, &options));
            for entry in gap.into_iter().chain(wanted(entry, &options)) {
                if batch.add(entry).is_some_and(|full| sender.blocking_send(Ok(full)).is_err()) {
                    return Ok(());
                }
            }
        }
        if let Some(rest) = batch.take() {
            // A reader that has left needs no more.
            let _ = sender.blocking_send(Ok(rest));
        }
        Ok(())
    })
    .await
}

/// Whether more output may come.
fn may_write(state: &State) -> bool {
    state.running().is_some() || matches!(state, State::Starting { .. } | State::Restarting { .. })
}

async fn follow(reader: Reader, handle: &Handle, options: &LogOptions, sender: &Sender) -> Result<()> {
    let follow = reader.follow().map_err(broken)?;
    let mut changes = descriptor::watch(Changes(follow), Interest::READABLE)
        .map_err(|error| Error::system(format!("watch the log: {error}")))?;
    let mut states = handle.watch();
    loop {
        // Asked before reading: what is written before the end of the container is read after it was seen.
        let over = !may_write(states.borrow_and_update().state());
        if !drain(&mut changes.get_mut().0, options, sender).await? || over || changes.get_ref().0.is_over() {
            return Ok(());
        }
        tokio::select! {
            ready = changes.readable() => {
                ready.map_err(|error| Error::system(format!("watch the log: {error}")))?.clear_ready();
            }
            changed = states.changed() => if changed.is_err() {
                drain(&mut changes.get_mut().0, options, sender).await?;
                return Ok(());
            },
            () = sender.closed() => return Ok(()),
        }
    }
}

/// A followed log as a descriptor that tokio can wait for.
struct Changes(Follow);

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Hands on what there is; `false` when the reader has left.
async fn drain(follow: &mut Follow, options: &LogOptions, sender: &Sender) -> Result<bool> {
    let mut batch = Batch::default();
    while let Some(entry) = follow.read().map_err(broken)? {
        let gap = follow.take_lost().and_then(|lost| told(lost, &entry, options));
        for entry in gap.into_iter().chain(wanted(entry, options)) {
            if let Some(full) = batch.add(entry)
                && sender.send(Ok(full)).await.is_err()
            {
                return Ok(false);
            }
        }
    }
    match batch.take() {
        Some(rest) => Ok(sender.send(Ok(rest)).await.is_ok()),
        None => Ok(true),
    }
}
