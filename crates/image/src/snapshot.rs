//! The writable part of containers' roots.
//!
//! ```text
//! snapshots/<id>/upper    what the container changes; its owner and mode are the root's
//! snapshots/<id>/work     overlayfs's own
//! ```
//!
//! What a root lies on is recorded when its container is made; the directories are made when it is used first.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use store::Transaction;

use crate::content::make_private;
use crate::error::stream;
use crate::images::Images;
use crate::layers::{LayerKey, remove_path};
use crate::pins::Pin;
use crate::platform::Runnable;
use crate::progress::Progress;
use crate::record::{SNAPSHOTS, SnapshotRecord};
use crate::usage::{Usage, measure};
use crate::{Error, Result, uses};

/// The directories to mount a container's root from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The upper directory.
    pub upper: PathBuf,
    /// The work directory.
    pub work: PathBuf,
    /// The lower directories, the topmost first.
    pub lower: Vec<PathBuf>,
}

/// A snapshot that is about to be recorded. What it lies on stays for as long as this lives.
#[derive(Debug)]
pub struct Reserved {
    id: String,
    record: SnapshotRecord,
    needs: Option<uses::Needs>,
    _pin: Pin,
}

impl Reserved {
    /// Records it: together with its owner, so that there is never one without the other.
    ///
    /// # Errors
    /// When the database fails.
    pub fn record(&self, transaction: &mut Transaction) -> Result<()> {
        transaction.put(&SNAPSHOTS, &self.id, &self.record)?;
        uses::mount(transaction, &self.id, &self.record, self.needs.as_ref())
    }
}

impl Images {
    /// Unpacks what is missing of an image, and returns the directories to stack, the topmost first.
    ///
    /// # Errors
    /// When content is missing or wrong, or the disk is full.
    pub fn lower_dirs(&self, image: &Runnable, progress: &dyn Progress) -> Result<Vec<PathBuf>> {
        let keys = self.unpack(image, progress)?;
        Ok(keys.iter().rev().map(|key| self.layers.path(key)).collect())
    }

    /// Unpacks what is missing of an image; the layers' keys, the lowest first.
    pub(crate) fn unpack(&self, image: &Runnable, progress: &dyn Progress) -> Result<Vec<LayerKey>> {
        let wanted = image.wanted()?;
        let pin = self.pins.operation();
        for layer in &wanted {
            pin.add(&layer.blob.digest);
        }
        let keys = self.pinned_layers(&pin, &wanted, progress)?;
        self.settle_soon();
        Ok(keys)
    }

    fn pinned_layers(
        &self,
        pin: &Pin,
        wanted: &[crate::layers::Wanted],
        progress: &dyn Progress,
    ) -> Result<Vec<LayerKey>> {
        let diff_ids: Vec<_> = wanted.iter().map(|layer| layer.diff_id.clone()).collect();
        for end in 1..=diff_ids.len() {
            pin.add(LayerKey::Alone(diff_ids[end - 1].clone()).text());
            if let Some(chain) = crate::hash::chain_id(&diff_ids[..end]) {
                pin.add(LayerKey::Chain(chain).text());
            }
        }
        self.layers.ensure(&self.content, wanted, progress)
    }

    /// Makes the snapshot of a container, unpacking the image where needed; one that is there already is returned.
    ///
    /// # Errors
    /// When the ID cannot be a directory's name, content is missing or wrong, or the disk is full.
    pub fn prepare_snapshot(&self, id: &str, image: &Runnable, progress: &dyn Progress) -> Result<Snapshot> {
        self.prepare(id, Some(image), progress)
    }

    /// Makes a snapshot on directories of the caller's, which are not in this store (a throw-away copy of a directory).
    ///
    /// # Errors
    /// When the ID cannot be a directory's name, or the disk fails.
    pub fn prepare_bare_snapshot(&self, id: &str) -> Result<Snapshot> {
        self.prepare(id, None, &crate::Silent)
    }

    fn prepare(&self, id: &str, image: Option<&Runnable>, progress: &dyn Progress) -> Result<Snapshot> {
        if let Some(snapshot) = self.snapshot(id)? {
            return Ok(snapshot);
        }
        let reserved = self.reserve_snapshot(id, image, progress)?;
        self.store.write_relaxed(|transaction| reserved.record(transaction))?;
        self.options.steps.reached("snapshot recorded");
        let (snapshot, _) = self.open_snapshot(id, &[])?.ok_or_else(|| lost(id))?;
        Ok(snapshot)
    }

