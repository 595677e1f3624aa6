//! The OCI runtime: plans and applies namespaces, mounts, credentials and seccomp for one container.

pub mod capability;
mod error;
pub mod facts;
pub mod plan;
mod request;
pub mod seccomp;

pub use error::{Error, Kind, Result};
pub use facts::Facts;
pub use request::{Create, Created, Exec, Executed, Gate, Rootfs, StartGate, Stdio};
