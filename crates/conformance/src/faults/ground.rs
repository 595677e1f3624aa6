//! What faults are tried on: a daemon that is killed and comes back, and the world as it was when nothing was to do.

use super::api::Api;
use crate::daemon::Daemon;
use crate::fixture::{Archives, BUSYBOX};
use crate::leftovers::World;
use crate::scope::{eventually, percent_encode};
use anyhow::{Context, Result};
use linux::pidfd::PidFd;
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
    /// Takes hold of a daemon that has nothing yet.
    pub(super) fn prepare(daemon: Daemon, archives: &Archives) -> Result<Self> {
        let api = Api::new(daemon.setup().socket(), archives)?;
        let mut marks = vec![daemon.setup().directory.display().to_string()];
        marks.extend(daemon.setup().cgroup_parent.clone());
        let mut ground = Self { daemon, api, marks, world: World::default(), files: BTreeSet::new() };
        ground.look_around()?;
        Ok(ground)
    }

    /// Loads the image and remembers how things are.
    fn look_around(&mut self) -> Result<()> {
        self.api.load()?;
        // Once, so that what only the first container makes is there.
        self.api.run_container("first", &json!({ "Image": BUSYBOX, "Cmd": ["true"] }))?;
        self.api.remove("first")?;
        self.world = World::observe(&self.marks)?;
        self.files = self.files()?;
        Ok(())
    }

    /// The daemon comes back after a crash.
    pub(super) fn revive(&mut self) -> Result<()> {
        self.daemon.start_again()
    }

    /// Everything ends at once: the daemon, shims and containers; nothing is left of what lives in memory only.
    pub(super) fn cut_power(&mut self) -> Result<()> {
        self.daemon.kill_hard()?;
        eventually("the end of all processes", || Ok((kill_marked(&self.marks)? == 0).then_some(())))?;
        let exec_root = self.daemon.setup().exec_root();
        std::fs::remove_dir_all(&exec_root)?;
        std::fs::create_dir_all(&exec_root).context("the exec root")
    }

    /// An empty data root with the image, after one that cannot be worked with any more.
    pub(super) fn begin_anew(&mut self) -> Result<()> {
        drop(self.daemon.kill_hard());
        self.cut_power()?;
        // What is in it: it may be a file system of its own.
        let data_root = self.daemon.setup().data_root();
        for entry in std::fs::read_dir(&data_root)? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        self.revive()?;
        self.look_around()
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

    /// What a failure has left is told once: the next tries begin with it.
    pub(super) fn put_up_with_leftovers(&mut self) -> Result<()> {
        self.world = World::observe(&self.marks)?;
        self.files = self.files()?;
        Ok(())
    }

    /// The files of both roots that belong to something: directories of containers, volumes, layers, blobs, leases.
    fn files(&self) -> Result<BTreeSet<String>> {
        let setup = self.daemon.setup();
        let mut found = BTreeSet::new();
        for directory in [
            "containers",
            "snapshots",
            "removed",
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

/// Ends every process that was started on one of the directories or has one mounted; how many there were. Only those of
/// our own process namespace are seen here: no other run's.
fn kill_marked(marks: &[String]) -> Result<usize> {
    let (own, namespace) = (std::process::id(), std::fs::read_link("/proc/self/ns/mnt")?);
    let mut found = 0;
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(process) = name.parse::<u32>().ok().filter(|process| *process != own) else { continue };
        // A process may end while it is being looked at.
        let read = |file: &str| std::fs::read(format!("/proc/{name}/{file}")).unwrap_or_default();
        let names = |file: &str| {
            let text = read(file);
            let text = String::from_utf8_lossy(&text);
            marks.iter().any(|mark| text.contains(mark))
        };
        let elsewhere =
            std::fs::read_link(format!("/proc/{name}/ns/mnt")).is_ok_and(|other| other != namespace);
        if (names("cmdline") || (elsewhere && names("mountinfo")))
            && let Some(process) = PidFd::open(process)?
        {
            process.send(9)?;
            found += 1;
        }
    }
    Ok(found)
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
