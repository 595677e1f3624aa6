//! The bodies of calls to a volume plugin, and of its answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A call about a volume.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
}

/// `VolumeDriver.Create`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create<'a> {
    pub(super) name: &'a str,
    pub(super) opts: &'a BTreeMap<String, String>,
}

/// `VolumeDriver.Mount` and `.Unmount`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mount<'a> {
    pub(super) name: &'a str,
    /// Who mounts: the same at the end as at the beginning.
    #[serde(rename = "ID")]
    pub(super) id: &'a str,
}

/// A volume as its plugin sees it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::volume) struct Remote {
    pub(in crate::volume) name: String,
    pub(in crate::volume) mountpoint: String,
    pub(in crate::volume) created_at: String,
    pub(in crate::volume) status: Option<BTreeMap<String, serde_json::Value>>,
}

/// Every answer: each call fills its own part.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Answer {
    /// Why it was not done; empty when it was.
    pub(super) err: String,
    pub(super) implements: Option<Vec<String>>,
    pub(super) mountpoint: String,
    pub(super) volume: Option<Remote>,
    pub(super) volumes: Option<Vec<Remote>>,
    pub(super) capabilities: Option<Capabilities>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Capabilities {
    pub(super) scope: String,
}
