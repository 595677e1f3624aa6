//! One daemon for each data root.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use store::{Claim, Claimed, claim};

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

/// A claimed data root; free again when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for the lock on it")] Claim);

impl Lock {
    /// Claims a data root, making it if it is not there. Only root may look into it.
    pub fn take(root: &Path) -> Result<Lock, LockError> {
        let failed = |step| move |error| LockError::Io { root: root.into(), step, error };
        DirBuilder::new().recursive(true).mode(0o711).create(root).map_err(failed("make the directory"))?;
        match claim(&root.join("daemon.lock")).map_err(failed("lock daemon.lock"))? {
            Claimed::Ours(claim) => Ok(Lock(claim)),
            Claimed::Theirs(pid) => Err(LockError::InUse { root: root.into(), pid }),
        }
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
