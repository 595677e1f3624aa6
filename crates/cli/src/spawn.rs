//! A daemon for the default socket: started in the background when there is none.
//!
//! ```text
//! berth ps ── connect: nobody there ── spawn `berth daemon` in its own session, NOTIFY_SOCKET=<ours>
//!          ◄── READY=1 (sd_notify protocol) when it listens ──
//!          ── or its exit, whichever is first ──
//! ```

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::net::UnixDatagram;

use crate::failure::{Failure, system_words};

/// Where the daemon's own files of this boot are.
const RUN_DIR: &str = "/run/berth";

/// What the daemon prints.
const LOG: &str = "/var/log/berth.log";

/// Whether this user can run a daemon: root of the machine's files.
pub(crate) fn is_possible() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Starts a daemon for the default socket and waits until it listens.
pub(crate) async fn daemon(socket: &str) -> Result<(), Failure> {
    let failed = |what: &str, error: &std::io::Error| {
        Failure::text(format!(
            "Cannot start a daemon for {socket}: {what}: {}. Start one with `berth daemon`.",
            system_words(error)
        ))
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(RUN_DIR)
        .map_err(|error| failed(RUN_DIR, &error))?;
    let notify = NotifySocket::bind().map_err(|error| failed("readiness socket", &error))?;
    let log =
        fs::OpenOptions::new().create(true).append(true).open(LOG).map_err(|error| failed(LOG, &error))?;
    let errors = log.try_clone().map_err(|error| failed(LOG, &error))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("berth")
        .arg("daemon")
        .current_dir("/")
        .env("NOTIFY_SOCKET", &notify.name)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    linux::session::in_own_session(&mut command);
    let mut child =
        tokio::process::Command::from(command).spawn().map_err(|error| failed("berth daemon", &error))?;
    let pid = child.id().unwrap_or_default();
    tokio::select! {
        ready = notify.ready() => ready.map_err(|error| failed("readiness socket", &error))?,
        status = child.wait() => {
            let status = status.map_err(|error| failed("berth daemon", &error))?;
            return Err(Failure::text(format!("Cannot start a daemon for {socket}: it ended with {status}; see {LOG}")));
        }
    }
    eprintln!("berth: no daemon at unix://{socket}: started one (pid {pid}, log {LOG})");
    Ok(())
}

/// The socket that a daemon tells when it is ready (sd_notify(3)).
struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    name: OsString,
}

impl NotifySocket {
    fn bind() -> std::io::Result<Self> {
        let path = Path::new(RUN_DIR).join(format!("ready.{}", std::process::id()));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        let name = path.clone().into_os_string();
        Ok(Self { socket, path, name })
    }

    async fn ready(&self) -> std::io::Result<()> {
        let mut message = [0_u8; 4096];
        loop {
            let length = self.socket.recv(&mut message).await?;
            if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Ok(());
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        // The name is not needed any more; a stale one is replaced by the next process with this id.
        let _ = fs::remove_file(&self.path);
    }
}
