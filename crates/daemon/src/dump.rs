//! What the daemon is doing, as text in a file: the answer to SIGUSR1, for somebody who looks for what hangs.

use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use engine::Engine;
use tokio::runtime::RuntimeMetrics;

use crate::server::underway::Underway;

/// Most containers that are listed.
const MAX_CONTAINERS: usize = 10_000;

/// Everything that a dump shows.
pub(crate) struct Subject<'a> {
    /// The containers and listeners.
    pub(crate) engine: &'a Engine,
    /// The requests.
    pub(crate) underway: &'a Underway,
    /// The tasks.
    pub(crate) tasks: &'a RuntimeMetrics,
}

/// Writes a new file in a directory; its path. Only its owner can read it: it names containers and requests.
pub(crate) fn write(directory: &Path, moment: &str, subject: &Subject<'_>) -> io::Result<PathBuf> {
    let path = directory.join(format!("berth-state-{}.log", moment.replace([':', '.'], "")));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text(moment, subject).as_bytes())?;
    Ok(path)
}

fn text(moment: &str, subject: &Subject<'_>) -> String {
    let mut text = format!("berth {} at {moment}\n", engine::system::BERTH_VERSION);
    let mut section = |title: &str, lines: &str| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n== {title}\n{}", if lines.is_empty() { "none\n" } else { lines });
    };
    section("requests whose handlers are at work, the oldest first", &subject.underway.text());
    section("containers: identifier, what its owner has published", &containers(subject.engine));
    section("listeners to events", &format!("{}\n", subject.engine.events.listeners()));
    section(
        "asynchronous tasks",
        &format!(
            "alive {}, waiting for a worker {}, workers {}\n",
            subject.tasks.num_alive_tasks(),
            subject.tasks.global_queue_depth(),
            subject.tasks.num_workers(),
        ),
    );
    section(
        "threads: id, name, state, where in the kernel, its stack there",
        &threads(Path::new("/proc/self")),
    );
    section("open files by kind", &files(Path::new("/proc/self")));
    text
}

fn containers(engine: &Engine) -> String {
    let mut text = String::new();
    for handle in engine.containers.all().iter().take(MAX_CONTAINERS) {
        let view = handle.view();
        let _ = writeln!(text, "{} {} {}", handle.id, view.record.name, view.state());
    }
    text
}

/// What proc(5) tells about each thread; what may not be read is left out.
fn threads(process: &Path) -> String {
    let mut text = String::new();
    for thread in entries(&process.join("task")) {
        let read = |name: &str| std::fs::read_to_string(thread.join(name)).unwrap_or_default();
        let status = read("status");
        let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default().trim();
        let number = thread.file_name().unwrap_or_default().display().to_string();
        let _ = writeln!(text, "{number} {} {state} {}", read("comm").trim(), read("wchan").trim());
        for line in read("stack").lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// How many descriptors there are of each kind: `socket`, `pipe`, `anon_inode:[pidfd]`, the rest as `file`.
fn files(process: &Path) -> String {
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    for descriptor in entries(&process.join("fd")) {
        let target =
            std::fs::read_link(descriptor).map(|target| target.display().to_string()).unwrap_or_default();
        let kind = match target.split_once(":[") {
            Some((kind, _)) => kind,
            None if target.starts_with("anon_inode:") => &target,
            None => "file",
        };
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds.iter().map(|(kind, count)| format!("{count} {kind}\n")).collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort_unstable();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described() {
        let own = Path::new("/proc/self");
        assert!(!threads(own).is_empty());
        assert!(files(own).contains(" file\n"), "{}", files(own));
    }
}
