//! Freeing what nothing reaches: blobs, layers and snapshots.
//!
//! ```text
//! names ─► manifest or index ─► configuration, layers' blobs, further manifests
//!                 └──────────► diff IDs and chains ─► layer directories
//! snapshots ─► manifest, configuration, layer directories
//! pins of operations under way, leases of pulls that were cut
//! ```
//!
//! Pins are frozen first and records are read afterwards: an operation that is no longer pinned has recorded what it
//! needs. While any document or record on the way cannot be read, nothing is freed, because what it reaches is unknown.

use std::collections::BTreeSet;

use oci::Digest;
use oci::image::{Document, ImageConfig};

use crate::hash::chain_id;
use crate::images::Images;
use crate::layers::{LayerKey, remove_path};
use crate::record::{LAYERS, NAMES, SNAPSHOTS};
use crate::{Error, Result};

/// What was freed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many blobs.
    pub blobs: u64,
    /// How many unpacked layers.
    pub layers: u64,
    /// How many bytes of disk together.
    pub bytes: u64,
    /// Why nothing was freed: documents or records that cannot be read.
    pub unreadable: Vec<String>,
}

/// What must stay.
#[derive(Debug, Default)]
pub(crate) struct Reachable {
    pub(crate) blobs: BTreeSet<Digest>,
    pub(crate) layers: BTreeSet<String>,
    pub(crate) unreadable: Vec<String>,
}

/// Indexes inside indexes are followed this deep.
const MAX_DEPTH: usize = 4;

impl Images {
    /// Frees everything that no image, no snapshot and no operation under way needs.
    ///
    /// # Errors
    /// When the disk or the database fails.
    pub fn collect(&self) -> Result<Collected> {
        self.collect_with(false)
    }

    /// The same; `all` also frees what pulls have left that were cut and not tried again yet.
    pub(crate) fn collect_with(&self, all: bool) -> Result<Collected> {
        let frozen = self.pins.freeze();
        let leased = self.leased(&frozen, all)?;
        let held = |key: &str| frozen.contains_key(key) || leased.contains(key);
        let reachable = self.reachable()?;
        if !reachable.unreadable.is_empty() {
            return Ok(Collected { unreadable: reachable.unreadable, ..Collected::default() });
        }
        let mut collected = Collected::default();
        let mut layers = Vec::new();
        for (text, record) in self.store.read()?.scan(&LAYERS)?.records {
            if !reachable.layers.contains(&text) && !held(&text) {
                collected.layers += 1;
                collected.bytes += record.size;
                layers.push(text);
            }
        }
        if !layers.is_empty() {
            self.store.write(|transaction| {
                for text in &layers {
                    transaction.delete(&LAYERS, text)?;
                }
                Ok::<_, Error>(())
            })?;
        }
        self.options.steps.reached("layers forgotten");
        for (_, path) in
            layers.iter().filter_map(|text| LayerKey::parse(text)).map(|key| ((), self.layers.path(&key)))
        {
            remove_path(&path)?;
        }
        self.options.steps.reached("layers freed");
        for blob in self.content.list()?.0 {
            if !reachable.blobs.contains(&blob.digest) && !held(&blob.digest.to_string()) {
                collected.blobs += 1;
                collected.bytes += self.content.remove(&blob.digest)?;
            }
        }
        collected.bytes += self.content.remove_partial(&|digest| held(&digest.to_string()))?;
        self.options.steps.reached("blobs freed");
        Ok(collected)
    }

    /// Everything that images and snapshots need.
    pub(crate) fn reachable(&self) -> Result<Reachable> {
        let mut reachable = Reachable::default();
        let view = self.store.read()?;
        let names = view.scan(&NAMES)?;
        let snapshots = view.scan(&SNAPSHOTS)?;
        for bad in names.bad.iter().chain(&snapshots.bad) {
            reachable.unreadable.push(format!("record {:?} of {}: {}", bad.key, bad.table, bad.reason));
        }
        for (_, record) in names.records {
            self.walk(&record.target.digest, &record.target.media_type, 0, &mut reachable);
        }
        for (_, record) in snapshots.records {
            reachable.layers.extend(record.layers);
            if let Some(manifest) = record.manifest {
                self.walk(&manifest, "", 0, &mut reachable);
            }
        }
        Ok(reachable)
    }

    /// Everything that one image needs.
    pub(crate) fn reachable_from(&self, target: &oci::image::Descriptor) -> Reachable {
        let mut reachable = Reachable::default();
        self.walk(&target.digest, &target.media_type, 0, &mut reachable);
        reachable
    }

    /// Follows a manifest or an index. What an index names and is not here was never loaded.
    fn walk(&self, digest: &Digest, media_type: &str, depth: usize, reachable: &mut Reachable) {
        let first_visit = reachable.blobs.insert(digest.clone());
        if !first_visit || depth > MAX_DEPTH {
            return;
        }
        let document = match self.document(digest, media_type) {
            Ok(document) => document,
            Err(Error::MissingContent(_)) => return,
            Err(error) => {
                reachable.unreadable.push(error.to_string());
                return;
            }
        };
        match document {
            Document::Index(index) => {
                for child in &index.manifests {
                    self.walk(&child.digest, &child.media_type, depth + 1, reachable);
                }
            }
            Document::Manifest(manifest) => {
                reachable.blobs.insert(manifest.config.digest.clone());
                reachable.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
                if oci::image::media_type::is_config(&manifest.config.media_type) {
                    self.walk_config(&manifest.config.digest, reachable);
                }
            }
        }
    }

    fn walk_config(&self, digest: &Digest, reachable: &mut Reachable) {
        let config: ImageConfig = match self.read_json(digest) {
            Ok(config) => config,
            Err(Error::MissingContent(_)) => return,
            Err(error) => {
                reachable.unreadable.push(error.to_string());
                return;
            }
        };
        let diff_ids = config.rootfs.diff_ids;
        for end in 1..=diff_ids.len() {
            reachable.layers.insert(LayerKey::Alone(diff_ids[end - 1].clone()).text());
            reachable.layers.extend(chain_id(&diff_ids[..end]).map(|chain| LayerKey::Chain(chain).text()));
        }
    }
}
