//! `X-Docker-Container-Path-Stat`: what the archive endpoints say about a path in a container.

use serde::{Deserialize, Serialize};

/// A file in a container. Sent as base64 (standard alphabet, padded) of its JSON in a header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathStat {
    /// Last component of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// See [`crate::file_mode::GoFileMode`].
    pub mode: u32,
    /// RFC 3339 with nanoseconds.
    pub mtime: String,
    /// Where a symbolic link points, inside the container.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

impl PathStat {
    /// The header's name.
    pub const HEADER: &'static str = "X-Docker-Container-Path-Stat";

    /// The header's value.
    pub fn to_header(&self) -> Result<String, serde_json::Error> {
        Ok(crate::registry::base64_encode(&serde_json::to_vec(self)?))
    }

    /// Reads the header's value; `None` when it is not one.
    pub fn from_header(value: &str) -> Option<PathStat> {
        crate::json::from_slice(&crate::registry::base64_decode(value)?).ok()
    }
}
