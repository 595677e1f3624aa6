//! What is said about one image: `docker inspect`, `docker history`.

use std::collections::{BTreeMap, BTreeSet};

use oci::image::{ANNOTATION_REFERENCE_DIGEST, Descriptor, ImageConfig, media_type};
use oci::{Digest, Platform, Reference};

use crate::hash::chain_id;
use crate::images::Images;
use crate::layers::LayerKey;
use crate::names::Named;
use crate::platform::Child;
use crate::record::{LAYERS, LayerRecord, is_dangling};
use crate::{Error, Result};

/// Everything about an image and the platform that was chosen of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// The image's ID.
    pub id: Digest,
    /// The manifest or the index.
    pub target: Descriptor,
    /// Its names with tags, as people write them.
    pub repo_tags: Vec<String>,
    /// Its names with its digest, as people write them.
    pub repo_digests: Vec<String>,
    /// The chosen manifest.
    pub manifest: Descriptor,
    /// The chosen configuration.
    pub config: ImageConfig,
    /// The chosen platform.
    pub platform: Platform,
    /// Bytes of the chosen platform: content that is here, and unpacked layers.
    pub size: u64,
    /// The image that it was committed from here.
    pub parent: Option<Digest>,
    /// When it was last given a name here by hand (RFC 3339).
    pub last_tagged: Option<String>,
    /// All manifests of the image.
    pub manifests: Vec<ManifestSummary>,
}

/// A manifest of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestSummary {
    /// Its descriptor, as the index has it.
    pub descriptor: Descriptor,
    /// Whether everything it names is here.
    pub available: bool,
    /// Bytes of its content that are here.
    pub content_size: u64,
    /// What it is.
    pub kind: ManifestKind,
}

/// What a manifest is.
#[derive(Debug, Clone, PartialEq)]
pub enum ManifestKind {
    /// An image of one platform.
    Image {
        /// Its platform.
        platform: Platform,
        /// Bytes of its unpacked layers; 0 when it is not unpacked.
        unpacked_size: u64,
    },
    /// An attestation about another manifest.
    Attestation {
        /// The manifest it is about.
        subject: Option<Digest>,
    },
    /// Something else.
    Unknown,
}

/// One step of an image's history, the latest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's ID for the latest step, nothing for the others.
    pub id: Option<Digest>,
    /// When, in seconds since 1970.
    pub created: i64,
    /// The command that made it.
    pub created_by: String,
    /// The image's names for the latest step.
    pub tags: Vec<String>,
    /// Bytes of its unpacked layer.
    pub size: u64,
    /// A comment.
    pub comment: String,
}

/// The names of an image in Docker's two lists.
pub(crate) fn names_of(names: &[Named], id: &Digest) -> (Vec<String>, Vec<String>) {
    let (mut tags, mut digests) = (Vec::new(), BTreeSet::new());
    for (key, _) in names.iter().filter(|(key, record)| record.target.digest == *id && !is_dangling(key)) {
        let Ok(reference) = Reference::parse(key) else { continue };
        if reference.tag().is_some() {
            tags.push(reference.without_digest().familiar());
        }
        digests.insert(reference.with_digest(id.clone()).familiar());
    }
    (tags, digests.into_iter().collect())
}

impl Images {
    /// Everything about an image; of several platforms the one that is asked for, or the best for this machine.
    ///
    /// # Errors
    /// `NotFound` when there is no such image or it is not here for the platform.
    pub fn inspect(&self, name: &str, platform: Option<&Platform>) -> Result<Details> {
        let found = self.resolve(name)?;
        let names = self.names()?;
        let layers = self.layer_records()?;
        let chosen = self.choose(&found, name, platform)?;
        let (repo_tags, repo_digests) = names_of(&names, &found.id);
        let mut seen = BTreeSet::new();
        let content = self.content_size(&chosen.manifest, &mut seen)?;
        let same = names.iter().filter(|(_, record)| record.target.digest == found.id);
        Ok(Details {
            size: content + unpacked_size(&layers, &chosen.config.rootfs.diff_ids),
            last_tagged: same.filter_map(|(_, record)| record.tagged.clone()).max(),
            manifests: self.manifest_summaries(&found.target, &layers)?,
            parent: self.parent_of(&found.id)?,
            id: found.id,
            target: found.target,
            repo_tags,
            repo_digests,
            manifest: chosen.manifest,
            config: chosen.config,
            platform: chosen.platform,
        })
    }

