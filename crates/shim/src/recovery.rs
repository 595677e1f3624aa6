//! What a daemon needs to find the shims and exit records of an earlier one.
//!
//! An exec root holds `containers/<id>/` with `shim.sock` (where a shim listens), `shim.pid` (which process it is) and
//! `shim.started` (once its program was started).

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::pidfd::PidFd;

/// An exec directory that was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The container.
    pub id: String,
    /// Its exec directory.
    pub exec_dir: PathBuf,
}

/// Where the shim of an exec directory listens.
#[must_use]
pub fn socket_path(exec_dir: &Path) -> PathBuf {
    exec_dir.join("shim.sock")
}

/// The file that says which process a shim is: its pid and its start time in clock ticks since boot.
#[must_use]
pub fn pid_path(exec_dir: &Path) -> PathBuf {
    exec_dir.join("shim.pid")
}

/// The file that is there once the program of a container was started, whatever became of its shim.
#[must_use]
pub fn started_path(exec_dir: &Path) -> PathBuf {
    exec_dir.join("shim.started")
}

/// All exec directories below `containers` (which may not exist), sorted by id.
pub fn exec_dirs(containers: &Path) -> io::Result<Vec<Found>> {
    let entries = match fs::read_dir(containers) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(id) = entry.file_name().into_string()
        {
            found.push(Found { id, exec_dir: entry.path() });
        }
    }
    found.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(found)
}

/// Connects to the shim of an exec directory; the socket is blocking.
///
/// ENOENT or ECONNREFUSED: there is none. A shim that is stopped may take the connection and answer nothing, so every
/// request needs a limit too.
pub fn connect(exec_dir: &Path, limit: Duration) -> linux::Result<OwnedFd> {
    linux::socket::connect(&socket_path(exec_dir), limit)
}

/// The process that is the shim of an exec directory, alive or just ended; `None` when it is gone.
///
/// A process that merely has the same number now is told apart by its start time.
pub fn shim_process(exec_dir: &Path) -> io::Result<Option<PidFd>> {
    let text = match fs::read_to_string(pid_path(exec_dir)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut numbers = text.split_whitespace();
    let (Some(Ok(pid)), Some(Ok(ticks))) =
        (numbers.next().map(str::parse), numbers.next().map(str::parse::<u64>))
    else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("shim.pid says {text:?}")));
    };
    // First the descriptor, then the check: what is checked is what the descriptor stands for.
    let Some(pidfd) = PidFd::open(pid)? else { return Ok(None) };
    Ok(if start_time_ticks(pid)? == Some(ticks) { Some(pidfd) } else { None })
}

/// When a process was started, in clock ticks since boot (field 22 of proc_pid_stat(5)); `None` when it is gone.
pub fn start_time_ticks(pid: u32) -> io::Result<Option<u64>> {
    let mut text = String::new();
    let read =
        fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // ESRCH: it ended between open and read.
        Err(error) if error.raw_os_error() == Some(3) => return Ok(None),
        Err(error) => return Err(error),
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat says {text:?}"));
    // The name of the program, in parentheses, may hold anything; field 3 comes after the last parenthesis.
    let fields = text.rsplit_once(')').ok_or_else(invalid)?.1;
    let field = fields.split_whitespace().nth(22 - 3).ok_or_else(invalid)?;
    Ok(Some(field.parse().map_err(|_| invalid())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_shim_is_told_from_a_later_process_with_its_number() {
        let scratch = Scratch::new();
        let pid = std::process::id();
        let ticks = start_time_ticks(pid).expect("stat").expect("ourselves");
        assert!(shim_process(scratch.path()).expect("none").is_none());
        for (text, alive) in [(format!("{pid} {ticks}\n"), true), (format!("{pid} {}\n", ticks + 1), false)] {
            fs::write(pid_path(scratch.path()), text).expect("write");
            assert_eq!(shim_process(scratch.path()).expect("read").is_some(), alive);
        }
        fs::write(pid_path(scratch.path()), "x").expect("write");
        assert!(shim_process(scratch.path()).is_err());
        assert_eq!(start_time_ticks(0).expect("stat"), None);
    }

    #[test]
    fn exec_directories_are_listed_by_id() {
        let scratch = Scratch::new();
        let containers = scratch.path().join("containers");
        assert_eq!(exec_dirs(&containers).expect("list"), []);
        for name in ["b", "a"] {
            fs::create_dir_all(containers.join(name)).expect("mkdir");
        }
        fs::write(containers.join("file"), "").expect("write");
        let ids: Vec<_> = exec_dirs(&containers).expect("list").into_iter().map(|found| found.id).collect();
        assert_eq!(ids, ["a", "b"]);
        let error = connect(&containers.join("a"), Duration::from_millis(10)).expect_err("no shim");
        assert_eq!(error.name(), Some("ENOENT"));
    }
}
