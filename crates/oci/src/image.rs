//! The image specification's documents: descriptors, manifests, indexes and image configurations.
//!
//! OCI 1.1 and Docker's schema 2 share one shape and differ in media types only. A document is always kept as the
//! bytes its digest was made of; these types are views of it.

use std::collections::BTreeMap;

use serde::de;
use serde::{Deserialize, Serialize};

use crate::config::null_as_default;
pub use crate::config::{Config, Empty, Healthcheck, History, ImageConfig, RootFs};
use crate::digest::Digest;
use crate::platform::Platform;

/// The media types that images are made of.
pub mod media_type {
    /// An OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An uncompressed OCI layer.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer compressed with gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An OCI layer compressed with zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// The empty JSON document that stands for "no configuration".
    pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// A Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A Docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// An uncompressed Docker layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// A Docker layer compressed with gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// A Docker layer compressed with zstd.
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// An in-toto statement, the layer of an attestation manifest.
    pub const IN_TOTO: &str = "application/vnd.in-toto+json";

    /// Whether a media type is an image manifest of either family.
    #[must_use]
    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether a media type is an index (a manifest list) of either family.
    #[must_use]
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, OCI_INDEX | DOCKER_LIST)
    }

    /// Whether a media type is an image configuration of either family.
    #[must_use]
    pub fn is_config(media_type: &str) -> bool {
        matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
    }

    /// Whether a media type is a file system layer, of any compression and also one that must not be distributed.
    #[must_use]
    pub fn is_layer(media_type: &str) -> bool {
        media_type.starts_with("application/vnd.oci.image.layer.")
            || media_type.starts_with("application/vnd.docker.image.rootfs.")
    }

    /// Whether a layer is only named by a manifest and fetched from elsewhere (foreign, non-distributable).
    #[must_use]
    pub fn is_foreign_layer(media_type: &str) -> bool {
        media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }
}

/// The annotation that names an image inside an OCI layout: the tag, or a full name.
pub const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the full image name that containerd and Docker write into a layout.
pub const ANNOTATION_IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation that marks an attestation manifest inside an index.
pub const ANNOTATION_REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The annotation that tells which manifest an attestation is for.
pub const ANNOTATION_REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// Points at content: what it is, how long, and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// The address of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    pub size: u64,
    /// Where else the content may be had (foreign layers).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub urls: Vec<String>,
    /// Free-form facts about the content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, when it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The platform of a manifest inside an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact the content is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor with only the required members.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Whether the descriptor is an attestation's (BuildKit's convention).
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotations.get(ANNOTATION_REFERENCE_TYPE).is_some_and(|kind| kind == "attestation-manifest")
    }
}

/// An image manifest: one platform's configuration and layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What the document says it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The kind of artifact, when the manifest is not of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    #[serde(deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest this one is about (referrers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form facts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

/// An image index: the manifests of several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What the document says it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The kind of artifact, when the index is not of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests (or further indexes), the preferred first.
    #[serde(deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest this one is about (referrers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form facts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest or an index; never both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One platform.
    Manifest(Box<Manifest>),
    /// Several platforms.
    Index(Box<Index>),
}

/// Why bytes are not a manifest or an index.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Longer than any registry accepts.
    #[error("the document has {0} bytes, more than the limit of {MAX_DOCUMENT_SIZE}")]
    TooLarge(usize),
    /// Not JSON, or a member is missing or of the wrong type.
    #[error("malformed document: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The members of a manifest and of an index in one document, which readers disagree about (CVE-2021-41190).
    #[error("the document is ambiguous: it has the members of a manifest and of an index")]
    Ambiguous,
    /// The document says it is something else than the descriptor that points at it.
    #[error("the document says it is {found:?} and the descriptor says {expected:?}")]
    MediaType {
        /// What the descriptor says.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// A media type that is neither a manifest nor an index.
    #[error("unsupported media type {0:?}: only image manifests and indexes are supported")]
    Unsupported(String),
    /// A schema version other than 2.
    #[error("unsupported schema version {0}: only version 2 is supported")]
    SchemaVersion(u32),
}

/// The longest manifest or index that is read: 4 MiB, the limit of registries.
pub const MAX_DOCUMENT_SIZE: usize = 4 << 20;

impl Document {
    /// Reads a manifest or an index. `media_type` is what the descriptor (or the registry) said, or empty when
    /// nothing did; then the document's own word decides.
    ///
    /// # Errors
    /// When the document is too large, malformed, ambiguous, or is not what was announced.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            #[serde(default)]
            schema_version: u32,
            #[serde(default)]
            media_type: String,
            config: Option<de::IgnoredAny>,
            layers: Option<de::IgnoredAny>,
            manifests: Option<de::IgnoredAny>,
            fs_layers: Option<de::IgnoredAny>,
        }
        if bytes.len() > MAX_DOCUMENT_SIZE {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        // Derived readers also take a list of the members; nobody else does.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(DocumentError::Malformed(de::Error::custom("it is not a JSON object")));
        }
        let probe: Probe = serde_json::from_slice(bytes)?;
        if probe.schema_version != 2 {
            return Err(DocumentError::SchemaVersion(probe.schema_version));
        }
        let has_manifest = probe.config.is_some() || probe.layers.is_some() || probe.fs_layers.is_some();
        if has_manifest && probe.manifests.is_some() {
            return Err(DocumentError::Ambiguous);
        }
        if !media_type.is_empty() && !probe.media_type.is_empty() && media_type != probe.media_type {
            return Err(DocumentError::MediaType {
                expected: media_type.to_owned(),
                found: probe.media_type,
            });
        }
        let decided = [media_type, &probe.media_type].into_iter().find(|word| !word.is_empty());
        let index = match decided {
            Some(word) if media_type::is_index(word) => true,
            Some(word) if media_type::is_manifest(word) => false,
            Some(word) => return Err(DocumentError::Unsupported(word.to_owned())),
            None => probe.manifests.is_some(),
        };
        if index {
            return Ok(Self::Index(serde_json::from_slice(bytes)?));
        }
        Ok(Self::Manifest(serde_json::from_slice(bytes)?))
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
