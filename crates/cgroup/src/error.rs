//! What can go wrong with a control group.

use std::path::PathBuf;

use crate::Controller;

/// The result of an operation on control groups.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation on control groups.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A group's path that is not one.
    #[error("cgroup path {path:?} {reason}")]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Neither a v1 nor a v2 hierarchy is mounted.
    #[error("no control groups are mounted: mount cgroup2 on /sys/fs/cgroup")]
    NotMounted,
    /// A limit needs a controller or a control file that this kernel, or this part of its hierarchy, does not have.
    #[error("{what}: not supported here: {reason}")]
    Unsupported {
        /// The limit or operation asked for.
        what: String,
        /// What is missing.
        reason: String,
    },
    /// A limit whose value makes no sense.
    #[error("{what}: {reason}")]
    Invalid {
        /// The limit, by its name in the runtime specification, with its value.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Processes are where none may be.
    #[error("the container's cgroup is not empty: {path:?} holds processes {pids:?}")]
    NotEmpty {
        /// The group.
        path: PathBuf,
        /// Some of the processes.
        pids: Vec<u32>,
    },
    /// A group is there that is frozen.
    #[error("container's cgroup unexpectedly frozen: {0:?}")]
    Frozen(PathBuf),
    /// The kernel did not get there in time.
    #[error("cgroup {path:?} did not become {state} within {millis} ms")]
    TimedOut {
        /// The group.
        path: PathBuf,
        /// The state that was waited for.
        state: &'static str,
        /// How long it was waited for, in milliseconds.
        millis: u128,
    },
    /// More nested groups than anybody needs.
    #[error("cgroup {0:?} has groups nested more than {MAX_DEPTH} deep")]
    TooDeep(PathBuf),
    /// A control file with content that its documentation does not allow.
    #[error("{file:?}: cannot make sense of {line:?}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The offending line.
        line: String,
    },
    /// A memory limit below what is in use already.
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})")]
    BelowUsage {
        /// The refused limit, in bytes.
        limit: String,
        /// What is in use, in bytes.
        usage: u64,
        /// The most that has been in use, in bytes; zero where the kernel does not say.
        peak: u64,
    },
    /// systemd refused, or said something that it should not.
    #[error("systemd: {name}: {message}")]
    Systemd {
        /// The error's name on D-Bus, such as `org.freedesktop.systemd1.NoSuchUnit`, or a word of ours.
        name: String,
        /// What systemd says about it.
        message: String,
    },
    /// A system call failed.
    #[error(transparent)]
    System(#[from] linux::Error),
}

/// How deep groups may be nested below a container's own.
pub(crate) const MAX_DEPTH: usize = 256;

impl Error {
    /// Whether the failure is the kernel's error number `errno` (errno(3)).
    #[must_use]
    pub fn is(&self, errno: i32) -> bool {
        matches!(self, Self::System(error) if error.errno() == errno)
    }

    pub(crate) fn no_controller(what: impl Into<String>, controller: Controller) -> Self {
        let reason = format!("the {} controller is not available", controller.name());
        Self::Unsupported { what: what.into(), reason }
    }
}
