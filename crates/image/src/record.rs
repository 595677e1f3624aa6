//! The records of the image store. All of them can be rebuilt from content, except names and snapshots.

use oci::Digest;
use oci::image::Descriptor;
use serde::{Deserialize, Serialize};
use store::Table;

use crate::unpack::RootAttributes;

/// Names of images. Keys are references in full (`docker.io/library/debian:12`), or [`dangling_name`]s.
pub(crate) const NAMES: Table<String, NameRecord> = Table::new("images");
/// Unpacked layers by [`crate::layers::LayerKey`].
pub(crate) const LAYERS: Table<String, LayerRecord> = Table::new("layers");
/// Writable snapshots of containers by their ID.
pub(crate) const SNAPSHOTS: Table<String, SnapshotRecord> = Table::new("snapshots");

/// The image that a committed image was made of, by the ID of the committed one.
pub(crate) const PARENTS: Table<String, Digest> = Table::new("parents");

/// What a name points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    /// The manifest or the index.
    pub(crate) target: Descriptor,
    /// When the name was first given (RFC 3339).
    pub(crate) created: String,
    /// When the name was last given here by hand (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tagged: Option<String>,
}

/// A layer that is unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// The digest of its uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Disk space in bytes: estimated while not `durable`, measured afterwards.
    pub(crate) size: u64,
    /// Entries of the tar.
    pub(crate) entries: u64,
    /// Directories that the layer uses and does not list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) implied: Vec<String>,
    /// Directories in which the layer marks something of the layers below as gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) marked: Vec<String>,
    /// Owner and mode of the root directory, when the layer lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<RootAttributes>,
    /// The boot of the machine in which the layer was unpacked.
    pub(crate) boot_id: String,
    /// Whether its files are on the disk. After a loss of power a layer that was not is unpacked again from its blob.
    pub(crate) durable: bool,
    /// What its files look like since they are on the disk; see [`crate::usage::survey`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seal: Option<u64>,
}

/// The writable part of a container's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    /// The image by ID, when the container is made of one.
    pub(crate) image: Option<Digest>,
    /// The manifest that was chosen.
    pub(crate) manifest: Option<Digest>,
    /// The layers below, the topmost first, as layer keys.
    pub(crate) layers: Vec<String>,
    /// When it was made (RFC 3339).
    pub(crate) created: String,
}

const DANGLING: &str = "dangling@";

/// The name of an image that has lost its last one.
pub(crate) fn dangling_name(id: &Digest) -> String {
    format!("{DANGLING}{id}")
}

/// Whether a name is of an image that has none.
pub(crate) fn is_dangling(name: &str) -> bool {
    name.starts_with(DANGLING)
}
