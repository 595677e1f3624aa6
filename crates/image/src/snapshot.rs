//! The writable part of containers' roots.
//!
//! ```text
//! snapshots/<id>/upper    what the container changes; its owner and mode are the root's
//! snapshots/<id>/work     overlayfs's own
//! ```

use std::path::PathBuf;

use crate::content::make_private;
use crate::error::stream;
use crate::images::Images;
use crate::layers::{LayerKey, remove_path};
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
        pin: &crate::pins::Pin,
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
        check_id(id)?;
        if let Some(snapshot) = self.snapshot(id)? {
            return Ok(snapshot);
        }
        let wanted = image.wanted()?;
        let pin = self.pins.operation();
        for layer in &wanted {
            pin.add(&layer.blob.digest);
        }
        let keys = self.pinned_layers(&pin, &wanted, progress)?;
        self.settle_soon();
        let record = SnapshotRecord {
            image: Some(image.id.clone()),
            manifest: Some(image.manifest.digest.clone()),
            layers: keys.iter().rev().map(LayerKey::text).collect(),
            created: crate::time::now_text(),
        };
        self.make_snapshot(id, &record, self.layers.root_attributes(&keys)?)
    }

    /// Makes a snapshot on directories of the caller's, which are not in this store (a throw-away copy of a directory).
    ///
    /// # Errors
    /// When the ID cannot be a directory's name, or the disk fails.
    pub fn prepare_bare_snapshot(&self, id: &str) -> Result<Snapshot> {
        check_id(id)?;
        if let Some(snapshot) = self.snapshot(id)? {
            return Ok(snapshot);
        }
        let created = crate::time::now_text();
        let record = SnapshotRecord { image: None, manifest: None, layers: Vec::new(), created };
        self.make_snapshot(id, &record, None)
    }

    fn make_snapshot(
        &self,
        id: &str,
        record: &SnapshotRecord,
        root: Option<crate::unpack::RootAttributes>,
    ) -> Result<Snapshot> {
        let path = self.snapshot_path(id);
        // What an earlier attempt left has no record, and nobody uses it.
        remove_path(&path)?;
        make_private(&path)?;
        let (upper, work) = (path.join("upper"), path.join("work"));
        make_private(&work)?;
        std::fs::create_dir(&upper).map_err(stream("make a snapshot"))?;
        let handle = std::fs::File::open(&upper).map_err(stream("make a snapshot"))?;
        let (uid, gid, mode) = root.map_or((0, 0, 0o755), |root| (root.uid, root.gid, root.mode));
        linux::file::set_owner(&handle, uid, gid)?;
        linux::file::set_mode(&handle, mode)?;
        self.options.steps.reached("snapshot made");
        // Nothing is in it yet, and nobody was promised anything: the disk is waited for by the owner's own record. What
        // a loss of power takes is made again.
        let needs = self.snapshot_needs(record)?;
        self.store.write_relaxed(|transaction| {
            transaction.put(&SNAPSHOTS, &id.to_owned(), record)?;
            uses::mount(transaction, id, record, needs.as_ref())
        })?;
        self.options.steps.reached("snapshot recorded");
        Ok(self.describe(id, record))
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

    /// The snapshot of a container; `None` when it has none. Layers that a loss of power took are unpacked again.
    ///
    /// # Errors
    /// When a layer is gone and its content is as well.
    pub fn snapshot(&self, id: &str) -> Result<Option<Snapshot>> {
        check_id(id)?;
        let Some(record) = self.store.read()?.get(&SNAPSHOTS, &id.to_owned())? else { return Ok(None) };
        if !self.snapshot_path(id).join("upper").is_dir() {
            return Ok(None);
        }
        let snapshot = self.describe(id, &record);
        if snapshot.lower.iter().all(|lower| lower.is_dir()) {
            return Ok(Some(snapshot));
        }
        if let Some(manifest) = &record.manifest {
            self.unpack(&self.by_manifest(manifest)?, &crate::Silent)?;
        }
        match snapshot.lower.iter().find(|lower| !lower.is_dir()) {
            None => Ok(Some(snapshot)),
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
    /// When it is still mounted somewhere, or the disk fails.
    pub fn remove_snapshot(&self, id: &str) -> Result<bool> {
        check_id(id)?;
        let there = self.store.write_relaxed(|transaction| {
            uses::forget_snapshot(transaction, id)?;
            Ok::<_, Error>(transaction.delete(&SNAPSHOTS, &id.to_owned())?)
        })?;
        self.options.steps.reached("snapshot forgotten");
        self.quotas().forget(&self.snapshot_path(id))?;
        remove_path(&self.snapshot_path(id))?;
        Ok(there)
    }

    /// The disk that a container's changes take (`SizeRw`).
    ///
    /// # Errors
    /// When the snapshot cannot be read.
    pub fn snapshot_usage(&self, id: &str) -> Result<Usage> {
        check_id(id)?;
        measure(&self.snapshot_path(id).join("upper"))
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

/// An ID that is safe as the name of a directory.
fn check_id(id: &str) -> Result<()> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if (1..=128).contains(&id.len()) && id.bytes().all(valid) && !id.starts_with('.') {
        return Ok(());
    }
    Err(Error::Invalid(format!("{id:?} cannot be the ID of a container")))
}
