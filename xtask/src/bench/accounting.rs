//! Processor time and memory of an engine with all its processes, by putting them into one cgroup.

use crate::sandbox::run_name;
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where groups can be made: the unified hierarchy, or the accounting controller of version 1.
const UNIFIED: &str = "/sys/fs/cgroup";
const VERSION_1: &str = "/sys/fs/cgroup/cpuacct";

/// How long the kernel may take to be done with what was killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A group of processes: a daemon, its clients and shims, and in a group below them its containers.
#[derive(Debug)]
pub(super) struct Group {
    /// `/<run>/<name>`, as an engine takes it for `--cgroup-parent`.
    path: String,
    hierarchy: &'static Path,
    is_unified: bool,
}

impl Group {
    pub(super) fn create(name: &str) -> Result<Self> {
        let is_unified = Path::new(UNIFIED).join("cgroup.controllers").exists();
        let hierarchy = Path::new(if is_unified { UNIFIED } else { VERSION_1 });
        let group = Self { path: format!("/{}/{name}", run_name()), hierarchy, is_unified };
        fs::create_dir_all(group.processes()).with_context(|| group.processes().display().to_string())?;
        Ok(group)
    }

    /// The parent that containers are to be put under, so that what they use is counted as well.
    pub(super) fn containers(&self) -> String {
        format!("{}/containers", self.path)
    }

    fn directory(&self) -> PathBuf {
        self.hierarchy.join(self.path.trim_start_matches('/'))
    }

    fn processes(&self) -> PathBuf {
        self.directory().join("processes")
    }

    /// Moves this process in: what it starts from now on counts.
    pub(super) fn enter(&self) -> Result<()> {
        join(&self.processes())
    }

    /// Moves this process out again.
    pub(super) fn leave(&self) -> Result<()> {
        join(self.hierarchy)
    }

    /// Processor time used so far by everything in the group and below it.
    pub(super) fn cpu(&self) -> Result<Duration> {
        if self.is_unified {
            let text = fs::read_to_string(self.directory().join("cpu.stat"))?;
            let used =
                text.lines().find_map(|line| line.strip_prefix("usage_usec ")).context("usage_usec")?;
            return Ok(Duration::from_micros(used.parse()?));
        }
        let text = fs::read_to_string(self.directory().join("cpuacct.usage"))?;
        Ok(Duration::from_nanos(text.trim().parse()?))
    }

    /// The engine's own processes: daemon, shims, monitors; not what runs in containers.
    pub(super) fn processes_of_engine(&self) -> Result<Vec<Process>> {
        let mut pids = Vec::new();
        collect_processes(&self.directory(), &mut pids)?;
        Ok(pids.iter().filter_map(|pid| Process::read(pid)).collect())
    }

    /// Proportional memory of all of them, in kB.
    pub(super) fn memory(&self) -> Result<u64> {
        Ok(self.processes_of_engine()?.iter().map(|process| process.proportional).sum())
    }
}

/// Removes every group that this process made, and those that engines made below them in other hierarchies.
pub(super) fn remove_all() -> Result<()> {
    let name = run_name();
    let mut places = vec![Path::new(UNIFIED).join(&name)];
    for entry in fs::read_dir(UNIFIED)? {
        places.push(entry?.path().join(&name));
    }
    for place in places.iter().filter(|place| place.is_dir()) {
        // Where a hierarchy is hidden, an engine may have written plain files in its place.
        if place.join("cgroup.procs").exists() {
            remove_tree(place)?;
        } else {
            fs::remove_dir_all(place).with_context(|| place.display().to_string())?;
        }
    }
    Ok(())
}

/// The names of the programs that the measured containers run.
const IN_CONTAINERS: &[&str] = &["sleep", "sh", "true", "busybox", "yes", "xtask", "iperf3"];

/// What a process takes.
#[derive(Debug)]
pub(super) struct Process {
    /// Its command line.
    pub(super) line: String,
    /// Its share of the memory that it has, in kB (PSS).
    pub(super) proportional: u64,
    /// What nobody else has, in kB.
    pub(super) private: u64,
}

impl Process {
    /// `None` for what runs in a container, and for a process that has ended meanwhile.
    fn read(pid: &str) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        if IN_CONTAINERS.contains(&read("comm").trim()) {
            return None;
        }
        let text = read("smaps_rollup");
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let private = field("Private_Clean:")? + field("Private_Dirty:")?;
        let line = read("cmdline").replace('\0', " ");
        Some(Self { line, proportional: field("Pss:")?, private })
    }
}

fn collect_processes(directory: &Path, pids: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(directory.join("cgroup.procs"))?;
    pids.extend(text.lines().map(str::to_owned));
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect_processes(&entry.path(), pids)?;
        }
    }
    Ok(())
}

fn join(directory: &Path) -> Result<()> {
    let file = directory.join("cgroup.procs");
    fs::write(&file, std::process::id().to_string()).with_context(|| file.display().to_string())
}

fn remove_tree(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    // A process that was killed is in its group until the kernel is done with it, which nothing tells of.
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done.with_context(|| directory.display().to_string()),
        }
    }
}
