//! Progress messages of pull, push, load, import and build: JSON objects one after the other, each ended by CRLF.

use serde::{Deserialize, Serialize};

use crate::json::is_zero;

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// Text for people, as it is (build and load).
    #[serde(skip_serializing_if = "is_zero")]
    pub stream: String,
    /// What happens: `Pulling from library/debian`, `Downloading`.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: String,
    /// How far it is.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What it is about: a layer's short digest, a tag.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// The end, when it failed.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error: Option<ProgressError>,
    /// The message of [`Message::error`] again, for older clients.
    #[serde(rename = "error", skip_serializing_if = "is_zero")]
    pub error_message: String,
    /// Data for programs: `{"ID":"sha256:…"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

impl Message {
    /// A line of status about `id` (which may be empty).
    pub fn status(id: &str, status: impl Into<String>) -> Message {
        Message { id: id.into(), status: status.into(), ..Message::default() }
    }

    /// Text as it is.
    pub fn stream(text: impl Into<String>) -> Message {
        Message { stream: text.into(), ..Message::default() }
    }

    /// How far `id` is.
    pub fn progress(id: &str, status: &str, current: i64, total: i64) -> Message {
        let progress = Some(Progress { current, total, ..Progress::default() });
        Message { id: id.into(), status: status.into(), progress, ..Message::default() }
    }

    /// The end of what failed, in both forms.
    pub fn error(code: i64, message: &str) -> Message {
        let error = Some(ProgressError { code, message: message.into() });
        Message { error, error_message: message.into(), ..Message::default() }
    }

    /// Data for programs.
    pub fn aux(value: serde_json::Value) -> Message {
        Message { aux: Some(value), ..Message::default() }
    }
}

/// How far something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Of `total`.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: i64,
    /// 0 when not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: i64,
    /// First value.
    #[serde(skip_serializing_if = "is_zero")]
    pub start: i64,
    /// Do not print the numbers.
    #[serde(rename = "hidecounts", skip_serializing_if = "is_zero")]
    pub hide_counts: bool,
    /// Bytes when empty.
    #[serde(skip_serializing_if = "is_zero")]
    pub units: String,
}

/// Why it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressError {
    /// The exit code of a build step, or an HTTP status.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: i64,
    /// In words.
    #[serde(skip_serializing_if = "is_zero")]
    pub message: String,
}
