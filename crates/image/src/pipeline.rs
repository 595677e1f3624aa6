//! A stream on its way through threads: read and tap │ inflate and hash │ consume.
//!
//! ```text
//! source ─► tap (hash, write the blob) ─► [ inflate ─► diff ID ] ─► consumer (untar)
//!           thread 1                        thread 2                 the caller's thread
//! ```
//!
//! At most a few chunks are between two stages, so memory is bounded whatever the size. The first failure stops all
//! stages and is the one that is returned.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use oci::Digest;
use oci::digest::Algorithm;

use crate::compression::{Compression, MAGIC, check_growth};
use crate::error::stream;
use crate::hash::Hasher;
use crate::limits::Limits;
use crate::{Error, Result};

/// Bytes of one chunk.
const CHUNK: usize = 256 << 10;
/// Chunks between two stages.
const DEPTH: usize = 8;

type Message = Result<Vec<u8>>;

/// Where the source of a stream that is not compressed is read and tapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pump {
    /// In a thread: for taps that have work to do.
    Apart,
    /// By the consumer itself: for taps that only look, where another thread would cost more than it brings.
    Along,
}

/// What passed through a pipeline.
#[derive(Debug)]
pub(crate) struct Passed<T> {
    /// What the consumer made of it.
    pub(crate) value: T,
    /// How the source was compressed.
    pub(crate) compression: Compression,
    /// The digest of the inflated stream; `None` when the source was not compressed, because then it is the source's.
    pub(crate) diff_id: Option<Digest>,
}

/// Passes `source` through the stages. `tap` sees every byte of the source in order; `consume` reads the inflated
/// stream, and what it leaves is read to the end.
pub(crate) fn run<T>(
    mut source: impl Read + Send,
    mut tap: impl FnMut(&[u8]) -> Result<()> + Send,
    pump: Pump,
    limits: &Limits,
    consume: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<Passed<T>> {
    let head = read_head(&mut source)?;
    let compression = Compression::detect(&head)?;
    if compression == Compression::None && pump == Pump::Along {
        let mut reader = Along { head: io::Cursor::new(head), source, tap };
        return pass_plain(&mut reader, limits, consume);
    }
    std::thread::scope(|scope| {
        let (sender, pipe) = pipe();
        scope.spawn(move || self::pump(head, source, &mut tap, &sender));
        if compression == Compression::None {
            return pass_plain(pipe, limits, consume);
        }
        let (inflated, mut reader) = self::pipe();
        let inflater = scope.spawn(move || inflate(compression, pipe, limits, &inflated));
        let value = consume(&mut reader)?;
        drain(&mut reader)?;
        drop(reader);
        let diff_id =
            inflater.join().map_err(|_| Error::Invalid("the inflating thread failed".to_owned()))?;
        Ok(Passed { value, compression, diff_id })
    })
}

/// The stages of a stream that is not compressed: its digest is the source's.
fn pass_plain<T>(
    source: impl Read,
    limits: &Limits,
    consume: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<Passed<T>> {
    let mut reader = Counted { source, limits, passed: 0 };
    let value = consume(&mut reader)?;
    drain(&mut reader)?;
    Ok(Passed { value, compression: Compression::None, diff_id: None })
}

fn read_head(source: &mut impl Read) -> Result<Vec<u8>> {
    let mut head = vec![0; CHUNK];
    let mut length = 0;
    while length < MAGIC {
        match source.read(&mut head[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(stream("read the archive")(error)),
        }
    }
    head.truncate(length);
    Ok(head)
}

/// The first stage. Ends early when nobody listens any more: the reason is reported by who stopped listening.
fn pump(head: Vec<u8>, mut source: impl Read, tap: &mut impl FnMut(&[u8]) -> Result<()>, sender: &Sink) {
    let mut chunk = head;
    loop {
        if let Err(error) = tap(&chunk) {
            sender.send(Err(error));
            return;
        }
        if !chunk.is_empty() && !sender.send(Ok(chunk)) {
            return;
        }
        chunk = sender.buffer();
        let length = match read_chunk(&mut source, &mut chunk) {
            Ok(length) => length,
            Err(error) => {
                sender.send(Err(stream("read the archive")(error)));
                return;
            }
        };
        if length == 0 {
            return;
        }
        chunk.truncate(length);
    }
}

/// Fills a chunk, unless the source ends before: a source that hands out little at a time would wake the next stage for
/// each piece of it.
fn read_chunk(source: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < chunk.len() {
        match source.read(&mut chunk[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The second stage; the diff ID when the stream was inflated to its end.
fn inflate(compression: Compression, mut source: Pipe, limits: &Limits, sender: &Sink) -> Option<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut inflated = 0_u64;
    let consumed = source.consumed.clone();
    let mut decoder = match compression.reader(&mut source) {
        Ok(decoder) => decoder,
        Err(error) => {
            sender.send(Err(stream("inflate the layer")(error)));
            return None;
        }
    };
    loop {
        let mut chunk = sender.buffer();
        let length = match read_chunk(&mut decoder, &mut chunk) {
            Ok(0) => return Some(hasher.finish()),
            Ok(length) => length,
            Err(error) => {
                sender.send(Err(inflate_error(error)));
                return None;
            }
        };
        inflated += length as u64;
        if let Err(error) = check_growth(limits, consumed.get(), inflated) {
            sender.send(Err(error));
            return None;
        }
        chunk.truncate(length);
        hasher.update(&chunk);
        if !sender.send(Ok(chunk)) {
            return None;
        }
    }
}

/// A stream that does not inflate is the archive's fault, unless the failure came from further up.
fn inflate_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::Invalid(format!("the layer cannot be inflated: {error}")),
    }
}

fn drain(reader: &mut dyn Read) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(stream("read the archive")(error)),
        }
    }
}

/// The writing end between two stages.
struct Sink {
    sender: SyncSender<Message>,
    recycled: Receiver<Vec<u8>>,
}

impl Sink {
    /// Sends a message; `false` when nobody listens.
    fn send(&self, message: Message) -> bool {
        self.sender.send(message).is_ok()
    }

    /// A full-size buffer, used before where possible.
    fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.recycled.try_recv().unwrap_or_default();
        buffer.resize(CHUNK, 0);
        buffer
    }
}

