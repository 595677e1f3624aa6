//! Unpacked layers: each in a directory of its own, published whole by a rename.
//!
//! ```text
//! layers/tmp/<n>/                a layer on its way; swept at boot
//! layers/sha256/<diff ID>/       a layer unpacked alone; any image with this diff ID stacks it
//! layers/chain-sha256/<chain>/   a layer that needed the ones below it, for this chain only
//! ```
//!
//! unpack into tmp ─► diff ID right? ─► rename ─► fsync of the directory ─► record (not durable) ─► used
//!                                                          later: syncfs ─► record (durable)

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use oci::Digest;
use oci::image::Descriptor;
use store::Store;

use crate::content::{Content, make_private, sync_dir};
use crate::error::stream;
use crate::hash::chain_id;
use crate::limits::Limits;
use crate::pipeline;
use crate::progress::{Meter, Progress};
use crate::record::{LAYERS, LayerRecord};
use crate::steps::Steps;
use crate::tar::Reader;
use crate::unpack::{Base, Unpacked, unpack};
use crate::{Error, Result};

/// Which directory a layer is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LayerKey {
    /// Unpacked alone, by diff ID.
    Alone(Digest),
    /// Unpacked on top of others, by chain ID.
    Chain(Digest),
}

impl LayerKey {
    /// The key as records have it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Alone(digest) => digest.to_string(),
            Self::Chain(digest) => format!("chain-{digest}"),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("chain-") {
            Some(digest) => digest.parse().ok().map(Self::Chain),
            None => text.parse().ok().map(Self::Alone),
        }
    }

    /// The directory's place below `layers`.
    fn place(&self) -> (String, &str) {
        match self {
            Self::Alone(digest) => (digest.algorithm().name().to_owned(), digest.hex()),
            Self::Chain(digest) => (format!("chain-{}", digest.algorithm().name()), digest.hex()),
        }
    }
}

/// A layer as an image names it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) diff_id: Digest,
    pub(crate) blob: Descriptor,
}

/// The layer directories of a data root.
#[derive(Debug)]
pub(crate) struct Layers {
    root: PathBuf,
    store: Store,
    limits: Limits,
    steps: Steps,
    boot_id: String,
    counter: AtomicU64,
    /// Layers that somebody is unpacking now.
    busy: Mutex<HashSet<LayerKey>>,
    settled: Condvar,
}

/// A layer directory that has no name yet; removed when it is dropped.
pub(crate) struct Draft {
    path: PathBuf,
    published: bool,
}

impl Draft {
    pub(crate) fn root(&self) -> Result<OwnedFd> {
        Ok(File::open(&self.path).map_err(stream("open a layer's directory"))?.into())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is swept at the next boot.
            drop(remove_path(&self.path));
        }
    }
}

/// Removes a directory of the store with everything in it.
pub(crate) fn remove_path(path: &Path) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = File::open(parent).map_err(stream("open a directory of the image store"))?;
    linux::at::remove_tree(&parent, name.as_bytes())?;
    Ok(())
}

/// Holds a layer's turn until it is dropped.
struct Turn<'a> {
    layers: &'a Layers,
    key: LayerKey,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.layers.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.layers.settled.notify_all();
    }
}

impl Layers {
    pub(crate) fn open(
        data_root: &Path,
        store: Store,
        limits: Limits,
        steps: Steps,
        boot_id: &str,
    ) -> Result<Self> {
        let root = data_root.join("layers");
        for name in ["tmp", "sha256", "chain-sha256"] {
            make_private(&root.join(name))?;
        }
        Ok(Self {
            root,
            store,
            limits,
            steps,
            boot_id: boot_id.to_owned(),
            counter: AtomicU64::new(0),
            busy: Mutex::default(),
            settled: Condvar::new(),
        })
    }

    /// Where a layer's files are, whether it is unpacked or not.
    pub(crate) fn path(&self, key: &LayerKey) -> PathBuf {
        let (kind, hex) = key.place();
        self.root.join(kind).join(hex)
    }

    /// The record of a layer whose directory is there.
    pub(crate) fn get(&self, key: &LayerKey) -> Result<Option<LayerRecord>> {
        let record = self.store.read()?.get(&LAYERS, &key.text())?;
        Ok(record.filter(|_| self.path(key).is_dir()))
    }

