//! `Mount`, what `--mount` asks for, and `MountPoint`, what inspect answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::is_zero;

/// The values of [`Mount::kind`] and [`MountPoint::kind`].
pub mod kind {
    /// A path of the host.
    pub const BIND: &str = "bind";
    /// A named or anonymous volume.
    pub const VOLUME: &str = "volume";
    /// Memory.
    pub const TMPFS: &str = "tmpfs";
    /// The content of an image, read-only.
    pub const IMAGE: &str = "image";
    /// A volume of the cluster.
    pub const CLUSTER: &str = "cluster";
    /// A named pipe (Windows).
    pub const NAMED_PIPE: &str = "npipe";
}

/// One mount of `HostConfig.Mounts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    /// See [`kind`].
    #[serde(rename = "Type", skip_serializing_if = "is_zero")]
    pub kind: String,
    /// Path of the host, name of the volume, or reference of the image.
    #[serde(skip_serializing_if = "is_zero")]
    pub source: String,
    /// Absolute path in the container.
    #[serde(skip_serializing_if = "is_zero")]
    pub target: String,
    /// Read-only, recursively where possible.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only: bool,
    /// No effect on Linux.
    #[serde(skip_serializing_if = "is_zero")]
    pub consistency: String,
    /// Only for `bind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// Only for `volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// Only for `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,
    /// Only for `tmpfs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
    /// Ours, for `bind` and `volume`: `owner`, or `uids=<on the host>-<in the container>-<count>#…;gids=…`.
    #[serde(skip_serializing_if = "is_zero")]
    pub id_map: String,
    /// Only for `cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_options: Option<crate::config::Empty>,
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BindOptions {
    /// `rprivate` (the default), `private`, `rshared`, `shared`, `rslave`, `slave`.
    #[serde(skip_serializing_if = "is_zero")]
    pub propagation: String,
    /// Leave out mounts below the source.
    #[serde(skip_serializing_if = "is_zero")]
    pub non_recursive: bool,
    /// Make the source as a directory when it is missing.
    #[serde(skip_serializing_if = "is_zero")]
    pub create_mountpoint: bool,
    /// Only the top mount is read-only.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only_non_recursive: bool,
    /// Fail when the whole tree cannot be made read-only.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only_force_recursive: bool,
}

/// Options of a volume mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeOptions {
    /// Do not copy the image's content into an empty volume.
    #[serde(skip_serializing_if = "is_zero")]
    pub no_copy: bool,
    /// Labels of a volume that is made by this mount.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Relative path inside the volume.
    #[serde(skip_serializing_if = "is_zero")]
    pub subpath: String,
    /// Driver of a volume that is made by this mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<Driver>,
}

/// A driver and its options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Driver {
    /// `local`, …
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// What the driver understands.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Options of an image mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageOptions {
    /// Relative path inside the image.
    #[serde(skip_serializing_if = "is_zero")]
    pub subpath: String,
}

/// Options of a memory mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TmpfsOptions {
    /// Limit in bytes; 0 leaves it to the kernel.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: i64,
    /// Permission bits; 0 means 01777.
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: u32,
    /// `[["exec"]]`, `[["noexec"]]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
}

/// A mount of a container, as inspect and list answer it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MountPoint {
    /// See [`kind`].
    #[serde(rename = "Type", skip_serializing_if = "is_zero")]
    pub kind: String,
    /// The volume's name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Path on the host; empty for memory.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// The volume's driver.
    #[serde(skip_serializing_if = "is_zero")]
    pub driver: String,
    /// Mode as given: `ro`, `z`, `rw,rprivate`, …
    pub mode: String,
    /// Writable.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// `rprivate`, …; empty for volumes.
    pub propagation: String,
}
