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

use crate::Result;
use crate::content::{make_private, sync_dir};
use crate::error::stream;
use crate::limits::Limits;
use crate::pipeline::{self, Pump};
use crate::record::{LAYERS, LayerRecord};
use crate::steps::Steps;
use crate::tar::Reader;
use crate::unpack::{Base, Unpacked, unpack};

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

/// Where a layer's files are below a data root, whether it is unpacked or not.
pub(crate) fn directory(data_root: &Path, key: &LayerKey) -> PathBuf {
    let (kind, hex) = key.place();
    data_root.join("layers").join(kind).join(hex)
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
    pub(crate) limits: Limits,
    steps: Steps,
    boot_id: String,
    counter: AtomicU64,
    /// Layers that somebody is unpacking now.
    busy: Mutex<HashSet<LayerKey>>,
    settled: Condvar,
}

/// A layer directory that has no name yet; removed when it is dropped.
pub(crate) struct Draft {
    pub(crate) path: PathBuf,
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
pub(crate) struct Turn<'a> {
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
        // Layers are made here, and stay where their directory was made. ext4 would put all of them beside each other, and
        // search long for inodes where much was removed lately: it takes none again for minutes.
        let made_in = File::open(root.join("tmp")).map_err(stream("open the layers"))?;
        linux::inode::spread_children(&made_in)?;
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
            seal: None,
        };
        self.store.write(|transaction| transaction.put(&LAYERS, &key.text(), &record))?;
        self.steps.reached("layer recorded");
        Ok(())
    }

    /// Waits until nobody else unpacks this layer, and takes the turn.
    pub(crate) fn turn(&self, key: &LayerKey) -> Turn<'_> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(key.clone()) {
            busy = self.settled.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { layers: self, key: key.clone() }
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

    /// Unpacks a stream whose diff ID is not known yet into a draft, while `tap` sees its bytes.
    pub(crate) fn unpack_stream(
        &self,
        source: impl Read + Send,
        tap: impl FnMut(&[u8]) -> Result<()> + Send,
        archive: &str,
    ) -> Result<(Draft, pipeline::Passed<Unpacked>)> {
        let draft = self.draft()?;
        let root = draft.root()?;
        let passed = pipeline::run(source, tap, Pump::Apart, &self.limits, |reader| {
            unpack(&mut Reader::new(reader, archive, &self.limits), root, Base::Alone, &self.limits, archive)
        })?;
        Ok((draft, passed))
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
            match crate::usage::survey(&self.path(&key)) {
                Ok((usage, seal)) => measured.push((text, usage.bytes, seal)),
                // It was freed meanwhile.
                Err(_) if !self.path(&key).exists() => {}
                Err(error) => return Err(error),
            }
        }
        self.store.write(|transaction| {
            for (text, bytes, seal) in &measured {
                if let Some(mut record) = transaction.get(&LAYERS, text)? {
                    (record.size, record.durable, record.seal) = (*bytes, true, Some(*seal));
                    transaction.put(&LAYERS, text, &record)?;
                }
            }
            Ok::<_, store::Error>(())
        })?;
        Ok(())
    }
}
