//! The per-container supervisor: process, terminal, log file and exit record.
//!
//! One small process per container owns what must outlive the daemon. It is one thread around epoll(7) and needs
//! nobody: a daemon that is dead, hung or being replaced stops no program, loses no log line and blocks no writer.
//!
//! - [`spawn`]: how a daemon starts one;
//! - [`protocol`]: what daemon and shim say to each other;
//! - [`client`]: a connection for callers that may wait;
//! - [`recovery`], [`exit_record`]: what a new daemon finds of an earlier one's shims;
//! - [`log`]: output on disk: written by the shim, read by the daemon;
//! - [`supervise`]: the role itself;
//! - [`timestamp`]: moments as they stand in logs and exit records.
//!
//! Nothing in here knows images, networks, names or the Engine API.

pub mod client;
pub mod exit_record;
pub mod log;
pub mod protocol;
#[cfg(test)]
mod random;
pub mod recovery;
#[cfg(test)]
mod scratch;
pub mod spawn;
pub mod supervise;
pub use timestamp;

/// Runs the role `berth shim` with the arguments that follow; the exit code of the process.
///
/// Must be called before the process has opened anything or started a thread.
#[must_use]
pub fn main(arguments: &[std::ffi::OsString]) -> i32 {
    supervise::run(arguments, &mut supervise::Launcher::default())
}
