//! Content on its way into the store, from the beginning on or in parts.
//!
//! ```text
//! from the beginning on   ████████                     the length of the file is what is here
//! in parts                ████░░░░████░░░███│records   longer than the content: behind it, what is here
//! ```
//!
//! A record is two numbers of 8 bytes, the lowest byte first: a part's first byte, and the one behind its last. A part is
//! written before its record, so a kill costs what had no record yet. A loss of power may leave records of parts that are
//! not there; then the digest is wrong, and everything is fetched anew.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use oci::digest::Algorithm;

use crate::ahead::Ahead;
use crate::content::{Blob, Content, sync_dir};
use crate::error::stream;
use crate::hash::Hasher;
use crate::layers::Layers;
use crate::pins::Pin;
use crate::ranges::Ranges;
use crate::trail::Trail;
use crate::{Error, Result};

/// How many bytes of parts are written before a record of them is.
const NOTE: u64 = 1 << 20;
/// Bytes of a record.
const RECORD: u64 = 16;
/// Records that are read: more than a blob of any size that fits a disk has.
const MOST_RECORDS: u64 = 1 << 20;

/// Content on its way into the store. Dropped without a commit, content of a known digest stays for the next attempt,
/// and other content goes.
pub(crate) struct Ingest<'a> {
    content: &'a Content,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    /// How much is here and hashed, from the beginning on.
    hashed: u64,
    parts: Option<Parts>,
    /// Unpacks what arrives from the beginning on.
    ahead: Option<Ahead>,
    trail: Trail,
    resumable: bool,
    settled: bool,
}

/// What is here of content that comes in parts.
struct Parts {
    size: u64,
    here: Ranges,
    /// What has no record yet.
    unnoted: Ranges,
    /// How many records there are.
    records: u64,
}

impl<'a> Ingest<'a> {
    /// Content without a beginning that goes when it is not finished.
    pub(crate) fn new(content: &'a Content, file: File, path: PathBuf, algorithm: Algorithm) -> Self {
        let hasher = Hasher::new(algorithm);
        let (resumable, settled) = (false, false);
        let (parts, ahead, trail) = (None, None, Trail::default());
        Self { content, file, path, hasher, hashed: 0, parts, ahead, trail, resumable, settled }
    }

    /// Content of which `file` may have a part already, and that stays for the next attempt.
    pub(crate) fn resume(content: &'a Content, file: File, path: PathBuf, blob: &Blob) -> Result<Self> {
        let mut ingest = Self::new(content, file, path, blob.digest.algorithm());
        ingest.resumable = true;
        let length = linux::file::stat(&ingest.file)?.size;
        if length <= blob.size {
            ingest.hash_up_to(length)?;
            ingest.trail = Trail::from(length);
            return Ok(ingest);
        }
        let here = ingest.read_records(blob.size, length)?;
        let prefix = here.prefix();
        let mut parts = Parts { size: blob.size, here: Ranges::default(), unnoted: here.clone(), records: 0 };
        // Fewer records say the same; those behind them stay true until they are cut off.
        parts.note(&ingest.file)?;
        linux::file::set_length(&ingest.file, parts.end())?;
        parts.here = here;
        ingest.parts = Some(parts);
        ingest.hash_up_to(prefix)?;
        Ok(ingest)
    }

    fn read_records(&self, size: u64, length: u64) -> Result<Ranges> {
        let count = ((length - size) / RECORD).min(MOST_RECORDS);
        let mut bytes = vec![0; usize::try_from(count * RECORD).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, size).map_err(stream("read what is here of content"))?;
        let mut here = Ranges::default();
        for record in bytes.as_chunks::<16>().0 {
            let (start, end) = record.split_at(8);
            let number =
                |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
            let (start, end) = (number(start), number(end));
            if start < end && end <= size {
                here.add(start..end);
            }
        }
        Ok(here)
    }

    /// How much content is here from the beginning on.
    pub(crate) fn offset(&self) -> u64 {
        self.hashed
    }

    /// What is here.
    pub(crate) fn here(&self) -> Ranges {
        let mut here = self.parts.as_ref().map(|parts| parts.here.clone()).unwrap_or_default();
        here.add(0..self.hashed);
        here
    }

