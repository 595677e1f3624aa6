//! From a name to one platform's manifest and configuration.

use oci::image::{Descriptor, Document, ImageConfig, Manifest, media_type};
use oci::{Digest, Platform};

use crate::images::Images;
use crate::layers::Wanted;
use crate::names::Found;
use crate::{Error, Result};

/// One platform of an image, ready for a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Runnable {
    /// The image's ID: the digest of its manifest or index.
    pub id: Digest,
    /// The manifest that was chosen; the same as the image for an image of one platform.
    pub manifest: Descriptor,
    /// The configuration.
    pub config: ImageConfig,
    /// The platform of the manifest.
    pub platform: Platform,
    pub(crate) layers: Vec<Descriptor>,
}

impl Runnable {
    /// The layers by diff ID and blob, the lowest first.
    pub(crate) fn wanted(&self) -> Result<Vec<Wanted>> {
        let diff_ids = &self.config.rootfs.diff_ids;
        // Some artifacts keep other things than layers in a manifest with an image configuration.
        let blobs: Vec<_> =
            self.layers.iter().filter(|layer| media_type::is_layer(&layer.media_type)).collect();
        if diff_ids.len() != blobs.len() {
            let (layers, ids) = (blobs.len(), diff_ids.len());
            let digest = &self.manifest.digest;
            return Err(Error::Invalid(format!(
                "{digest}: the manifest has {layers} layers and the configuration {ids}"
            )));
        }
        let pairs = diff_ids.iter().cloned().zip(blobs.into_iter().cloned());
        Ok(pairs.map(|(diff_id, blob)| Wanted { diff_id, blob }).collect())
    }
}

/// A manifest inside an image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Child {
    pub(crate) descriptor: Descriptor,
    /// `None` when the manifest is not here.
    pub(crate) manifest: Option<Manifest>,
    /// `None` when the configuration is not here, or the manifest is not an image's.
    pub(crate) config: Option<ImageConfig>,
    pub(crate) attestation: bool,
}

impl Child {
    /// The platform that the descriptor or the configuration states.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let stated = self.descriptor.platform.clone().map(|platform| platform.normalized());
        stated.or_else(|| self.config.as_ref().map(ImageConfig::platform))
    }
}

const MAX_DEPTH: usize = 4;
const MAX_CHILDREN: usize = 4096;

impl Images {
    /// Reads a manifest or an index.
    pub(crate) fn document(&self, digest: &Digest, media_type: &str) -> Result<Document> {
        let bytes = self.content.read(digest, self.options.limits.max_document)?;
        Document::parse(&bytes, media_type).map_err(|error| Error::Document { digest: digest.clone(), error })
    }

    /// All manifests of an image, those of nested indexes as well, in their order.
    pub(crate) fn children(&self, target: &Descriptor) -> Result<Vec<Child>> {
        let mut children = Vec::new();
        self.add_children(target, 0, &mut children)?;
        Ok(children)
    }

    fn add_children(&self, descriptor: &Descriptor, depth: usize, children: &mut Vec<Child>) -> Result<()> {
        if depth > MAX_DEPTH || children.len() > MAX_CHILDREN {
            return Err(Error::Invalid(format!(
                "{}: too many manifests or indexes inside each other",
                descriptor.digest
            )));
        }
        let document = match self.document(&descriptor.digest, &descriptor.media_type) {
            Ok(document) => Some(document),
            // Other platforms of an index need not be here; neither do artifacts that are not manifests.
            Err(Error::MissingContent(_)) if depth > 0 => None,
            Err(Error::Document { .. }) if depth > 0 => None,
            Err(error) => return Err(error),
        };
        match document {
            Some(Document::Index(index)) => {
                for child in &index.manifests {
                    self.add_children(child, depth + 1, children)?;
                }
            }
            Some(Document::Manifest(manifest)) => {
                let is_image = media_type::is_config(&manifest.config.media_type);
                let config = match self.read_json(&manifest.config.digest) {
                    Ok(config) if is_image => Some(config),
                    Ok(_) | Err(Error::MissingContent(_)) => None,
                    Err(_) if !is_image => None,
                    Err(error) => return Err(error),
                };
                let attestation = descriptor.is_attestation();
                let descriptor = descriptor.clone();
                children.push(Child { descriptor, manifest: Some(*manifest), config, attestation });
            }
            None => {
                let attestation = descriptor.is_attestation();
                children.push(Child {
                    descriptor: descriptor.clone(),
                    manifest: None,
                    config: None,
                    attestation,
                });
            }
        }
        Ok(())
    }

    /// Chooses the manifest of an image for a platform: the best match of what is asked for; without a wish the best
    /// for this machine, or else the first that is here.
    ///
    /// # Errors
    /// `NotFound` when there is no such image or it is not here for this platform.
    pub fn runnable(&self, name: &str, platform: Option<&Platform>) -> Result<Runnable> {
        let found = self.resolve(name)?;
        self.choose(&found, name, platform)
    }

    pub(crate) fn choose(&self, found: &Found, name: &str, platform: Option<&Platform>) -> Result<Runnable> {
        let children = self.children(&found.target)?;
        let wanted = platform.unwrap_or(&self.options.platform);
        let mut best: Option<(u32, &Child)> = None;
        for child in children.iter().filter(|child| child.config.is_some() && !child.attestation) {
            let rank = child.platform().and_then(|candidate| wanted.rank(&candidate));
            let rank = match (rank, platform) {
                (Some(rank), _) => rank,
                (None, None) => u32::MAX,
                (None, Some(_)) => continue,
            };
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, child));
            }
        }
        let chosen =
            best.and_then(|(_, child)| Some((child, child.manifest.as_ref()?, child.config.as_ref()?)));
        let Some((child, manifest, config)) = chosen else {
            let name = found.name.clone().unwrap_or_else(|| name.to_owned());
            return Err(Error::NoSuchPlatform { name, platform: wanted.to_string() });
        };
        Ok(Runnable {
            id: found.id.clone(),
            manifest: child.descriptor.clone(),
            config: config.clone(),
            platform: child.platform().unwrap_or_default(),
            layers: manifest.layers.clone(),
        })
    }
}
