//! The vocabulary of the Docker Engine API: request and response bodies, and the small formats around them.
//!
//! Nothing here does I/O, reads a clock or decides. The structs have the shape of the newest API version
//! ([`version::MAX`]); older shapes are made from them by the HTTP door. A field that Docker prints as `null`
//! when unset is an `Option`; a field that Docker leaves out when empty is skipped when it is empty.
//!
//! Decode with [`json::from_slice`], which follows the rules of Go's `encoding/json` (keys compared without case,
//! `null` accepted anywhere, unknown keys ignored). Plain serde works as well, with serde's stricter rules.

pub mod build;
pub mod config;
pub mod container;
pub mod container_create;
pub mod container_inspect;
pub mod container_list;
pub mod descriptor;
pub mod detach_keys;
pub mod disk_usage;
pub mod endpoint;
pub mod events;
pub mod exec;
pub mod file_mode;
pub mod filters;
pub mod frame;
pub mod host_config;
pub mod image;
pub mod image_inspect;
pub mod json;
pub mod mount;
pub mod network;
pub mod path_stat;
pub mod plugin;
pub mod port;
pub mod progress;
pub mod query;
pub mod registry;
pub mod stats;
pub mod system;
pub mod time;
pub mod version;
pub mod volume;

use serde::{Deserialize, Serialize};

/// The body of every error answer: `{"message":"No such container: x"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorResponse {
    /// What failed, in the words that clients match.
    pub message: String,
}

/// The answer of the endpoints that make something: commit, exec create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdResponse {
    /// The identifier of what was made.
    #[serde(rename = "Id")]
    pub id: String,
}

/// Media types that the API answers with.
pub mod media_type {
    /// JSON documents.
    pub const JSON: &str = "application/json";
    /// Bytes of a terminal, or of a stream whose framing older clients infer.
    pub const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
    /// Standard output and error in one stream, see [`crate::frame`].
    pub const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";
    /// One JSON document a line.
    pub const JSON_LINES: &str = "application/jsonl";
    /// One JSON document a line, the older name.
    pub const NDJSON: &str = "application/x-ndjson";
    /// JSON documents each preceded by 0x1E (RFC 7464).
    pub const JSON_SEQ: &str = "application/json-seq";
    /// A tar archive.
    pub const TAR: &str = "application/x-tar";
    /// Bytes of any kind.
    pub const OCTET_STREAM: &str = "application/octet-stream";
}
