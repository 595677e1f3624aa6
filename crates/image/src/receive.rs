//! Content that arrives piece by piece from elsewhere: what a pull or a build writes into the store.
//!
//! ```text
//! hold or lease ─► receive(digest) ─► write … ─► finish   any number, in any order, each continued after a cut
//!               ─► unpack_layer(diff ID)                  as each layer arrives, in parallel
//!               ─► admit(manifest or index, name)         checked, unpacked, named; then the hold may go
//! ```

use oci::image::Descriptor;
use oci::{Digest, Platform, Reference};

use crate::content::Blob;
use crate::images::Images;
use crate::ingest::Ingest;
use crate::layers::{LayerKey, Wanted};
use crate::load::{LoadOptions, Loaded};
use crate::pins::Pin;
use crate::progress::Progress;
use crate::ranges::Ranges;
use crate::{Error, Result};

/// Keeps the collector from what an operation has brought in and not named yet.
#[derive(Debug)]
pub struct Hold {
    pub(crate) pin: Pin,
    /// Its name in the table of leases, when it outlives the daemon.
    pub(crate) lease: Option<String>,
}

/// A blob on its way in.
pub struct Incoming<'a> {
    ingest: Ingest<'a>,
    expected: Blob,
    pin: &'a Pin,
}

impl Images {
    /// Begins an operation that brings content in.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold { pin: self.pins.operation(), lease: None }
    }

    /// Whether content is here in full.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn has(&self, digest: &Digest) -> Result<bool> {
        Ok(self.content.size(digest)?.is_some())
    }

    /// Opens content for reading, and its length in bytes.
    ///
    /// # Errors
    /// When it is not here.
    pub fn open_content(&self, digest: &Digest) -> Result<(std::fs::File, u64)> {
        let file = self.content.open_blob(digest)?;
        Ok((file, self.content.size(digest)?.unwrap_or_default()))
    }

    /// Begins to receive content, or continues where an earlier attempt was cut; `None` when it is here already.
    ///
    /// # Errors
    /// `Conflict` while another operation receives the same content.
    pub fn receive<'a>(&'a self, hold: &'a Hold, descriptor: &Descriptor) -> Result<Option<Incoming<'a>>> {
        hold.pin.add(&descriptor.digest);
        if self.content.size(&descriptor.digest)? == Some(descriptor.size) {
            return Ok(None);
        }
        let expected = Blob { digest: descriptor.digest.clone(), size: descriptor.size };
        let ingest = self.content.ingest_known(&expected)?;
        Ok(Some(Incoming { ingest, expected, pin: &hold.pin }))
    }

    /// The same for a layer, which is unpacked while it arrives. Nothing of it is visible before [`Incoming::finish`] has
    /// verified its digest; [`Images::unpack_layer`] does what could not be done so, and checks the diff ID.
    ///
    /// # Errors
    /// As [`Images::receive`].
    pub fn receive_layer<'a>(&'a self, hold: &'a Hold, blob: &Descriptor) -> Result<Option<Incoming<'a>>> {
        let mut incoming = self.receive(hold, blob)?;
        if let Some(incoming) = &mut incoming {
            incoming.ingest.unpack_ahead(&self.layers);
        }
        Ok(incoming)
    }

    /// Whether a layer is unpacked and can be used as it is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_unpacked(&self, hold: &Hold, diff_id: &Digest) -> Result<bool> {
        let key = LayerKey::Alone(diff_id.clone());
        hold.pin.add(key.text());
        Ok(self.layers.get(&key)?.is_some())
    }

    /// Unpacks a layer whose blob is here, unless that is done already or it needs the layers below it; then `admit` does
    /// it. Several layers may be unpacked at once.
    ///
    /// # Errors
    /// When the layer is not what its diff ID says, or the disk is full; then nothing of it stays.
    pub fn unpack_layer(
        &self,
        hold: &Hold,
        diff_id: &Digest,
        blob: &Descriptor,
        progress: &dyn Progress,
    ) -> Result<()> {
        hold.pin.add(LayerKey::Alone(diff_id.clone()).text());
        hold.pin.add(&blob.digest);
        let layer = Wanted { diff_id: diff_id.clone(), blob: blob.clone() };
        self.layers.unpack_one_alone(&self.content, &layer, progress)
    }

    /// Unpacks and names what was received: `target` is a manifest or an index all of whose parts for `platform` (or for
    /// this machine) are here.
    ///
    /// # Errors
    /// When something is missing or wrong; then the name is as it was.
    pub fn admit(
        &self,
        hold: &Hold,
        target: &Descriptor,
        name: Option<&Reference>,
        platform: Option<&Platform>,
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        let options = LoadOptions { platforms: platform.cloned().into_iter().collect() };
        let names: Vec<Reference> = name.cloned().into_iter().collect();
        let mut admitted =
            self.admit_as(target, &names, &options, &hold.pin, progress, hold.lease.as_ref())?;
        self.settle_soon();
        admitted.pop().ok_or_else(|| Error::Invalid("nothing was admitted".to_owned()))
    }
}

impl Incoming<'_> {
    /// How many bytes are here already from the beginning on: where to continue.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.ingest.offset()
    }

    /// What is here already.
    #[must_use]
    pub fn here(&self) -> Ranges {
        self.ingest.here()
    }

    /// Takes bytes from `position` on, in any order. More than were announced are refused at once.
    ///
    /// # Errors
    /// When there are too many, they are here from the beginning on already, or the disk is full.
    pub fn write_part(&mut self, position: u64, bytes: &[u8]) -> Result<()> {
        let found = position.saturating_add(bytes.len() as u64);
        let (digest, expected) = (self.expected.digest.clone(), self.expected.size);
        if found > expected {
            return Err(Error::WrongLength { digest, expected, found });
        }
        if position < self.ingest.offset() {
            return Err(Error::Invalid(format!("content {digest} has its byte {position} already")));
        }
        self.ingest.write_part(position, bytes, expected)
    }

    /// Takes the next bytes. More than were announced are refused at once.
    ///
    /// # Errors
    /// When there are too many, or the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let found = self.ingest.offset() + bytes.len() as u64;
        if found > self.expected.size {
            let (digest, expected) = (self.expected.digest.clone(), self.expected.size);
            return Err(Error::WrongLength { digest, expected, found });
        }
        self.ingest.write(bytes)
    }

    /// Starts again from nothing, for a far side that cannot continue.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn restart(&mut self) -> Result<()> {
        self.ingest.restart()
    }

    /// Verifies length and digest, and gives the content its name. Wrong content is removed.
    ///
    /// # Errors
    /// When it is not what was announced, or the disk fails.
    pub fn finish(self) -> Result<()> {
        self.ingest.commit_layer(Some(&self.expected), self.pin).map(drop)
    }
}
