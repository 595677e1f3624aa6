//! The build cache as `GET /system/df` and `POST /build/prune` show it.

use serde::{Deserialize, Serialize};

/// One record of the build cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheRecord {
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// What it is made from. Docker prints this key with a space before it, and so do we.
    #[serde(rename = " Parents", skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    /// `regular`, `source.local`, `exec.cachemount`, …
    #[serde(rename = "Type")]
    pub kind: String,
    /// In words.
    #[serde(rename = "Description")]
    pub description: String,
    /// A build uses it now.
    #[serde(rename = "InUse")]
    pub in_use: bool,
    /// Shared with an image.
    #[serde(rename = "Shared")]
    pub shared: bool,
    /// Bytes.
    #[serde(rename = "Size")]
    pub size: i64,
    /// RFC 3339.
    #[serde(rename = "CreatedAt")]
    pub created_at: String,
    /// RFC 3339; `null` if never.
    #[serde(rename = "LastUsedAt")]
    pub last_used_at: Option<String>,
    /// How often.
    #[serde(rename = "UsageCount")]
    pub usage_count: i64,
}

/// The answer of `POST /build/prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CachePruneReport {
    /// IDs; `null` when there are none.
    pub caches_deleted: Option<Vec<String>>,
    /// Bytes.
    pub space_reclaimed: u64,
}
