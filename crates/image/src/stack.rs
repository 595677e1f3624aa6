//! From an image's layers to directories that overlayfs stacks: unpacked alone where that means the same, and on top of
//! the others where it does not.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oci::Digest;

use crate::content::Content;
use crate::error::stream;
use crate::hash::chain_id;
use crate::layers::{Draft, LayerKey, Layers, Wanted};
use crate::pipeline::{self, Pump};
use crate::progress::{Meter, Progress};
use crate::record::LayerRecord;
use crate::tar::Reader;
use crate::unpack::{Base, Unpacked, unpack};
use crate::{Error, Result};

impl Layers {
    /// Unpacks what is missing of an image's layers (the lowest first) and returns where they are.
    pub(crate) fn ensure(
        &self,
        content: &Content,
        wanted: &[Wanted],
        progress: &dyn Progress,
    ) -> Result<Vec<LayerKey>> {
        if wanted.len() > self.limits.max_layers {
            let (found, limit) = (wanted.len(), self.limits.max_layers);
            return Err(Error::Invalid(format!(
                "the image has {found} layers, more than the limit of {limit}"
            )));
        }
        let diff_ids: Vec<Digest> = wanted.iter().map(|layer| layer.diff_id.clone()).collect();
        let chains: Vec<LayerKey> =
            (1..=wanted.len()).filter_map(|end| chain_id(&diff_ids[..end])).map(LayerKey::Chain).collect();
        self.unpack_alone(content, wanted, &chains, progress)?;
        let mut keys: Vec<LayerKey> = Vec::new();
        for (layer, chain) in wanted.iter().zip(chains) {
            let alone = LayerKey::Alone(layer.diff_id.clone());
            // overlayfs takes no directory twice: of a layer that comes again the second needs a directory of its own,
            // unless it is empty.
            let again = keys.contains(&alone);
            let key = match (self.get(&chain)?, self.get(&alone)?) {
                (Some(_), _) => chain,
                (None, Some(record)) if again && record.entries == 0 => continue,
                (None, Some(record)) if !again && self.fits(&record, &keys)? => alone,
                _ => {
                    self.unpack_chain(content, layer, &chain, &keys, progress)?;
                    chain
                }
            };
            keys.push(key);
        }
        Ok(keys)
    }

