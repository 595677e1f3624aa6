//! The image specification's documents: descriptors, manifests, indexes and image configurations.
//!
//! OCI 1.1 and Docker's schema 2 share one shape and differ in media types only. A document is always kept as the
//! bytes its digest was made of; these types are views of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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

/// An image configuration: what the image is for and how its root file system is made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made (RFC 3339), as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub author: String,
    /// The platform's architecture.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// The platform's operating system.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// The platform's operating system version.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub os_version: String,
    /// The platform's operating system features.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub os_features: Vec<String>,
    /// The platform's variant.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub variant: String,
    /// The defaults for containers made of the image.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: Config,
    /// The layers by the digests of their uncompressed tars.
    pub rootfs: RootFs,
    /// How each layer came to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub history: Vec<History>,
    /// A comment, as `docker import --message` and `docker commit --message` set it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub comment: String,
}

impl ImageConfig {
    /// The platform that the configuration states, normalised.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
        .normalized()
    }
}

/// The layers of a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the uncompressed tars, the lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of an image's history.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When (RFC 3339), as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command that made it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub created_by: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub author: String,
    /// A comment.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_as_default")]
    pub empty_layer: bool,
}

/// The defaults for containers made of an image: the OCI members and Docker's additions, with Docker's names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// Who the program runs as: `user[:group]`, names or numbers.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub user: String,
    /// Ports the program listens on, as `port/protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// The environment, as `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// The program and its leading arguments.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// The trailing arguments, or the whole command without an entry point.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// How the program's health is tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Whether the command is already escaped (Windows).
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_as_default")]
    pub args_escaped: bool,
    /// Directories that become volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// Free-form facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that asks the program to stop, for example `SIGTERM`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub stop_signal: String,
    /// Dockerfile instructions that run when the image is a build's base.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub on_build: Vec<String>,
    /// The shell for the shell form of instructions.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub shell: Option<Vec<String>>,
}

/// How a container's health is tested; durations are nanoseconds, 0 inherits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`; empty inherits.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub test: Vec<String>,
    /// Time between tests.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub interval: i64,
    /// How long one test may take.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub timeout: i64,
    /// Time after the start in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub start_period: i64,
    /// Time between tests during the start period.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub start_interval: i64,
    /// Failures in a row that make the container unhealthy.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The empty JSON object that Go's sets are written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// `null` reads as the default, as Go's decoder has it.
fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of words, a single word, or null (Docker's `strslice`).
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Words;
    impl<'de> Visitor<'de> for Words {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![word.to_owned()]))
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = seq.next_element()? {
                words.push(word);
            }
            Ok(Some(words))
        }
    }
    deserializer.deserialize_any(Words)
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