    /// Takes more content, behind what is here from the beginning on.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_at(self.hashed, bytes)
    }

    /// Takes a part of content that has `size` bytes in all.
    pub(crate) fn write_part(&mut self, position: u64, bytes: &[u8], size: u64) -> Result<()> {
        if position != self.hashed && self.parts.is_none() {
            let mut unnoted = Ranges::default();
            unnoted.add(0..self.hashed);
            let mut parts = Parts { size, here: unnoted.clone(), unnoted, records: 0 };
            // From here on the length of the file says nothing about the content.
            parts.note(&self.file)?;
            if parts.records == 0 {
                linux::file::set_length(&self.file, size + RECORD)?;
                parts.records = 1;
            }
            self.parts = Some(parts);
        }
        self.write_at(position, bytes)
    }

    fn write_at(&mut self, position: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, position).map_err(stream("write content"))?;
        let end = position + bytes.len() as u64;
        if position == self.hashed {
            self.hasher.update(bytes);
            self.hashed = end;
            if let Some(ahead) = &mut self.ahead {
                ahead.feed(bytes);
            }
        }
        let Some(parts) = &mut self.parts else { return self.write_back() };
        parts.here.add(position..end);
        parts.unnoted.add(position..end);
        if parts.unnoted.count() >= NOTE {
            for range in parts.unnoted.iter() {
                linux::file::start_write_back(&self.file, range.start, range.end - range.start)?;
            }
            parts.note(&self.file)?;
        }
        let prefix = parts.here.prefix();
        self.hash_up_to(prefix)
    }

    /// Unpacks what arrives while it arrives, when it may be a layer and comes from the beginning on.
    pub(crate) fn unpack_ahead(&mut self, layers: &Arc<Layers>) {
        if self.hashed == 0 && self.parts.is_none() {
            self.ahead = Some(Ahead::start(layers));
        }
    }

    /// The disk works while more arrives; what is read once more, to be unpacked, stays in memory until then.
    fn write_back(&mut self) -> Result<()> {
        if self.ahead.is_some() {
            self.trail.written(&self.file, self.hashed)
        } else {
            self.trail.kept(&self.file, self.hashed)
        }
    }

    /// Hashes what is on the disk already.
    fn hash_up_to(&mut self, end: u64) -> Result<()> {
        if self.hashed >= end {
            return Ok(());
        }
        let mut buffer = vec![0; 256 << 10];
        while self.hashed < end {
            let length = usize::try_from(end - self.hashed).unwrap_or(usize::MAX).min(buffer.len());
            self.file
                .read_exact_at(&mut buffer[..length], self.hashed)
                .map_err(stream("read content that is here"))?;
            self.hasher.update(&buffer[..length]);
            if let Some(ahead) = &mut self.ahead {
                ahead.feed(&buffer[..length]);
            }
            self.hashed += length as u64;
        }
        Ok(())
    }

    /// Starts again from nothing, after content turned out to be wrong.
    pub(crate) fn restart(&mut self) -> Result<()> {
        linux::file::set_length(&self.file, 0)?;
        self.hasher = self.hasher.anew();
        (self.hashed, self.parts, self.ahead, self.trail) = (0, None, None, Trail::default());
        Ok(())
    }

    /// What came so far: its digest and its length.
    pub(crate) fn found(&self) -> Blob {
        Blob { digest: self.hasher.clone().finish(), size: self.hashed }
    }

    /// Commits the content, and publishes the layer that was unpacked from it meanwhile.
    pub(crate) fn commit_layer(mut self, expected: Option<&Blob>, pin: &Pin) -> Result<Blob> {
        let ahead = self.ahead.take();
        let blob = self.commit_pinned(expected, pin)?;
        if let Some(ahead) = ahead {
            ahead.publish(&blob.digest, pin)?;
        }
        Ok(blob)
    }

    /// Verifies the content, makes it durable and gives it its name. When it is not what was expected it is removed.
    pub(crate) fn commit(self, expected: Option<&Blob>) -> Result<Blob> {
        let found = self.found();
        self.finish(expected, found)
    }

    /// The same for an operation that keeps the content pinned from before it has its name.
    pub(crate) fn commit_pinned(self, expected: Option<&Blob>, pin: &Pin) -> Result<Blob> {
        let found = self.found();
        pin.add(&found.digest);
        self.finish(expected, found)
    }

    fn finish(mut self, expected: Option<&Blob>, found: Blob) -> Result<Blob> {
        if let Some(Err(error)) = expected.map(|expected| compare(expected, &found)) {
            self.resumable = false;
            return Err(error);
        }
        if self.parts.take().is_some() {
            linux::file::set_length(&self.file, found.size)?;
        }
        let steps = self.content.steps;
        steps.reached("ingest written");
        linux::file::set_mode(&self.file, 0o400)?;
        linux::file::sync_data(&self.file)?;
        steps.reached("ingest synced");
        let target = self.content.path(&found.digest);
        // Noted before it has the name: who finds it under its name finds the note, or a name that is durable.
        let fresh = || self.content.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh().insert(found.digest.clone());
        std::fs::rename(&self.path, &target).map_err(stream("name content"))?;
        self.settled = true;
        steps.reached("ingest renamed");
        sync_dir(target.parent().unwrap_or(&self.content.root))?;
        fresh().remove(&found.digest);
        steps.reached("ingest durable");
        Ok(found)
    }
}

impl Parts {
    /// Where the records end.
    fn end(&self) -> u64 {
        // With no record at all, the file still has to be longer than the content.
        self.size + self.records.max(1) * RECORD
    }

    /// Writes records of what has none.
    fn note(&mut self, file: &File) -> Result<()> {
        let mut bytes = Vec::new();
        for range in self.unnoted.iter() {
            bytes.extend_from_slice(&range.start.to_le_bytes());
            bytes.extend_from_slice(&range.end.to_le_bytes());
        }
        let place = self.size + self.records * RECORD;
        file.write_all_at(&bytes, place).map_err(stream("note what is here of content"))?;
        self.records += bytes.len() as u64 / RECORD;
        self.unnoted = Ranges::default();
        Ok(())
    }
}

fn compare(expected: &Blob, found: &Blob) -> Result<()> {
    if expected.size != found.size {
        let digest = expected.digest.clone();
        return Err(Error::WrongLength { digest, expected: expected.size, found: found.size });
    }
    if expected.digest != found.digest {
        return Err(Error::WrongDigest { expected: expected.digest.clone(), found: found.digest.clone() });
    }
    Ok(())
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if !self.resumable {
            // What cannot be removed now is swept at the next boot.
            drop(std::fs::remove_file(&self.path));
        } else if let Some(parts) = &mut self.parts {
            // What has no record is fetched again.
            drop(parts.note(&self.file));
        }
    }
}