    /// Unpacks every layer that is nowhere yet, several at once, each alone.
    fn unpack_alone(
        &self,
        content: &Content,
        wanted: &[Wanted],
        chains: &[LayerKey],
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut missing: Vec<&Wanted> = Vec::new();
        for (layer, chain) in wanted.iter().zip(chains) {
            let known = missing.iter().any(|other| other.diff_id == layer.diff_id);
            let alone = LayerKey::Alone(layer.diff_id.clone());
            if !known && self.get(chain)?.is_none() && self.get(&alone)?.is_none() {
                missing.push(layer);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // The largest first, so that the last one standing is a small one.
        missing.sort_by_key(|layer| layer.blob.size);
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let workers = processors.clamp(1, 8).min(missing.len());
        let queue = Mutex::new(missing);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers)
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        loop {
                            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                            let Some(layer) = next else { return Ok(()) };
                            let result = self.unpack_one_alone(content, layer, progress);
                            if result.is_err() {
                                queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                            }
                            result?;
                        }
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    pub(crate) fn unpack_one_alone(
        &self,
        content: &Content,
        layer: &Wanted,
        progress: &dyn Progress,
    ) -> Result<()> {
        let key = LayerKey::Alone(layer.diff_id.clone());
        let _turn = self.turn(&key);
        if self.get(&key)?.is_some() {
            return Ok(());
        }
        let draft = self.draft()?;
        let unpacked = self.unpack_blob(content, layer, draft.root()?, Base::Alone, progress)?;
        // A layer that needs the ones below it is unpacked on top of them, in its turn.
        if unpacked.needs.parents { Ok(()) } else { self.publish(draft, &key, &layer.diff_id, &unpacked) }
    }

    /// Unpacks a layer on top of the layers `below` (the lowest first).
    fn unpack_chain(
        &self,
        content: &Content,
        layer: &Wanted,
        chain: &LayerKey,
        below: &[LayerKey],
        progress: &dyn Progress,
    ) -> Result<()> {
        let _turn = self.turn(chain);
        if self.get(chain)?.is_some() {
            return Ok(());
        }
        let draft = self.draft()?;
        let unpacked = if below.is_empty() {
            self.unpack_blob(content, layer, draft.root()?, Base::Merged, progress)?
        } else {
            let work = self.draft()?;
            let lower: Vec<PathBuf> = below.iter().rev().map(|key| self.path(key)).collect();
            let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
            self.set_root(&draft, below)?;
            let merged = linux::overlay::detached(&lower, Some((&draft.path, &work.path)))?;
            self.unpack_blob(content, layer, merged, Base::Merged, progress)?
        };
        self.publish(draft, chain, &layer.diff_id, &unpacked)
    }

    /// Gives the root of a new upper directory the attributes that the layers below show.
    fn set_root(&self, draft: &Draft, below: &[LayerKey]) -> Result<()> {
        if let Some(root) = self.root_attributes(below)? {
            let directory = draft.root()?;
            linux::file::set_owner(&directory, root.uid, root.gid)?;
            linux::file::set_mode(&directory, root.mode)?;
        }
        Ok(())
    }

    fn unpack_blob(
        &self,
        content: &Content,
        layer: &Wanted,
        root: OwnedFd,
        base: Base,
        progress: &dyn Progress,
    ) -> Result<Unpacked> {
        let file = content.open_blob(&layer.blob.digest)?;
        let archive = format!("layer {}", layer.diff_id.short());
        let mut meter = Meter::new(progress, layer.blob.digest.short(), "Extracting", Some(layer.blob.size));
        let mut behind =
            Behind { file: file.try_clone().map_err(stream("open a layer"))?, read: 0, forgotten: 0 };
        let tap = |bytes: &[u8]| {
            behind.passed(bytes.len() as u64)?;
            meter.add(bytes.len())
        };
        let passed = pipeline::run(file, tap, Pump::Along, &self.limits, |reader| {
            unpack(&mut Reader::new(reader, &archive, &self.limits), root, base, &self.limits, &archive)
        })?;
        // An uncompressed blob was hashed when it was taken in.
        let found = passed.diff_id.unwrap_or_else(|| layer.blob.digest.clone());
        if found != layer.diff_id {
            return Err(Error::WrongDigest { expected: layer.diff_id.clone(), found });
        }
        meter.report();
        Ok(passed.value)
    }

    /// Whether a layer that was unpacked alone means the same on top of `below`: every directory that it uses and does
    /// not list must be either absent there, or look as it was made here; and every directory in which it marks something
    /// as gone must be one there.
    fn fits(&self, record: &LayerRecord, below: &[LayerKey]) -> Result<bool> {
        let absent = |error: &linux::Error| matches!(error.name(), Some("ENOENT"));
        for key in below {
            if record.implied.is_empty() {
                break;
            }
            let root = File::open(self.path(key)).map_err(stream("open a layer's directory"))?;
            for path in &record.implied {
                match linux::resolve::handle_without_links(&root, path.as_bytes()) {
                    Ok(found) if is_default_dir(&found)? => {}
                    Err(error) if absent(&error) => {}
                    _ => return Ok(false),
                }
            }
        }
        // The roots are always merged.
        let mut marked = record.marked.iter().filter(|path| !path.is_empty()).peekable();
        if marked.peek().is_none() {
            return Ok(true);
        }
        let paths: Vec<PathBuf> = below.iter().rev().map(|key| self.path(key)).collect();
        let root = match paths.as_slice() {
            [] => return Ok(false),
            [one] => File::open(one).map_err(stream("open a layer's directory"))?.into(),
            several => {
                linux::overlay::detached(&several.iter().map(PathBuf::as_path).collect::<Vec<_>>(), None)?
            }
        };
        for path in marked {
            match linux::resolve::handle_without_links(&root, path.as_bytes()) {
                Ok(found) if linux::file::stat(&found)?.kind == linux::file::Kind::Dir => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// What has been unpacked of a blob, which nobody reads soon again: its memory is better used for the files that come out
/// of it, and a big image does not drive everything else out of the memory.
struct Behind {
    file: File,
    read: u64,
    forgotten: u64,
}

/// Bytes of a blob between two times that the kernel is told.
const FORGET_STEP: u64 = 4 << 20;

impl Behind {
    fn passed(&mut self, bytes: u64) -> Result<()> {
        self.read += bytes;
        let waiting = self.read - self.forgotten;
        if waiting >= FORGET_STEP {
            linux::file::forget(&self.file, self.forgotten, waiting)?;
            self.forgotten = self.read;
        }
        Ok(())
    }
}

/// Whether a directory looks like one that was made because an entry lies in it.
fn is_default_dir(handle: &OwnedFd) -> Result<bool> {
    let stat = linux::file::stat(handle)?;
    let plain = stat.kind == linux::file::Kind::Dir && (stat.mode, stat.uid, stat.gid) == (0o755, 0, 0);
    let xattrs = linux::xattr::list_of_handle(handle)?;
    Ok(plain
        && xattrs.iter().all(|name| name.starts_with(b"trusted.overlay.") || name == b"security.selinux"))
}
