//! Where clients connect: unix sockets with their mode and group, TCP, and sockets handed over by systemd.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::connection::Socket;

/// A place where clients connect.
pub enum Listener {
    /// A unix socket; the file is removed when the listener is dropped.
    Unix(UnixListener, SocketFile),
    /// TCP.
    Tcp(TcpListener),
}

/// A socket's file. Removes it when dropped.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the socket");
        }
    }
}

/// Why a place cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon answers there.
    #[error("{0} is in use: another daemon answers on it")]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0} exists and is not a socket: remove it or choose another path with -H")]
    NotASocket(PathBuf),
    /// The kernel said no.
    #[error("cannot listen on {place}: {step}: {error}")]
    Io {
        /// Path or address.
        place: String,
        /// What was tried.
        step: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

fn failed(place: &Path, step: &'static str) -> impl FnOnce(io::Error) -> ListenError {
    let place = place.display().to_string();
    move |error| ListenError::Io { place, step, error }
}

impl Listener {
    /// Listens on a unix socket with mode 0660 and the given group (root's when `None`). The file of a daemon that
    /// died is replaced.
    ///
    /// The socket is made under another name, with nobody's permission, and gets its own name when it is ready: a
    /// client never finds it half made or too open.
    pub fn unix(path: &Path, group: Option<u32>) -> Result<Listener, ListenError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed(path, "make its directory"))?;
        }
        refuse_living(path)?;
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let hidden = PathBuf::from(hidden);
        let _ = std::fs::remove_file(&hidden);
        let listener = std::os::unix::net::UnixListener::bind(&hidden).map_err(failed(path, "bind"))?;
        let guard = SocketFile(hidden.clone());
        listener.set_nonblocking(true).map_err(failed(path, "set non-blocking"))?;
        std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))
            .map_err(failed(path, "chmod"))?;
        if group.is_some() {
            std::os::unix::fs::chown(&hidden, None, group).map_err(failed(path, "chown"))?;
        }
        std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o660))
            .map_err(failed(path, "chmod"))?;
        std::fs::rename(&hidden, path).map_err(failed(path, "rename"))?;
        drop(guard);
        let listener = UnixListener::from_std(listener).map_err(failed(path, "register"))?;
        Ok(Listener::Unix(listener, SocketFile(path.to_path_buf())))
    }

    /// Listens on an address, without TLS.
    pub async fn tcp(address: std::net::SocketAddr) -> Result<Listener, ListenError> {
        let failed = |error| ListenError::Io { place: format!("tcp://{address}"), step: "bind", error };
        TcpListener::bind(address).await.map(Listener::Tcp).map_err(failed)
    }

    /// The next client.
    pub async fn accept(&self) -> io::Result<Socket> {
        match self {
            Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Socket::Unix(stream)),
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
        }
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        match self {
            Listener::Unix(_, file) => format!("unix://{}", file.0.display()),
            Listener::Tcp(listener) => {
                listener.local_addr().map_or("tcp://?".into(), |address| format!("tcp://{address}"))
            }
        }
    }
}

/// A file at the path is in the way unless it is the socket of a daemon that does not answer.
fn refuse_living(path: &Path) -> Result<(), ListenError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path, "look at it")(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.into()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.into())),
        Err(_) => Ok(()),
    }
}
