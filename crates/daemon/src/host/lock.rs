//! One daemon for each data root.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why a data root cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error("the data root {root} is in use by another daemon{}: stop it, or choose another with --data-root", owner(.pid))]
    InUse {
        /// The data root.
        root: PathBuf,
        /// The other daemon's process ID as it wrote it.
        pid: String,
    },
    /// The kernel said no.
    #[error("cannot claim the data root {root}: {step}: {error}")]
    Io {
        /// The data root.
        root: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

fn owner(pid: &str) -> String {
    if pid.is_empty() { String::new() } else { format!(" (process {pid})") }
}

/// How long the lock of a daemon that is gone may stay: a child of a killed daemon has it until its execve(2).
const LEAVING: Duration = Duration::from_secs(5);
/// How often is looked; the kernel tells nobody of a lock that becomes free, except who waits for it without limit.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Whether a process runs; one that has ended and was not waited for does not.
fn runs(pid: &str) -> bool {
    pid.parse::<u32>().is_ok_and(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok())
}

/// A claimed data root; free again when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for the lock on it")] File);

impl Lock {
    /// Claims a data root, making it if it is not there. Only root may look into it.
    pub fn take(root: &Path) -> Result<Lock, LockError> {
        let failed = |step| move |error| LockError::Io { root: root.into(), step, error };
        DirBuilder::new().recursive(true).mode(0o711).create(root).map_err(failed("make the directory"))?;
        let path = root.join("daemon.lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(failed("open daemon.lock"))?;
        let deadline = Instant::now() + LEAVING;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    // Only a hint: a lock that cannot be read is in use all the same.
                    let _ = file.rewind().and_then(|()| (&file).take(32).read_to_string(&mut pid));
                    let pid = pid.trim();
                    if runs(pid) || Instant::now() > deadline {
                        return Err(LockError::InUse { root: root.into(), pid: pid.into() });
                    }
                    std::thread::sleep(LOOK_AGAIN);
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock daemon.lock")(error)),
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed("empty daemon.lock"))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write daemon.lock"))?;
        Ok(Lock(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_root_is_claimed_once() {
        let root = std::env::temp_dir().join(format!("berth-lock-{}", std::process::id())).join("root");
        let first = Lock::take(&root).unwrap();
        let second = Lock::take(&root).unwrap_err().to_string();
        let (root_shown, pid) = (root.display(), std::process::id());
        assert_eq!(
            second,
            format!(
                "the data root {root_shown} is in use by another daemon (process {pid}): stop it, or choose another with \
                 --data-root"
            )
        );
        drop(first);
        Lock::take(&root).unwrap();
        std::fs::remove_dir_all(root.parent().unwrap()).unwrap();
    }
}
