//! The file with the daemon's process ID.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why the file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PidfileError {
    /// A daemon with this file runs.
    #[error(
        "process with PID {pid} is still running, as {path} says: stop it, or choose another file with --pidfile"
    )]
    Running {
        /// The file.
        path: PathBuf,
        /// What it says.
        pid: u32,
    },
    /// The kernel said no.
    #[error("cannot write the process ID to {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What came of it.
        error: io::Error,
    },
}

/// The file; removed when dropped.
#[derive(Debug)]
pub struct Pidfile(PathBuf);

impl Pidfile {
    /// Writes our process ID. The file of a process that is gone is replaced.
    pub fn write(path: &Path) -> Result<Pidfile, PidfileError> {
        let failed = |error| PidfileError::Io { path: path.into(), error };
        if let Some(pid) =
            read(path).map_err(failed)?.filter(|pid| *pid != std::process::id() && is_running(*pid))
        {
            return Err(PidfileError::Running { path: path.into(), pid });
        }
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let mut file = fs::File::create(&hidden).map_err(failed)?;
        write!(file, "{}", std::process::id()).map_err(failed)?;
        fs::rename(&hidden, path).map_err(failed)?;
        Ok(Pidfile(path.into()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the file with the process ID");
        }
    }
}

fn read(path: &Path) -> io::Result<Option<u32>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the process lives. One that was killed and that nobody has waited for yet does not.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may contain anything (proc_pid_stat(5)).
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X' | 'x'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_daemon_is_not_overwritten() {
        let directory = std::env::temp_dir().join(format!("berth-pidfile-{}", std::process::id()));
        let path = directory.join("deep").join("berth.pid");
        let file = Pidfile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());
        fs::write(&path, "1").unwrap();
        assert!(matches!(Pidfile::write(&path), Err(PidfileError::Running { pid: 1, .. })));
        fs::write(&path, "4194999").unwrap();
        drop(Pidfile::write(&path).unwrap());
        fs::remove_dir_all(directory).unwrap();
    }
}