    /// Finds, and unpacks where needed, what a container's root is to lie on; without an image that is nothing of this
    /// store. It is recorded by [`Reserved::record`], and its directories are made when it is opened first.
    ///
    /// # Errors
    /// When the ID cannot be a directory's name, content is missing or wrong, or the disk is full.
    pub fn reserve_snapshot(
        &self,
        id: &str,
        image: Option<&Runnable>,
        progress: &dyn Progress,
    ) -> Result<Reserved> {
        check_id(id)?;
        let pin = self.pins.operation();
        let mut keys = Vec::new();
        if let Some(image) = image {
            let wanted = image.wanted()?;
            for layer in &wanted {
                pin.add(&layer.blob.digest);
            }
            keys = self.pinned_layers(&pin, &wanted, progress)?;
            self.settle_soon();
        }
        let record = SnapshotRecord {
            image: image.map(|image| image.id.clone()),
            manifest: image.map(|image| image.manifest.digest.clone()),
            layers: keys.iter().rev().map(LayerKey::text).collect(),
            created: crate::time::now_text(),
        };
        let needs = self.snapshot_needs(&record)?;
        Ok(Reserved { id: id.to_owned(), record, needs, _pin: pin })
    }

    /// The directories of a container's root, which are made where they are not there: they were never opened, or a loss
    /// of power took them. A new layer begins with these empty files of mode 0755. The second value says whether it is
    /// new. `None` without a record.
    ///
    /// # Errors
    /// When a layer is gone and its content is as well, or the disk is full.
    pub fn open_snapshot(&self, id: &str, begins_with: &[&str]) -> Result<Option<(Snapshot, bool)>> {
        let Some(record) = self.snapshot_record(id)? else { return Ok(None) };
        let snapshot = self.with_layers(id, &record)?;
        if snapshot.upper.is_dir() && snapshot.work.is_dir() {
            return Ok(Some((snapshot, false)));
        }
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !snapshot.upper.is_dir();
        make_private(&snapshot.work)?;
        if is_new {
            self.make_upper(id, &record, &snapshot, begins_with)?;
        }
        self.options.steps.reached("snapshot made");
        Ok(Some((snapshot, is_new)))
    }

    /// Makes the layer of a container, which has its name once it is whole.
    fn make_upper(
        &self,
        id: &str,
        record: &SnapshotRecord,
        snapshot: &Snapshot,
        begins_with: &[&str],
    ) -> Result<()> {
        let failed = || stream("make a snapshot");
        let draft = self.snapshot_path(id).join("upper.new");
        // What an earlier attempt left.
        remove_path(&draft)?;
        std::fs::create_dir(&draft).map_err(failed())?;
        let handle = std::fs::File::open(&draft).map_err(failed())?;
        for name in begins_with {
            let mut file = std::fs::OpenOptions::new();
            file.create_new(true).write(true).mode(0o755).open(draft.join(name)).map_err(failed())?;
        }
        let keys: Vec<_> = record.layers.iter().rev().filter_map(|text| LayerKey::parse(text)).collect();
        let root = self.layers.root_attributes(&keys)?;
        let (uid, gid, mode) = root.map_or((0, 0, 0o755), |root| (root.uid, root.gid, root.mode));
        linux::file::set_owner(&handle, uid, gid)?;
        linux::file::set_mode(&handle, mode)?;
        std::fs::rename(&draft, &snapshot.upper).map_err(failed())
    }

    fn snapshot_path(&self, id: &str) -> PathBuf {
        self.options.data_root.join("snapshots").join(id)
    }

    fn describe(&self, id: &str, record: &SnapshotRecord) -> Snapshot {
        let path = self.snapshot_path(id);
        let keys = record.layers.iter().filter_map(|text| LayerKey::parse(text));
        let lower = keys.map(|key| self.layers.path(&key)).collect();
        Snapshot { upper: path.join("upper"), work: path.join("work"), lower }
    }

    /// Lets the changes of a container whose snapshot is new take so many bytes of the disk.
    ///
    /// # Errors
    /// When the file system cannot limit it.
    pub fn limit_snapshot(&self, id: &str, bytes: u64) -> Result<()> {
        check_id(id)?;
        let path = self.snapshot_path(id);
        self.quotas().limit(&[&path, &path.join("upper"), &path.join("work")], bytes)
    }

    fn snapshot_record(&self, id: &str) -> Result<Option<SnapshotRecord>> {
        check_id(id)?;
        Ok(self.store.read()?.get(&SNAPSHOTS, &id.to_owned())?)
    }

    /// The snapshot of a container; `None` when it has none, or one that was never opened. Layers that a loss of power took
    /// are unpacked again.
    ///
    /// # Errors
    /// When a layer is gone and its content is as well.
    pub fn snapshot(&self, id: &str) -> Result<Option<Snapshot>> {
        let Some(record) = self.snapshot_record(id)? else { return Ok(None) };
        if !self.snapshot_path(id).join("upper").is_dir() {
            return Ok(None);
        }
        self.with_layers(id, &record).map(Some)
    }

