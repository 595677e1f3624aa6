//! The OCI runtime: plans and applies namespaces, mounts, credentials and seccomp for one container.

pub mod profile;
pub mod seccomp;
