//! What faults are tried on: a daemon that is killed and comes back, and the world as it was when nothing was to do.

use super::api::Api;
use crate::daemon::Daemon;
use crate::fixture::{Archives, BUSYBOX};
use crate::leftovers::World;
use crate::scope::{eventually, percent_encode};
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// The daemon under test and what the world is like when it has nothing to do.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) daemon: Daemon,
    pub(super) api: Api,
    marks: Vec<String>,
    world: World,
    files: BTreeSet<String>,
}

impl Ground {
    /// Loads the image and remembers how things are.
    pub(super) fn prepare(daemon: Daemon, archives: &Archives) -> Result<Self> {
        let api = Api::new(daemon.setup().socket(), archives);
        let marks = vec![daemon.setup().directory.display().to_string()];
        let mut ground = Self { daemon, api, marks, world: World::default(), files: BTreeSet::new() };
        ground.api.load()?;
        // Once, so that what only the first container makes is there.
        ground.api.run_container("first", &json!({ "Image": BUSYBOX, "Cmd": ["true"] }))?;
        ground.api.remove("first")?;
        ground.world = World::observe(&ground.marks)?;
        ground.files = ground.files()?;
        Ok(ground)
    }

    /// The daemon comes back after a crash.
    pub(super) fn revive(&mut self) -> Result<()> {
        self.daemon.start_again()
    }

    /// What is here now and was not when nothing was to do. The end of a process and what follows may take a moment.
    pub(super) fn leftovers(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        let settled = eventually("nothing left", || {
            left = World::observe(&self.marks)?.added_since(&self.world);
            left.extend(self.files()?.difference(&self.files).cloned());
            Ok(left.is_empty().then_some(()))
        });
        Ok(if settled.is_ok() { Vec::new() } else { left })
    }

    /// The files of both roots that belong to something: directories of containers, volumes, layers, blobs, leases.
    fn files(&self) -> Result<BTreeSet<String>> {
        let setup = self.daemon.setup();
        let mut found = BTreeSet::new();
        for directory in [
            "containers",
            "snapshots",
            "volumes",
            "layers",
            "layers/sha256",
            "blobs",
            "blobs/sha256",
            "ingest",
        ] {
            list(&setup.data_root().join(directory), &mut found)?;
        }
        list(&setup.exec_root().join("containers"), &mut found)?;
        Ok(found)
    }

    /// Removes the image and ends the daemon; how many things went wrong.
    pub(super) fn close(mut self) -> Result<usize> {
        let mut failed = 0;
        let answer = self.api.delete(&format!("/images/{}?force=1", percent_encode(BUSYBOX)))?;
        if answer.status != 200 {
            println!("FAILED  removing the image: {}", answer.message());
            failed += 1;
        }
        let status = self.daemon.stop()?;
        if !status.success() {
            println!("FAILED  the daemon ends with {status}");
            failed += 1;
        }
        Ok(failed)
    }
}

fn list(directory: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        found.insert(format!("file: {}", entry?.path().display()));
    }
    Ok(())
}
