//! Images: list, history, delete, prune, and the manifests of an index.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::descriptor::{Descriptor, Platform};
use crate::json::is_zero;

/// One row of `GET /images/json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Summary {
    /// Containers made from it; -1 when not counted.
    pub containers: i64,
    /// Seconds since 1970; 0 when the image does not say.
    pub created: i64,
    /// `sha256:…`.
    pub id: String,
    /// `null` when there are none.
    pub labels: Option<BTreeMap<String, String>>,
    /// Only for images of the classic builder.
    pub parent_id: String,
    /// What the name points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
    /// When asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestSummary>,
    /// `repository@sha256:…`; never `null`.
    pub repo_digests: Vec<String>,
    /// `repository:tag`; never `null`.
    pub repo_tags: Vec<String>,
    /// Bytes shared with other images; -1 when not counted.
    pub shared_size: i64,
    /// Bytes.
    pub size: i64,
}

/// One manifest of an index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestSummary {
    /// The manifest's digest.
    #[serde(rename = "ID")]
    pub id: String,
    /// As the index has it.
    pub descriptor: Descriptor,
    /// All its content is here.
    pub available: bool,
    /// Bytes.
    pub size: ManifestSize,
    /// `image`, `attestation`, `unknown`.
    pub kind: String,
    /// Only when it is an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_data: Option<ImageProperties>,
    /// Only when it is an attestation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation_data: Option<AttestationProperties>,
}

/// Bytes of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestSize {
    /// As downloaded.
    pub content: i64,
    /// As downloaded and as unpacked, together.
    pub total: i64,
}

/// A manifest that is an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageProperties {
    /// What it runs on.
    pub platform: Platform,
    /// Where it comes from, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<serde_json::Value>,
    /// Bytes.
    pub size: UnpackedSize,
    /// IDs of containers that use it; never `null`.
    pub containers: Vec<String>,
}

/// See [`ImageProperties::size`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UnpackedSize {
    /// As unpacked.
    pub unpacked: i64,
}

/// A manifest that attests another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AttestationProperties {
    /// The digest of the manifest it is about.
    #[serde(rename = "For")]
    pub subject: String,
}

/// One step of `GET /images/{name}/history`, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HistoryItem {
    /// The author's words.
    pub comment: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// The image's ID for the newest step, `<missing>` for others.
    pub id: String,
    /// Bytes.
    pub size: i64,
    /// Names of the image; `null` when there are none.
    pub tags: Option<Vec<String>>,
}

/// One line of `DELETE /images/{name}`: either field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeleteItem {
    /// The ID of an image that is gone.
    #[serde(skip_serializing_if = "is_zero")]
    pub deleted: String,
    /// A name that is gone.
    #[serde(skip_serializing_if = "is_zero")]
    pub untagged: String,
}

/// One row of `GET /images/{name}/attestations`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AttestationStatement {
    /// Where the statement is.
    pub descriptor: Descriptor,
    /// What is stated, a URI.
    pub predicate_type: String,
    /// Word for word, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<Box<serde_json::value::RawValue>>,
}

/// The answer of `POST /images/prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneReport {
    /// `null` when there are none.
    pub images_deleted: Option<Vec<DeleteItem>>,
    /// Bytes.
    pub space_reclaimed: u64,
}

/// One row of `GET /images/search`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// How many like it.
    pub star_count: i64,
    /// Kept by the registry itself.
    pub is_official: bool,
    /// Repository.
    pub name: String,
    /// No longer in use.
    pub is_automated: bool,
    /// In words.
    pub description: String,
}
