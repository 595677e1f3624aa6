//! From the registry into the store: one thread for each blob, which hashes and writes what arrives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use image::{Hold, Incoming};
use oci::Digest;
use oci::image::Descriptor;
use registry::{Fetched, Repository};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::pace::Pace;
use super::parts::{Parts, StreamId};
use super::streams::{Came, Streams};
use crate::engine::Engine;
use crate::image_use::error;
use crate::images::remote_error;
use crate::images::transfer::{End, Lines, Watcher};
use crate::{Error, Result};

/// How many bytes pass between two lines of progress.
const STEP: u64 = 512 << 10;

/// What a blob is fetched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// A layer of an image: told to the client, and unpacked while it arrives.
    Layer,
    /// Told to the client.
    Shown,
    /// Not worth a line.
    Quiet,
}

/// Fetches the parts of one pull.
pub(super) struct Fetcher {
    pub(super) engine: Engine,
    pub(super) remote: Repository,
    pub(super) hold: Arc<Hold>,
    pub(super) lines: Lines,
    pub(super) end: End,
    /// How many layers are fetched at a time.
    pub(super) downloads: Semaphore,
    /// How many streams there may be beside the first one of each blob.
    pub(super) further: Semaphore,
    /// How many layers are unpacked at a time.
    pub(super) unpacking: Semaphore,
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Fetched,
    WasHere,
}

impl Fetcher {
    /// Whether a layer is here and unpacked.
    pub(super) async fn is_here(&self, layer: &Descriptor, diff_id: Option<&Digest>) -> Result<bool> {
        let (engine, hold) = (self.engine.clone(), Arc::clone(&self.hold));
        let (blob, diff_id) = (layer.digest.clone(), diff_id.cloned());
        crate::blocking(move || {
            let unpacked = match &diff_id {
                Some(diff_id) => engine.images.is_unpacked(&hold, diff_id).map_err(error)?,
                None => true,
            };
            Ok(unpacked && engine.images.has(&blob).map_err(error)?)
        })
        .await
    }

    /// Fetches a layer and unpacks it as soon as it is verified.
    pub(super) async fn layer(self: Arc<Self>, layer: Descriptor, diff_id: Option<Digest>) -> Result<()> {
        let id = layer.digest.short().to_owned();
        let purpose = match &diff_id {
            Some(diff_id) if !self.is_unpacked(diff_id).await? => Use::Layer,
            _ => Use::Shown,
        };
        Arc::clone(&self).blob(layer.clone(), purpose).await?;
        self.lines.say(&id, "Download complete").await;
        if let Some(diff_id) = diff_id {
            let _permit = self.unpacking.acquire().await.map_err(closed)?;
            let owned = Arc::clone(&self);
            let size = layer.size;
            crate::blocking(move || {
                let watcher = Watcher { lines: &owned.lines, end: &owned.end };
                owned.engine.images.unpack_layer(&owned.hold, &diff_id, &layer, &watcher).map_err(error)
            })
            .await?;
            self.lines.count(&id, "Extracting", size, size);
        }
        self.lines.say(&id, "Pull complete").await;
        Ok(())
    }

    /// Fetches what is not a layer and not worth a line.
    pub(super) async fn quietly(self: Arc<Self>, part: Descriptor) -> Result<()> {
        self.blob(part, Use::Quiet).await
    }

    /// Stores a manifest or an index that was fetched already.
    pub(super) async fn document(self: Arc<Self>, document: Fetched) -> Result<()> {
        let _turn = self.engine.turns.take(&document.descriptor.digest).await;
        crate::blocking(move || {
            let incoming = self.engine.images.receive(&self.hold, &document.descriptor).map_err(error)?;
            let Some(mut incoming) = incoming else { return Ok(()) };
            incoming.restart().map_err(error)?;
            incoming.write(&document.bytes).map_err(error)?;
            incoming.finish().map_err(error)
        })
        .await
    }

    async fn is_unpacked(&self, diff_id: &Digest) -> Result<bool> {
        let (engine, hold, diff_id) = (self.engine.clone(), Arc::clone(&self.hold), diff_id.clone());
        crate::blocking(move || engine.images.is_unpacked(&hold, &diff_id).map_err(error)).await
    }

