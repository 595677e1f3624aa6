//! Control groups that the daemon under test is put into.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A control group of cgroup v1 with one process in it.
pub(super) struct Group {
    path: PathBuf,
}

impl Group {
    /// Puts a process into a group of this run's.
    pub(super) fn of(controller: &str, process: u32) -> Result<Self> {
        let path = Path::new("/sys/fs/cgroup").join(controller);
        if !path.join("tasks").exists() {
            bail!("no cgroup v1 hierarchy of {controller}: this part is for machines that have one");
        }
        let path = path.join(format!("berth-test-faults-need-{}", crate::run_number()));
        fs::create_dir_all(&path)?;
        fs::write(path.join("cgroup.procs"), process.to_string())?;
        Ok(Self { path })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Removes the group; whoever is in it goes to the root.
    pub(super) fn remove(self) -> Result<()> {
        let root = self.path.parent().context("a hierarchy")?.join("cgroup.procs");
        for process in fs::read_to_string(self.file("cgroup.procs"))?.lines() {
            // It may have ended meanwhile.
            drop(fs::write(&root, process));
        }
        fs::remove_dir(&self.path).with_context(|| self.path.display().to_string())
    }
}
