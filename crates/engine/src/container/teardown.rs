//! After a run: everything outside the kernel's own bookkeeping that belonged to it is given back.

use std::os::fd::BorrowedFd;

use super::launch::Places;
use super::record::Record;
use crate::engine::Engine;
use crate::{Error, Result};

/// Gives back addresses, ports and links, and removes the directory of the shim. Does all it can; says what failed.
/// `netns` is the network namespace of the run, when it is still there.
pub(crate) fn teardown(engine: &Engine, record: &Record, netns: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut failures = Vec::new();
    if let Err(error) = engine.networks.detach(record, netns) {
        failures.push(error.message);
    }
    let volumes: Vec<&str> = record.volume_paths.keys().map(String::as_str).collect();
    if let Err(error) = crate::volume::release_all(engine, &record.id, &volumes) {
        failures.push(error.message);
    }
    let exec_dir = Places::of(engine, &record.id).exec_dir;
    match std::fs::remove_dir_all(&exec_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            failures.push(format!("remove {}: {error}", exec_dir.display()));
        }
        _ => {}
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::system(failures.join("; "))) }
}

/// Kills what is left in the container's control group and removes it. Removing the absent succeeds.
pub(crate) fn sweep_processes(engine: &Engine, record: &Record) -> Result<()> {
    super::group::sweep(engine, &super::group::place(record)?, &record.id)
}