/// The reading end between two stages.
struct Pipe {
    receiver: Receiver<Message>,
    recycle: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    position: usize,
    consumed: Consumed,
}

/// How many bytes have left a pipe; shared with whoever limits them.
#[derive(Clone, Default)]
struct Consumed(std::sync::Arc<std::sync::atomic::AtomicU64>);

impl Consumed {
    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn pipe() -> (Sink, Pipe) {
    let (sender, receiver) = sync_channel(DEPTH);
    let (recycle, recycled) = channel();
    let pipe = Pipe { receiver, recycle, chunk: Vec::new(), position: 0, consumed: Consumed::default() };
    (Sink { sender, recycled }, pipe)
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.chunk.len() {
            // A writer that is gone was at its end: failures are sent.
            let next = match self.receiver.recv() {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(_) => Vec::new(),
            };
            let used = std::mem::replace(&mut self.chunk, next);
            self.position = 0;
            if used.capacity() > 0 {
                // Whether the writer still wants the buffer does not matter.
                drop(self.recycle.send(used));
            }
        }
        Ok(&self.chunk[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
        self.consumed.add(amount);
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// A source that is tapped by whoever reads it.
struct Along<S, T> {
    /// What was read to tell the compression.
    head: io::Cursor<Vec<u8>>,
    source: S,
    tap: T,
}

impl<S: Read, T: FnMut(&[u8]) -> Result<()>> Read for Along<S, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = self.head.read(buffer)?;
        if length == 0 {
            length = read_chunk(&mut self.source, buffer)?;
        }
        (self.tap)(&buffer[..length]).map_err(io::Error::other)?;
        Ok(length)
    }
}

/// An uncompressed stream with its limit.
struct Counted<'a, S> {
    source: S,
    limits: &'a Limits,
    passed: u64,
}

impl<S: Read> Read for Counted<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.passed += length as u64;
        check_growth(self.limits, self.passed, self.passed).map_err(io::Error::other)?;
        Ok(length)
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