    /// The history of an image, the latest step first.
    ///
    /// # Errors
    /// `NotFound` when there is no such image or it is not here for the platform.
    pub fn history(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<HistoryEntry>> {
        let found = self.resolve(name)?;
        let chosen = self.choose(&found, name, platform)?;
        let (tags, _) = names_of(&self.names()?, &found.id);
        let layers = self.layer_records()?;
        let diff_ids = &chosen.config.rootfs.diff_ids;
        let mut sizes = (1..=diff_ids.len()).map(|end| layer_size(&layers, &diff_ids[..end]));
        let mut entries: Vec<HistoryEntry> = chosen
            .config
            .history
            .iter()
            .map(|step| HistoryEntry {
                id: None,
                created: step.created.as_deref().and_then(crate::time::parse).unwrap_or_default(),
                created_by: step.created_by.clone(),
                tags: Vec::new(),
                size: if step.empty_layer { 0 } else { sizes.next().unwrap_or_default() },
                comment: step.comment.clone(),
            })
            .collect();
        entries.reverse();
        if let Some(latest) = entries.first_mut() {
            (latest.id, latest.tags) = (Some(found.id), tags);
        }
        Ok(entries)
    }

    /// The bytes of a stored document, for whoever hands it out as it is.
    ///
    /// # Errors
    /// When it is not here or damaged.
    pub fn document_bytes(&self, digest: &Digest) -> Result<Vec<u8>> {
        self.content.read(digest, self.options.limits.max_document)
    }

    /// All readable records of unpacked layers.
    pub(crate) fn layer_records(&self) -> Result<BTreeMap<String, LayerRecord>> {
        Ok(self.store.read()?.scan(&LAYERS)?.records.into_iter().collect())
    }

    /// All manifests of an image.
    pub(crate) fn manifest_summaries(
        &self,
        target: &Descriptor,
        layers: &BTreeMap<String, LayerRecord>,
    ) -> Result<Vec<ManifestSummary>> {
        self.children(target)?.into_iter().map(|child| self.summarize(child, layers)).collect()
    }

    fn summarize(&self, child: Child, layers: &BTreeMap<String, LayerRecord>) -> Result<ManifestSummary> {
        let mut available = child.manifest.is_some();
        for part in child.manifest.iter().flat_map(|m| std::iter::once(&m.config).chain(&m.layers)) {
            available &=
                media_type::is_foreign_layer(&part.media_type) || self.content.size(&part.digest)?.is_some();
        }
        let content_size = self.content_size(&child.descriptor, &mut BTreeSet::new())?;
        let subject = child.descriptor.annotations.get(ANNOTATION_REFERENCE_DIGEST);
        let kind = match (&child.config, child.platform()) {
            _ if child.attestation => {
                ManifestKind::Attestation { subject: subject.and_then(|digest| digest.parse().ok()) }
            }
            (Some(config), Some(platform)) => {
                let unpacked_size = unpacked_size(layers, &config.rootfs.diff_ids);
                ManifestKind::Image { platform, unpacked_size }
            }
            (None, Some(platform)) if child.manifest.is_none() => {
                ManifestKind::Image { platform, unpacked_size: 0 }
            }
            _ => ManifestKind::Unknown,
        };
        Ok(ManifestSummary { descriptor: child.descriptor, available, content_size, kind })
    }

    /// Bytes of the content below a manifest that is here and not in `seen` yet.
    pub(crate) fn content_size(&self, manifest: &Descriptor, seen: &mut BTreeSet<Digest>) -> Result<u64> {
        let mut total = 0;
        let mut add = |digest: &Digest| -> Result<bool> {
            if !seen.insert(digest.clone()) {
                return Ok(false);
            }
            let size = self.content.size(digest)?;
            total += size.unwrap_or_default();
            Ok(size.is_some())
        };
        if !add(&manifest.digest)? {
            return Ok(total);
        }
        match self.document(&manifest.digest, "") {
            Ok(oci::image::Document::Manifest(document)) => {
                for part in std::iter::once(&document.config).chain(&document.layers) {
                    add(&part.digest)?;
                }
            }
            Ok(oci::image::Document::Index(_)) | Err(Error::Document { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(total)
    }
}

/// The record of the topmost of some layers, whichever way it was unpacked.
pub(crate) fn layer_record<'a>(
    layers: &'a BTreeMap<String, LayerRecord>,
    diff_ids: &[Digest],
) -> Option<&'a LayerRecord> {
    let chain = LayerKey::Chain(chain_id(diff_ids)?);
    let alone = LayerKey::Alone(diff_ids.last()?.clone());
    layers.get(&chain.text()).or_else(|| layers.get(&alone.text()))
}

fn layer_size(layers: &BTreeMap<String, LayerRecord>, diff_ids: &[Digest]) -> u64 {
    layer_record(layers, diff_ids).map_or(0, |record| record.size)
}

/// Bytes of the unpacked layers of an image; a layer that occurs twice counts once.
pub(crate) fn unpacked_size(layers: &BTreeMap<String, LayerRecord>, diff_ids: &[Digest]) -> u64 {
    let mut seen = BTreeSet::new();
    (1..=diff_ids.len())
        .filter(|end| seen.insert(&diff_ids[end - 1]))
        .map(|end| layer_size(layers, &diff_ids[..end]))
        .sum()
}
