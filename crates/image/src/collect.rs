//! Freeing what nothing reaches: blobs, layers and snapshots.
//!
//! ```text
//! names ─► manifest or index ─► configuration, layers' blobs, further manifests
//!                 └──────────► diff IDs and chains ─► layer directories
//! snapshots ─► manifest, configuration, layer directories
//! pins of operations under way, leases of pulls that were cut
//! ```
//!
//! What names and snapshots need is recorded when it changes (`uses.rs`), so only what has lost its last use, and what
//! operations have let go, is looked at. Pins are frozen first and records are read afterwards: an operation that is no
//! longer pinned has recorded what it needs. While any document of a root cannot be read, nothing is freed, because what
//! it reaches is unknown.

use std::collections::BTreeSet;

use oci::Digest;
use oci::image::{Document, ImageConfig};

use crate::discard::Aside;
use crate::hash::chain_id;
use crate::images::Images;
use crate::layers::LayerKey;
use crate::record::LAYERS;
use crate::uses::{self, GARBAGE, UNREADABLE, USES};
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

    /// The same; `all` also looks for what nothing ever used, and frees what pulls have left that were cut and not tried
    /// again yet.
    pub(crate) fn collect_with(&self, all: bool) -> Result<Collected> {
        if all {
            self.find_orphans()?;
        }
        let mut frozen = self.pins.freeze();
        let leased = self.leased(&frozen, all)?;
        let view = self.store.read()?;
        let broken = view.scan(&UNREADABLE)?;
        if !broken.records.is_empty() || !broken.bad.is_empty() {
            let reasons = broken.records.into_iter().flat_map(|(_, reasons)| reasons);
            let bad = broken.bad.into_iter().map(|bad| bad.reason);
            return Ok(Collected { unreadable: reasons.chain(bad).collect(), ..Collected::default() });
        }
        let mut candidates: BTreeSet<String> = BTreeSet::new();
        for key in frozen.take_let_go() {
            candidates.extend([uses::blob(&key), uses::layer(&key)]);
        }
        let garbage: BTreeSet<String> =
            view.scan(&GARBAGE)?.records.into_iter().map(|(key, _)| key).collect();
        candidates.extend(garbage.iter().cloned());
        let held = |key: &str| frozen.holds(key) || leased.contains(key);
        let (mut doomed, mut settled) = (Vec::new(), Vec::new());
        for thing in candidates {
            let Some((_, key)) = thing.split_once(' ') else { continue };
            if held(key) {
                continue;
            }
            if !view.has_prefix(&USES, &format!("{thing} "))? {
                doomed.push(thing.clone());
            }
            settled.push(thing);
        }
        drop(view);
        let (mut collected, aside) = self.free(&doomed)?;
        if settled.iter().any(|thing| garbage.contains(thing)) {
            // Found again after a loss of power, and freed once more, which changes nothing.
            self.store.write_relaxed(|transaction| {
                settled.iter().try_for_each(|thing| transaction.delete(&GARBAGE, thing).map(drop))
            })?;
        }
        collected.bytes += self.content.remove_partial(&|digest| held(&digest.to_string()))?;
        self.options.steps.reached("blobs freed");
        // Unlinking the files of a large image takes long: creations and pulls do not wait for it.
        drop(frozen);
        aside.free();
        self.options.steps.reached("layers freed");
        Ok(collected)
    }

    /// Frees blobs and layers, as far as they are there; layers are only put aside.
    fn free(&self, doomed: &[String]) -> Result<(Collected, Aside<'_>)> {
        let mut collected = Collected::default();
        let view = self.store.read()?;
        let mut layers = Vec::new();
        for text in doomed.iter().filter_map(|thing| thing.strip_prefix("layer ")) {
            if let Some(record) = view.get(&LAYERS, &text.to_owned())? {
                collected.layers += 1;
                collected.bytes += record.size;
                layers.push(text.to_owned());
            } else if LayerKey::parse(text).is_some_and(|key| self.layers.path(&key).exists()) {
                // Forgotten by a collection that then failed.
                layers.push(text.to_owned());
            }
        }
        drop(view);
        if !layers.is_empty() {
            self.store.write(|transaction| {
                for text in &layers {
                    transaction.delete(&LAYERS, text)?;
                }
                Ok::<_, Error>(())
            })?;
        }
        self.options.steps.reached("layers forgotten");
        let mut aside = Aside::new(&self.discarded);
        for key in layers.iter().filter_map(|text| LayerKey::parse(text)) {
            aside.take(&self.layers.path(&key))?;
        }
        self.options.steps.reached("layers put aside");
        for text in doomed.iter().filter_map(|thing| thing.strip_prefix("blob ")) {
            // Keys of layers that are no digests name no blob.
            let Ok(digest) = text.parse() else { continue };
            if self.content.size(&digest)?.is_some() {
                collected.blobs += 1;
                collected.bytes += self.content.remove(&digest)?;
            }
        }
        Ok((collected, aside))
    }

    /// Everything that one image needs.
    pub(crate) fn reachable_from(&self, target: &oci::image::Descriptor) -> Reachable {
        self.reachable_without(target, &BTreeSet::new())
    }

    /// The same, as if the manifests of `gone` were not here.
    pub(crate) fn reachable_without(
        &self,
        target: &oci::image::Descriptor,
        gone: &BTreeSet<Digest>,
    ) -> Reachable {
        // What is among the blobs already is not looked into.
        let mut reachable = Reachable { blobs: gone.clone(), ..Reachable::default() };
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
