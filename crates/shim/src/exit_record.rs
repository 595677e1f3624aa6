//! `exit.json`: how a container ended, written by its shim and readable when no shim and no daemon is left.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::protocol::{Exit, LogStatus};

/// The longest file that is read.
const LIMIT: u64 = 64 * 1024;

/// How one run of a container ended. `pid` and `start_time_ticks` say which run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The container.
    pub id: String,
    /// Its init, as the host saw it.
    pub pid: u32,
    /// When that was started, in clock ticks since boot.
    pub start_time_ticks: u64,
    /// How it ended.
    pub exit: Exit,
    /// How logging went.
    pub log: LogStatus,
}

/// Why there is no record to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the exit record {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file says nothing we understand, as after a power loss.
    #[error("the exit record {} is damaged: {source}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Where the record of a container is.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("exit.json")
}

/// The record of the last run; `None` when that has not ended, or there was none.
pub fn read(data_dir: &Path) -> Result<Option<ExitRecord>, Error> {
    let path = path(data_dir);
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(File::open(&path)?, LIMIT), &mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(source) => Err(Error::Damaged { path, source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

/// A record that every process sees, and that is not yet certain to survive a loss of power.
#[must_use = "call `settle` to make it durable"]
pub(crate) struct Visible {
    file: File,
    directory: File,
}

/// Puts the record in place, replacing that of an earlier run, all at once.
pub(crate) fn publish(data_dir: &Path, record: &ExitRecord) -> io::Result<Visible> {
    let temporary = data_dir.join("exit.json.tmp");
    remove_if_there(&temporary)?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    fs::rename(&temporary, path(data_dir))?;
    Ok(Visible { file, directory: File::open(data_dir)? })
}

impl Visible {
    /// Waits until the record survives a loss of power.
    pub(crate) fn settle(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.directory.sync_all()
    }
}

/// Forgets the record of an earlier run.
pub(crate) fn remove(data_dir: &Path) -> io::Result<()> {
    remove_if_there(&path(data_dir))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use crate::timestamp::Timestamp;

    fn record(code: i32) -> ExitRecord {
        let exit = Exit { code, signal: None, at: Timestamp::new(1_795_232_587, 1), oom_killed: false };
        ExitRecord { id: "c1".into(), pid: 7, start_time_ticks: 99, exit, log: LogStatus::default() }
    }

    #[test]
    fn the_last_record_is_read_back() {
        let scratch = Scratch::new();
        assert_eq!(read(scratch.path()).expect("read"), None);
        for code in [1, 2] {
            publish(scratch.path(), &record(code)).expect("publish").settle().expect("settle");
        }
        assert_eq!(read(scratch.path()).expect("read"), Some(record(2)));
        assert_eq!(scratch.names(), ["exit.json"]);
        let text = fs::read_to_string(path(scratch.path())).expect("a file");
        let expected = r#"{"id":"c1","pid":7,"start_time_ticks":99,"exit":{"code":2,"signal":null,"at":"2026-11-21T03:43:07.000000001Z","oom_killed":false},"log":{"lost_lines":0,"error":null}}"#;
        assert_eq!(text, expected);
        remove(scratch.path()).expect("remove");
        remove(scratch.path()).expect("remove again");
        assert_eq!(read(scratch.path()).expect("read"), None);
    }

    #[test]
    fn a_damaged_record_is_reported_with_its_path() {
        let scratch = Scratch::new();
        fs::write(path(scratch.path()), "").expect("write");
        let error = read(scratch.path()).expect_err("an error").to_string();
        assert!(error.contains("exit.json is damaged"), "{error}");
    }
}
