//! From the registry into the store: one thread for each blob, which hashes and writes what arrives.

use std::sync::Arc;

use image::{Hold, Incoming};
use oci::Digest;
use oci::image::Descriptor;
use registry::{Fetched, Repository};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::image_use::error;
use crate::images::remote_error;
use crate::images::transfer::{End, Lines, Watcher};
use crate::{Error, Result};

/// How many bytes pass between two lines of progress.
const STEP: u64 = 512 << 10;

/// Fetches the parts of one pull.
pub(super) struct Fetcher {
    pub(super) engine: Engine,
    pub(super) remote: Repository,
    pub(super) hold: Arc<Hold>,
    pub(super) lines: Lines,
    pub(super) end: End,
    /// How many layers are fetched at a time.
    pub(super) downloads: Semaphore,
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
        Arc::clone(&self).blob(layer.clone(), true).await?;
        self.lines.say(&id, "Download complete").await;
        if let Some(diff_id) = diff_id {
            let _permit = self.unpacking.acquire().await.map_err(closed)?;
            let owned = Arc::clone(&self);
            crate::blocking(move || {
                let watcher = Watcher { lines: &owned.lines, end: &owned.end };
                owned.engine.images.unpack_layer(&owned.hold, &diff_id, &layer, &watcher).map_err(error)
            })
            .await?;
        }
        self.lines.say(&id, "Pull complete").await;
        Ok(())
    }

    /// Fetches what is not a layer and not worth a line.
    pub(super) async fn quietly(self: Arc<Self>, part: Descriptor) -> Result<()> {
        self.blob(part, false).await
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

    async fn blob(self: Arc<Self>, blob: Descriptor, shown: bool) -> Result<()> {
        let id = blob.digest.short().to_owned();
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
            owned.receive(&runtime, &blob, shown)
        })
        .await?;
        drop(permit);
        tracing::debug!(blob = id, ?arrival, "part of an image");
        Ok(())
    }

    /// Receives a blob in this thread. When what an earlier attempt left turns out to be wrong, all of it is fetched anew.
    fn receive(&self, runtime: &Handle, blob: &Descriptor, shown: bool) -> Result<Arrival> {
        let images = &self.engine.images;
        let Some(incoming) = images.receive(&self.hold, blob).map_err(error)? else {
            return Ok(Arrival::WasHere);
        };
        let continued = incoming.offset() > 0;
        match self.fill(runtime, blob, incoming, shown) {
            Err(Failed::Wrong(_)) if continued => {
                let again = images.receive(&self.hold, blob).map_err(error)?;
                let Some(again) = again else { return Ok(Arrival::WasHere) };
                self.fill(runtime, blob, again, shown).map_err(Failed::into_error)?;
            }
            filled => filled.map_err(Failed::into_error)?,
        }
        Ok(Arrival::Fetched)
    }

    fn fill(
        &self,
        runtime: &Handle,
        blob: &Descriptor,
        mut incoming: Incoming<'_>,
        shown: bool,
    ) -> std::result::Result<(), Failed> {
        let id = blob.digest.short();
        let range = incoming.offset()..blob.size;
        let mut remote = runtime.block_on(self.or_end(self.remote.blob(blob, range)))?;
        let mut told = 0;
        while let Some(piece) = runtime.block_on(self.or_end(remote.next()))? {
            incoming.write(&piece).map_err(Failed::of)?;
            let done = incoming.offset();
            if shown && (done - told >= STEP || done == blob.size) {
                told = done;
                self.lines.count(id, "Downloading", done, blob.size);
            }
        }
        if shown {
            self.lines.say_blocking(id, "Verifying Checksum");
        }
        incoming.finish().map_err(Failed::of)
    }

    /// Waits for the registry, but not longer than the operation lasts.
    async fn or_end<T>(
        &self,
        work: impl Future<Output = registry::Result<T>>,
    ) -> std::result::Result<T, Failed> {
        tokio::select! {
            done = work => done.map_err(|error| Failed::Other(remote_error(error))),
            () = self.end.comes() => Err(Failed::Other(Error::system("context canceled"))),
        }
    }
}

/// Why a blob did not arrive.
enum Failed {
    /// It is not what its digest says.
    Wrong(Error),
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
            Self::Wrong(error) | Self::Other(error) => error,
        }
    }
}

fn closed(_: tokio::sync::AcquireError) -> Error {
    Error::system("the operation has ended")
}
