//! The answer of `GET /system/df` in its newest shape.

use serde::{Deserialize, Serialize};

use crate::json::is_zero;

/// What takes space. A part is left out when it was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_usage: Option<Usage<crate::image::Summary>>,
    /// Containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_usage: Option<Usage<crate::container_list::Summary>>,
    /// Volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_usage: Option<Usage<crate::volume::Volume>>,
    /// The build cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_cache_usage: Option<Usage<crate::build::CacheRecord>>,
}

/// What one kind of thing takes. Numbers that are zero are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Usage<T> {
    /// How many are in use.
    #[serde(skip_serializing_if = "is_zero")]
    pub active_count: i64,
    /// Each of them, when asked for (`verbose`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<T>,
    /// Bytes that pruning would free.
    #[serde(skip_serializing_if = "is_zero")]
    pub reclaimable: i64,
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_count: i64,
    /// Bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_size: i64,
}

impl<T> Default for Usage<T> {
    fn default() -> Usage<T> {
        Usage { active_count: 0, items: Vec::new(), reclaimable: 0, total_count: 0, total_size: 0 }
    }
}
