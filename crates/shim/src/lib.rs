//! The per-container supervisor: process, terminal, log file and exit record.
//!
//! One small process per container owns what must outlive the daemon. It is one thread around epoll(7) and needs
//! nobody: a daemon that is dead, hung or being replaced stops no program, loses no log line and blocks no writer.
//!
//! - [`log`]: output on disk: written by the shim, read by the daemon;
//! - [`protocol`]: what daemon and shim say to each other;
//! - [`timestamp`]: moments as they stand in logs and exit records.
//!
//! Nothing in here knows images, networks, names or the Engine API.

pub mod log;
pub mod protocol;
#[cfg(test)]
mod random;
#[cfg(test)]
mod scratch;
pub mod timestamp;
