//! The smaller bodies of the container endpoints: state, health, wait, top, changes, prune.

use serde::{Deserialize, Serialize};

use crate::json::is_zero;

/// The state of a container in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Never started.
    #[default]
    Created,
    /// The program runs.
    Running,
    /// The program is frozen.
    Paused,
    /// Waiting for the next attempt of the restart policy.
    Restarting,
    /// Being removed.
    Removing,
    /// The program has ended.
    Exited,
    /// Removal failed half-way.
    Dead,
}

impl ContainerState {
    /// All of them, in the order in which Docker lists them.
    pub const ALL: [ContainerState; 7] = [
        ContainerState::Created,
        ContainerState::Running,
        ContainerState::Paused,
        ContainerState::Restarting,
        ContainerState::Removing,
        ContainerState::Exited,
        ContainerState::Dead,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ContainerState::Created => "created",
            ContainerState::Running => "running",
            ContainerState::Paused => "paused",
            ContainerState::Restarting => "restarting",
            ContainerState::Removing => "removing",
            ContainerState::Exited => "exited",
            ContainerState::Dead => "dead",
        }
    }
}

impl std::str::FromStr for ContainerState {
    type Err = String;
    fn from_str(word: &str) -> Result<ContainerState, String> {
        ContainerState::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
            let all = ContainerState::ALL.map(ContainerState::as_str).join(", ");
            format!("invalid value for state ({word}): must be one of {all}")
        })
    }
}

impl std::fmt::Display for ContainerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state of a container in full, part of inspect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct State {
    /// In one word.
    pub status: ContainerState,
    /// Also true while paused.
    pub running: bool,
    /// Frozen.
    pub paused: bool,
    /// Waiting for the next attempt.
    pub restarting: bool,
    /// The kernel ended it for lack of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Removal failed half-way.
    pub dead: bool,
    /// Process ID on the host; 0 when it does not run.
    pub pid: i64,
    /// Of the last run.
    pub exit_code: i64,
    /// Why the last start failed.
    pub error: String,
    /// RFC 3339 with nanoseconds; [`crate::time::ZERO`] if never.
    pub started_at: String,
    /// RFC 3339 with nanoseconds; [`crate::time::ZERO`] if never.
    pub finished_at: String,
    /// Only for containers with a health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// Health with the last results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy`, `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: i64,
    /// The last five, oldest first.
    pub log: Option<Vec<HealthcheckResult>>,
}

/// Health in a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthSummary {
    /// `none`, `starting`, `healthy`, `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: i64,
}

/// One probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthcheckResult {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 well, 1 not, else the probe itself failed.
    pub exit_code: i64,
    /// At most 4096 bytes.
    pub output: String,
}

/// The answer of `POST /containers/{id}/wait`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WaitResponse {
    /// Why the container could not be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitExitError>,
    /// The program's exit code.
    pub status_code: i64,
}

/// See [`WaitResponse::error`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WaitExitError {
    /// In words.
    #[serde(skip_serializing_if = "is_zero")]
    pub message: String,
}

/// What `POST /containers/{id}/wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitCondition {
    /// Until it does not run; at once if it does not.
    #[default]
    NotRunning,
    /// Until it ends the next time.
    NextExit,
    /// Until it is removed.
    Removed,
}

impl std::str::FromStr for WaitCondition {
    type Err = String;
    /// An empty word is the default.
    fn from_str(word: &str) -> Result<WaitCondition, String> {
        match word {
            "" | "not-running" => Ok(WaitCondition::NotRunning),
            "next-exit" => Ok(WaitCondition::NextExit),
            "removed" => Ok(WaitCondition::Removed),
            _ => Err(format!("invalid condition: {word:?}")),
        }
    }
}

/// The answer of `GET /containers/{id}/top`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TopResponse {
    /// One row for each process.
    pub processes: Vec<Vec<String>>,
    /// The columns' names.
    pub titles: Vec<String>,
}

/// One line of `GET /containers/{id}/changes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FilesystemChange {
    /// See the constants.
    pub kind: u8,
    /// Absolute path in the container.
    pub path: String,
}

impl FilesystemChange {
    /// Changed (`C`).
    pub const MODIFIED: u8 = 0;
    /// Added (`A`).
    pub const ADDED: u8 = 1;
    /// Deleted (`D`).
    pub const DELETED: u8 = 2;
}

/// The answer of `POST /containers/prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneReport {
    /// IDs; `null` when there are none.
    pub containers_deleted: Option<Vec<String>>,
    /// Bytes.
    pub space_reclaimed: u64,
}
