//! The replies and events, as they stand in JSON.

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To `Hello`; accompanied by the descriptors it names.
    Status(Box<Status>),
    /// To `Create`, before its answer, where the network namespace is the container's own: it is there, to be furnished
    /// while the container makes the rest of itself ready. Accompanied by the descriptors it names.
    Netns {
        /// What the accompanying descriptors are.
        descriptors: Vec<Descriptor>,
    },
    /// To `Create`; accompanied by the descriptors it names.
    Created {
        /// The init process as the shim sees it.
        pid: u32,
        /// When it was started, in clock ticks since boot (field 22 of /proc/pid/stat): tells it from a later namesake.
        start_time_ticks: u64,
        /// What the accompanying descriptors are.
        descriptors: Vec<Descriptor>,
    },
    /// To `Start`: the program runs.
    Started,
    /// To `Exec`: the program runs.
    ExecStarted {
        /// The process as the shim sees it.
        pid: u32,
    },
    /// To `Attach`.
    Attached,
    /// To `Resize`, `CloseStdin` and `Shutdown`.
    Done,
    /// The request failed and changed nothing.
    Error(Error),
}

/// A descriptor that accompanies a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Descriptor {
    /// The pidfd of the container's init.
    Pidfd,
    /// The container's network namespace.
    Netns,
}

/// How the container is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// How far it has come.
    pub state: State,
    /// The init process as the shim sees it, when there is or was one.
    pub pid: Option<u32>,
    /// When it was started, in clock ticks since boot.
    pub start_time_ticks: Option<u64>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The other processes whose end has not been reported to a connected daemon, and those that run.
    pub execs: Vec<ExecStatus>,
    /// How logging goes.
    pub log: LogStatus,
    /// What the accompanying descriptors are.
    pub descriptors: Vec<Descriptor>,
}

/// How far a container has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing was created yet.
    Empty,
    /// Created, not started.
    Created,
    /// Started.
    Running,
    /// Ended.
    Stopped,
}

/// How a process of [`Request::Exec`] is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecStatus {
    /// Its exec id.
    pub exec_id: String,
    /// The process as the shim sees it.
    pub pid: u32,
    /// Whether it has not ended.
    pub running: bool,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// How logging goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogStatus {
    /// Lines that could not be written.
    pub lost_lines: u64,
    /// Why the last one could not.
    pub error: Option<String>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status; 128 + the number of the signal that ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When.
    pub at: Timestamp,
    /// Whether the kernel killed a process of the container for lack of memory.
    pub oom_killed: bool,
}

/// Something that happened without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The container has ended: all its processes are gone and all its output is in the log.
    Exited {
        /// How.
        exit: Exit,
    },
    /// A process of [`Request::Exec`] has ended; output that is still on its way follows on attached streams.
    ExecExited {
        /// Which one.
        exec_id: String,
        /// How.
        exit: Exit,
    },
    /// The kernel killed a process of the container for lack of memory.
    Oom,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// For machines.
    pub kind: ErrorKind,
    /// For people; with the words Docker's clients look for.
    pub message: String,
}

/// What sort of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The program, a path or a target does not exist. Exit code 127 for a program.
    NotFound,
    /// The program may not be executed. Exit code 126.
    Permission,
    /// The program is a directory. Exit code 126.
    IsDirectory,
    /// The request makes no sense, or not in this state.
    Invalid,
    /// Anything else.
    Other,
}

impl Error {
    /// A failure with its words.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
