//! A file that one process at a time has claimed, with that process's number in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the lock of a process that is gone may stay: a child that it was about to start has it until its execve(2).
const LEAVING: Duration = Duration::from_secs(5);
/// How often is looked; the kernel tells nobody of a lock that becomes free, except who waits for it without limit.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What became of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// It is ours until this is dropped, or the process ends in whatever way.
    Ours(Claim),
    /// Another process has it: its number as it wrote it, or nothing when that cannot be read.
    Theirs(String),
}

/// A claimed file, given up for good when it is dropped: a process that is being started has a copy of the file for a
/// moment, and closing ours would leave it locked for as long.
#[derive(Debug)]
pub struct Claim(File);

impl Drop for Claim {
    fn drop(&mut self) {
        // What fails here is over with the process at the latest.
        let _ = self.0.unlock();
    }
}

/// Claims a file (flock(2)), which is made (0600) when it is not there.
///
/// # Errors
/// When the file cannot be opened, locked or written.
pub fn claim(path: &Path) -> io::Result<Claimed> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path)?;
    let deadline = Instant::now() + LEAVING;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        let mut pid = String::new();
        // Only a hint: one that cannot be read, or is not written yet, is a holder all the same.
        let _ = file.rewind().and_then(|()| (&file).take(32).read_to_string(&mut pid));
        let pid = pid.trim();
        if runs(pid) || Instant::now() > deadline {
            return Ok(Claimed::Theirs(pid.to_owned()));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Claimed::Ours(Claim(file)))
}

/// Whether a process runs; one that has ended and was not waited for does not.
fn runs(pid: &str) -> bool {
    pid.parse::<u32>().is_ok_and(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok())
}
