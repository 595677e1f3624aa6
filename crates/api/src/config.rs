//! `Config`: what a container runs, independent of the machine it runs on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::{is_zero, strings};

/// An object without fields, the value of Go's sets: `{"80/tcp":{}}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// What a container runs. Part of create, commit and inspect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    /// Host name; the first 12 digits of the container's ID when empty.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// `user`, `uid`, `user:group`, `uid:gid`, …
    pub user: String,
    /// The creating client will attach to standard input.
    pub attach_stdin: bool,
    /// The creating client will attach to standard output.
    pub attach_stdout: bool,
    /// The creating client will attach to standard error.
    pub attach_stderr: bool,
    /// Ports the program listens on: `80/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Give the program a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Close standard input when the first attached client leaves.
    pub stdin_once: bool,
    /// `KEY=value`, or `KEY` to remove an inherited one.
    pub env: Option<Vec<String>>,
    /// Arguments, or the command when there is no entry point.
    #[serde(deserialize_with = "strings")]
    pub cmd: Option<Vec<String>>,
    /// How to find out whether the program is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// The command is already escaped (Windows).
    #[serde(skip_serializing_if = "is_zero")]
    pub args_escaped: bool,
    /// The image as the user named it.
    pub image: String,
    /// Paths that get an anonymous volume.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Directory the program starts in.
    pub working_dir: String,
    /// The program; `null` inherits the image's, `[""]` resets it.
    #[serde(deserialize_with = "strings")]
    pub entrypoint: Option<Vec<String>>,
    /// Give the container no network at all.
    #[serde(skip_serializing_if = "is_zero")]
    pub network_disabled: bool,
    /// The container-wide MAC address of API versions before 1.52. Never printed by newer ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub mac_address: String,
    /// Triggers of the image's Dockerfile.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub on_build: Option<Vec<String>>,
    /// Metadata.
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that stops the program; SIGTERM when empty.
    #[serde(skip_serializing_if = "is_zero")]
    pub stop_signal: String,
    /// Seconds to wait after the stop signal before killing; -1 waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The shell of `CMD-SHELL` health checks and of shell-form instructions.
    #[serde(skip_serializing_if = "is_none_or_empty", deserialize_with = "strings")]
    pub shell: Option<Vec<String>>,
}

/// How to find out whether a program is well. Durations are nanoseconds; 0 inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthConfig {
    /// `[]` inherits, `["NONE"]` disables, `["CMD", …]`, `["CMD-SHELL", command]`.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub test: Option<Vec<String>>,
    /// Between two probes.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// A probe that takes longer has failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Failures in this time after the start do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two probes in the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make a container unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// What is done when it becomes unhealthy: `none`, `kill`, `restart` or `stop`. Docker's API has no such member.
    #[serde(skip_serializing_if = "is_zero")]
    pub on_failure: String,
}

/// Go's `omitempty` for a list: left out when nil and when empty.
pub(crate) fn is_none_or_empty<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}
