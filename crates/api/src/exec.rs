//! The bodies of the exec endpoints.

use serde::{Deserialize, Serialize};

use crate::json::{is_zero, strings};

/// The body of `POST /containers/{id}/exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecCreateRequest {
    /// Empty for the container's.
    pub user: String,
    /// All capabilities.
    pub privileged: bool,
    /// Give the program a terminal.
    pub tty: bool,
    /// First size of the terminal: height, width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u32; 2]>,
    /// Attach standard input.
    pub attach_stdin: bool,
    /// Attach standard error.
    pub attach_stderr: bool,
    /// Attach standard output.
    pub attach_stdout: bool,
    /// `ctrl-p,ctrl-q`.
    pub detach_keys: String,
    /// Further environment.
    pub env: Option<Vec<String>>,
    /// Empty for the container's.
    pub working_dir: String,
    /// The program and its arguments.
    #[serde(deserialize_with = "strings")]
    pub cmd: Option<Vec<String>>,
}

/// The body of `POST /exec/{id}/start`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecStartRequest {
    /// Do not attach.
    pub detach: bool,
    /// The client expects a terminal.
    pub tty: bool,
    /// First size of the terminal: height, width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u32; 2]>,
}

/// The answer of `GET /exec/{id}/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecInspect {
    /// 64 hexadecimal digits.
    #[serde(rename = "ID")]
    pub id: String,
    /// The program runs.
    pub running: bool,
    /// `null` until it has ended.
    pub exit_code: Option<i64>,
    /// What it runs.
    pub process_config: Option<ExecProcessConfig>,
    /// Standard input is attached.
    pub open_stdin: bool,
    /// Standard error is attached.
    pub open_stderr: bool,
    /// Standard output is attached.
    pub open_stdout: bool,
    /// It has ended and nobody is attached.
    pub can_remove: bool,
    /// Where it runs.
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// Base64 of the key codes; empty for the default.
    pub detach_keys: Option<String>,
    /// Process ID on the host; 0 when it does not run.
    pub pid: i64,
}

/// See [`ExecInspect::process_config`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecProcessConfig {
    /// It has a terminal.
    pub tty: bool,
    /// The program.
    pub entrypoint: String,
    /// Its arguments; never `null`.
    pub arguments: Vec<String>,
    /// All capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// Empty for the container's.
    #[serde(skip_serializing_if = "is_zero")]
    pub user: String,
}