    async fn blob(self: Arc<Self>, blob: Descriptor, purpose: Use) -> Result<()> {
        let id = blob.digest.short().to_owned();
        let shown = purpose != Use::Quiet;
        let turn = match self.engine.turns.try_take(&blob.digest) {
            Some(turn) => turn,
            None => {
                if shown {
                    self.lines.say(&id, "Waiting").await;
                }
                self.engine.turns.take(&blob.digest).await
            }
        };
        let permit = match self.downloads.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                if shown {
                    self.lines.say(&id, "Waiting").await;
                }
                self.downloads.acquire().await.map_err(closed)?
            }
        };
        let owned = Arc::clone(&self);
        let runtime = Handle::current();
        let arrival = crate::blocking(move || {
            // The turn ends with the thread, also when nobody waits for it any more.
            let _turn = turn;
            owned.receive(&runtime, &blob, purpose)
        })
        .await?;
        drop(permit);
        tracing::debug!(blob = id, ?arrival, "part of an image");
        Ok(())
    }

    /// Receives a blob in this thread. When what an earlier attempt left turns out to be wrong, all of it is fetched anew.
    fn receive(&self, runtime: &Handle, blob: &Descriptor, purpose: Use) -> Result<Arrival> {
        let (images, shown) = (&self.engine.images, purpose != Use::Quiet);
        let begun = match purpose {
            Use::Layer => images.receive_layer(&self.hold, blob),
            Use::Shown | Use::Quiet => images.receive(&self.hold, blob),
        };
        let Some(incoming) = begun.map_err(error)? else {
            return Ok(Arrival::WasHere);
        };
        // What an earlier attempt left may be what is wrong.
        let mut may_repeat = incoming.here().count() > 0;
        let mut filled = self.fill(runtime, blob, incoming, shown);
        loop {
            match filled {
                Ok(()) => return Ok(Arrival::Fetched),
                Err(Failed::Wrong(_)) if may_repeat => may_repeat = false,
                Err(Failed::Elsewhere(error)) => {
                    tracing::warn!(%error, "an endpoint of a registry has wrong content");
                    may_repeat = false;
                }
                Err(failed) => return Err(failed.into_error()),
            }
            let Some(again) = images.receive(&self.hold, blob).map_err(error)? else {
                return Ok(Arrival::WasHere);
            };
            filled = self.fill(runtime, blob, again, shown);
        }
    }

    fn fill(
        &self,
        runtime: &Handle,
        blob: &Descriptor,
        mut incoming: Incoming<'_>,
        shown: bool,
    ) -> std::result::Result<(), Failed> {
        let mut parts = Parts::new(blob.size, incoming.here());
        let mut streams = Streams::new(&self.remote, blob);
        let mut pace = Pace::new(&self.further);
        let (mut told, is_new) = (0, parts.count() == 0);
        while !parts.is_complete() || streams.count() > 0 {
            if streams.count() == 0
                && let Some((id, range)) = parts.take()
            {
                streams.start(id, range);
            }
            let began = Instant::now();
            let (id, came) = runtime.block_on(self.or_end(streams.next()))?;
            pace.waited(began.elapsed());
            match came {
                Came::Piece { at, bytes, is_last, is_unasked } => {
                    let wanted = parts.arrived(id, at, bytes.len() as u64);
                    let bytes = bytes.slice(..usize::try_from(wanted.bytes).unwrap_or(usize::MAX));
                    incoming.write_part(at, &bytes).map_err(Failed::of)?;
                    if wanted.is_over && !is_last {
                        streams.stop(id);
                    }
                    if is_unasked {
                        self.stay_with_one(id, &mut parts, &mut streams, &mut pace);
                    } else if pace.wants_more(wanted.bytes, streams.count())
                        && let Some((id, range)) = parts.take()
                    {
                        streams.start(id, range);
                    }
                }
                Came::Pause(pause) if shown => self.say_pause(blob, pause),
                Came::Pause(_) => {}
                Came::End => parts.gave_up(id),
                Came::Failed(error) => {
                    parts.gave_up(id);
                    if streams.count() == 0 || matches!(error, registry::Error::Length { .. }) {
                        return Err(Failed::Other(remote_error(error)));
                    }
                    // What the others bring may do, and what is left is asked for again at the end.
                    tracing::debug!(blob = %blob.digest, %error, "one of several streams failed");
                    pace.limit(streams.count());
                }
            }
            let done = parts.count();
            if shown && (done - told >= STEP || (done == blob.size && told < done)) {
                told = done;
                self.lines.count(blob.digest.short(), "Downloading", done, blob.size);
            }
        }
        if shown {
            self.lines.say_blocking(blob.digest.short(), "Verifying Checksum");
        }
        let finished = incoming.finish().map_err(Failed::of);
        if matches!(finished, Err(Failed::Wrong(_))) && is_new && streams.distrust() {
            return finished.map_err(|failed| Failed::Elsewhere(failed.into_error()));
        }
        finished
    }

    /// A registry that always sends all of a blob: more than one stream only costs.
    fn stay_with_one(&self, id: StreamId, parts: &mut Parts, streams: &mut Streams<'_>, pace: &mut Pace<'_>) {
        pace.limit(1);
        if streams.count() > 1 {
            streams.stop(id);
            parts.gave_up(id);
        }
    }

    fn say_pause(&self, blob: &Descriptor, pause: Duration) {
        let seconds = pause.as_millis().div_ceil(1000);
        let plural = if seconds == 1 { "" } else { "s" };
        self.lines.say_blocking(blob.digest.short(), &format!("Retrying in {seconds} second{plural}"));
    }

    /// Waits for the registry, but not longer than the operation lasts.
    async fn or_end<T>(&self, work: impl Future<Output = T>) -> std::result::Result<T, Failed> {
        tokio::select! {
            done = work => Ok(done),
            () = self.end.comes() => Err(Failed::Other(Error::system("context canceled"))),
        }
    }
}

/// Why a blob did not arrive.
enum Failed {
    /// It is not what its digest says.
    Wrong(Error),
    /// The same, and another endpoint may have it right.
    Elsewhere(Error),
    Other(Error),
}

impl Failed {
    fn of(failure: image::Error) -> Self {
        match failure {
            image::Error::WrongDigest { .. } | image::Error::WrongLength { .. } => {
                Self::Wrong(error(failure))
            }
            _ => Self::Other(error(failure)),
        }
    }

    fn into_error(self) -> Error {
        match self {
            Self::Wrong(error) | Self::Elsewhere(error) | Self::Other(error) => error,
        }
    }
}

fn closed(_: tokio::sync::AcquireError) -> Error {
    Error::system("the operation has ended")
}