    /// A snapshot whose layers are all there.
    fn with_layers(&self, id: &str, record: &SnapshotRecord) -> Result<Snapshot> {
        let snapshot = self.describe(id, record);
        if snapshot.lower.iter().all(|lower| lower.is_dir()) {
            return Ok(snapshot);
        }
        if let Some(manifest) = &record.manifest {
            self.unpack(&self.by_manifest(manifest)?, &crate::Silent)?;
        }
        match snapshot.lower.iter().find(|lower| !lower.is_dir()) {
            None => Ok(snapshot),
            Some(lower) => Err(Error::Invalid(format!(
                "the layer {} of container {id} is gone: pull its image again",
                lower.display()
            ))),
        }
    }

    /// What a manifest needs to be unpacked, whether an image has it or only a snapshot does.
    pub(crate) fn by_manifest(&self, digest: &oci::Digest) -> Result<Runnable> {
        let oci::image::Document::Manifest(manifest) = self.document(digest, "")? else {
            return Err(Error::Invalid(format!("{digest} is an index, not a manifest")));
        };
        let config: oci::image::ImageConfig = self.read_json(&manifest.config.digest)?;
        let size = self.content.size(digest)?.unwrap_or_default();
        Ok(Runnable {
            id: digest.clone(),
            manifest: oci::image::Descriptor::new(&manifest.media_type, digest.clone(), size),
            platform: config.platform(),
            config,
            layers: manifest.layers,
        })
    }

    /// Removes the snapshot of a container; `false` when there is none.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove_snapshot(&self, id: &str) -> Result<bool> {
        let there = self.store.write_relaxed(|transaction| self.forget_snapshot(transaction, id))?;
        self.discard_snapshot(id)?;
        Ok(there)
    }

    /// Forgets the snapshot of a container in a transaction of the caller's; `false` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_snapshot(&self, transaction: &mut Transaction, id: &str) -> Result<bool> {
        check_id(id)?;
        uses::forget_snapshot(transaction, id)?;
        Ok(transaction.delete(&SNAPSHOTS, &id.to_owned())?)
    }

    /// Gives up the directories of a snapshot that is forgotten, or whose owner will have it forgotten at the next boot.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn discard_snapshot(&self, id: &str) -> Result<()> {
        check_id(id)?;
        self.options.steps.reached("snapshot forgotten");
        self.quotas().forget(&self.snapshot_path(id))?;
        self.discarded.discard(&self.snapshot_path(id))
    }

    /// Removes the directories of a snapshot, and waits until the disk is free of them.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn free_snapshot(&self, id: &str) -> Result<()> {
        check_id(id)?;
        self.quotas().forget(&self.snapshot_path(id))?;
        remove_path(&self.snapshot_path(id))
    }

    /// Gives up a directory of the data root's file system: it is out of the way at once, and freed in the background.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn discard(&self, path: &Path) -> Result<()> {
        self.discarded.discard(path)
    }

    /// The disk that a container's changes take (`SizeRw`).
    ///
    /// # Errors
    /// When the snapshot cannot be read.
    pub fn snapshot_usage(&self, id: &str) -> Result<Usage> {
        check_id(id)?;
        let upper = self.snapshot_path(id).join("upper");
        // One that was never opened.
        if upper.is_dir() { measure(&upper) } else { Ok(Usage::default()) }
    }

    /// The disk that the layers below a container's changes take, in bytes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn snapshot_lower_size(&self, id: &str) -> Result<u64> {
        check_id(id)?;
        let view = self.store.read()?;
        let Some(record) = view.get(&SNAPSHOTS, &id.to_owned())? else { return Ok(0) };
        let mut size = 0;
        for text in record.layers {
            size += view.get(&crate::record::LAYERS, &text)?.map_or(0, |layer| layer.size);
        }
        Ok(size)
    }

    /// The IDs of all snapshots, so that their owner can remove those of containers it no longer knows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn snapshots(&self) -> Result<Vec<String>> {
        Ok(self.store.read()?.scan(&SNAPSHOTS)?.records.into_iter().map(|(id, _)| id).collect())
    }
}

fn lost(id: &str) -> Error {
    Error::Invalid(format!("the snapshot of container {id} was removed while it was being made"))
}

/// An ID that is safe as the name of a directory.
fn check_id(id: &str) -> Result<()> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if (1..=128).contains(&id.len()) && id.bytes().all(valid) && !id.starts_with('.') {
        return Ok(());
    }
    Err(Error::Invalid(format!("{id:?} cannot be the ID of a container")))
}
