//! A layer that is unpacked while its content still arrives.
//!
//! ```text
//! content ─┬─► hash, write to the disk ─► digest right? ─┐
//!          └─► inflate, hash ─► unpack into a draft ─────┴─► diff ID right? ─► published
//! ```
//!
//! Nothing of the draft is visible before both ends agree; a draft whose content turns out to be wrong is removed. What
//! cannot be unpacked here is no failure: whoever needs the layer unpacks it from its blob, and says what is wrong. What
//! is not verified yet gets less room than what is: a layer that inflates a lot waits until it is
//! (docs/decisions/0007-unpacking-while-it-arrives.md).

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use oci::Digest;

use crate::Result;
use crate::compression::Compression;
use crate::layers::{Draft, LayerKey, Layers};
use crate::limits::Limits;
use crate::pins::Pin;
use crate::pipeline::{self, Pump};
use crate::tar::Reader;
use crate::unpack::{Base, Unpacked, unpack};

/// Bytes that are handed over at a time.
const CHUNK: usize = 256 << 10;
/// Chunks that may wait. Content that arrives faster than it is unpacked waits where it comes from.
const DEPTH: usize = 4;

/// How many times larger than what came a layer may be that is not verified yet, once it is larger than [`FREELY`].
const MOST_GROWTH: u64 = 32;
/// Bytes that what is not verified may make in any case.
const FREELY: u64 = 256 << 20;

/// A layer under way.
#[derive(Debug)]
pub(crate) struct Ahead {
    layers: Arc<Layers>,
    /// Empty once the other side has given up or everything was handed over.
    sender: Option<SyncSender<Vec<u8>>>,
    recycled: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    thread: Option<JoinHandle<Result<Early>>>,
}

/// A layer in a draft.
struct Early {
    draft: Draft,
    unpacked: Unpacked,
    /// `None`: the content was not compressed, and its digest is the diff ID.
    diff_id: Option<Digest>,
}

impl Ahead {
    /// Begins to unpack what [`Ahead::feed`] will bring.
    pub(crate) fn start(layers: &Arc<Layers>) -> Self {
        let (sender, receiver) = sync_channel(DEPTH);
        let (recycle, recycled) = channel();
        let source = Source { receiver, recycle, chunk: Vec::new(), position: 0 };
        let owned = Arc::clone(layers);
        let thread = std::thread::spawn(move || unpack_early(&owned, source));
        let layers = Arc::clone(layers);
        Self { layers, sender: Some(sender), recycled, chunk: Vec::new(), thread: Some(thread) }
    }

    /// Whether content that starts with `head` may be a layer.
    pub(crate) fn is_for(head: &[u8]) -> bool {
        // The magic number of POSIX and of GNU archives (tar(5)).
        let is_tar = head.get(257..262).is_some_and(|magic| magic == b"ustar");
        is_tar || Compression::detect(head).is_ok_and(|kind| kind != Compression::None)
    }

    /// Takes the next bytes of the content.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while self.sender.is_some() && !bytes.is_empty() {
            if self.chunk.capacity() == 0 {
                self.chunk = self.recycled.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
                self.chunk.clear();
            }
            let length = bytes.len().min(CHUNK - self.chunk.len());
            self.chunk.extend_from_slice(&bytes[..length]);
            bytes = &bytes[length..];
            if self.chunk.len() == CHUNK {
                self.hand_over();
            }
        }
    }

    fn hand_over(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_empty() {
            return;
        }
        if self.sender.as_ref().is_some_and(|sender| sender.send(chunk).is_err()) {
            // It cannot be unpacked; whoever needs it will hear why.
            self.sender = None;
        }
    }

    /// Publishes the layer, after its content was verified to be `blob`: whether it could be unpacked here.
    ///
    /// # Errors
    /// When it was unpacked and the disk or the database fails.
    pub(crate) fn publish(mut self, blob: &Digest, pin: &Pin) -> Result<bool> {
        self.hand_over();
        self.sender = None;
        let Some(Ok(Ok(early))) = self.thread.take().map(JoinHandle::join) else { return Ok(false) };
        if early.unpacked.needs.parents {
            return Ok(false);
        }
        let diff_id = early.diff_id.unwrap_or_else(|| blob.clone());
        let key = LayerKey::Alone(diff_id.clone());
        pin.add(key.text());
        let _turn = self.layers.turn(&key);
        self.layers.publish(early.draft, &key, &diff_id, &early.unpacked)?;
        Ok(true)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // The draft goes with it.
            drop(thread.join());
        }
    }
}

fn unpack_early(layers: &Layers, source: Source) -> Result<Early> {
    let draft = layers.draft()?;
    let root = draft.root()?;
    let (archive, limits) = ("layer", &unverified(&layers.limits));
    let passed = pipeline::run(
        source,
        |_: &[u8]| Ok(()),
        Pump::Along,
        limits,
        |reader| unpack(&mut Reader::new(reader, archive, limits), root, Base::Alone, limits, archive),
    )?;
    Ok(Early { draft, unpacked: passed.value, diff_id: passed.diff_id })
}

/// The limits of what may turn out to be something else.
fn unverified(limits: &Limits) -> Limits {
    Limits {
        max_ratio: limits.max_ratio.min(MOST_GROWTH),
        ratio_from: limits.ratio_from.min(FREELY),
        ..limits.clone()
    }
}

/// What was fed, as a stream.
struct Source {
    receiver: Receiver<Vec<u8>>,
    recycle: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    position: usize,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.chunk.len() {
            let next = self.receiver.recv().unwrap_or_default();
            let used = std::mem::replace(&mut self.chunk, next);
            self.position = 0;
            if used.capacity() > 0 {
                // Whether the other side still wants the buffer does not matter.
                drop(self.recycle.send(used));
            }
        }
        let rest = &self.chunk[self.position..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position += length;
        Ok(length)
    }
}
