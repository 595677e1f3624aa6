//! One message of `GET /events`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::is_zero;

/// The values of [`Message::kind`].
pub mod kind {
    /// Builds.
    pub const BUILDER: &str = "builder";
    /// Containers.
    pub const CONTAINER: &str = "container";
    /// The daemon itself.
    pub const DAEMON: &str = "daemon";
    /// Images.
    pub const IMAGE: &str = "image";
    /// Networks.
    pub const NETWORK: &str = "network";
    /// Plugins.
    pub const PLUGIN: &str = "plugin";
    /// Volumes.
    pub const VOLUME: &str = "volume";
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// See [`kind`].
    #[serde(rename = "Type")]
    pub kind: String,
    /// `create`, `die`, `exec_create: sh -c true`, …
    #[serde(rename = "Action")]
    pub action: String,
    /// To what.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `local` or `swarm`.
    #[serde(skip_serializing_if = "is_zero")]
    pub scope: String,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "is_zero")]
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano", skip_serializing_if = "is_zero")]
    pub time_nano: i64,
}

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// A container's, network's, … ID; an image's name or ID; a volume's name.
    #[serde(rename = "ID")]
    pub id: String,
    /// `name`, `image`, labels, and what the action adds; never `null`.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}