    /// A new directory for a layer.
    pub(crate) fn draft(&self) -> Result<Draft> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let path = self.root.join("tmp").join(format!("{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    let draft = Draft { path, published: false };
                    linux::file::set_mode(draft.root()?, 0o755)?;
                    return Ok(draft);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(stream("make a layer's directory")(error)),
            }
        }
    }

    /// Gives a complete layer its name and its record, unless it has them already.
    pub(crate) fn publish(
        &self,
        mut draft: Draft,
        key: &LayerKey,
        diff_id: &Digest,
        unpacked: &Unpacked,
    ) -> Result<()> {
        if self.get(key)?.is_some() {
            return Ok(());
        }
        self.steps.reached("layer unpacked");
        let path = self.path(key);
        // A directory without a record is what an earlier kill left.
        if path.exists() {
            remove_path(&path)?;
        }
        std::fs::rename(&draft.path, &path).map_err(stream("name a layer"))?;
        draft.published = true;
        self.steps.reached("layer renamed");
        sync_dir(path.parent().unwrap_or(&self.root))?;
        let text =
            |paths: &[Vec<u8>]| paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        let record = LayerRecord {
            diff_id: diff_id.clone(),
            size: unpacked.size,
            entries: unpacked.entries,
            implied: text(&unpacked.needs.implied),
            marked: text(&unpacked.needs.marked),
            root: unpacked.root,
            boot_id: self.boot_id.clone(),
            durable: false,
        };
        self.store.write(|transaction| transaction.put(&LAYERS, &key.text(), &record))?;
        self.steps.reached("layer recorded");
        Ok(())
    }

    /// Waits until nobody else unpacks this layer, and takes the turn.
    fn turn(&self, key: &LayerKey) -> Turn<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(key.clone()) {
            busy = self.settled.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { layers: self, key: key.clone() }
    }

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
        // The largest first, so that the last one standing is a small one.
        missing.sort_by_key(|layer| layer.blob.size);
        let queue = Mutex::new(missing);
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 8);
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

    fn unpack_one_alone(&self, content: &Content, layer: &Wanted, progress: &dyn Progress) -> Result<()> {
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

    /// Owner and mode of the root of a stack of layers (the lowest first).
    pub(crate) fn root_attributes(&self, keys: &[LayerKey]) -> Result<Option<crate::unpack::RootAttributes>> {
        for key in keys.iter().rev() {
            if let Some(root) = self.get(key)?.and_then(|record| record.root) {
                return Ok(Some(root));
            }
        }
        Ok(None)
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
        let tap = |bytes: &[u8]| meter.add(bytes.len());
        let passed = pipeline::run(file, tap, &self.limits, |reader| {
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

    /// Unpacks a stream whose diff ID is not known yet into a draft, while `tap` sees its bytes.
    pub(crate) fn unpack_stream(
        &self,
        source: impl Read + Send,
        tap: impl FnMut(&[u8]) -> Result<()> + Send,
        archive: &str,
    ) -> Result<(Draft, pipeline::Passed<Unpacked>)> {
        let draft = self.draft()?;
        let root = draft.root()?;
        let passed = pipeline::run(source, tap, &self.limits, |reader| {
            unpack(&mut Reader::new(reader, archive, &self.limits), root, Base::Alone, &self.limits, archive)
        })?;
        Ok((draft, passed))
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

    /// Makes every layer of this boot durable and measures it. Called in the background after layers were published.
    pub(crate) fn settle(&self) -> Result<()> {
        let pending: Vec<_> = self.store.read()?.scan(&LAYERS)?.records;
        let pending: Vec<_> = pending.into_iter().filter(|(_, record)| !record.durable).collect();
        if pending.is_empty() {
            return Ok(());
        }
        let root = File::open(&self.root).map_err(stream("open the layers"))?;
        linux::file::sync_file_system(&root)?;
        let mut measured = Vec::new();
        for (text, _) in pending {
            let Some(key) = LayerKey::parse(&text) else { continue };
            match crate::usage::measure(&self.path(&key)) {
                Ok(usage) => measured.push((text, usage.bytes)),
                // It was freed meanwhile.
                Err(_) if !self.path(&key).exists() => {}
                Err(error) => return Err(error),
            }
        }
        self.store.write(|transaction| {
            for (text, bytes) in &measured {
                if let Some(mut record) = transaction.get(&LAYERS, text)? {
                    (record.size, record.durable) = (*bytes, true);
                    transaction.put(&LAYERS, text, &record)?;
                }
            }
            Ok::<_, store::Error>(())
        })?;
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
