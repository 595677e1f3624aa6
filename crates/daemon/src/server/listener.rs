//! Where clients connect: unix sockets with their mode and group, TCP, and sockets handed over by systemd.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::socket::Listening;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::connection::Socket;

/// How long a TCP client may be silent before it is probed, and the time between probes: those of Go's listeners.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A place where clients connect.
pub struct Listener {
    place: Place,
    tls: Option<TlsAcceptor>,
}

enum Place {
    /// A unix socket; its file is removed when the listener is dropped, unless somebody else made it.
    Unix(UnixListener, Option<SocketFile>),
    /// TCP.
    Tcp(TcpListener),
}

/// A socket's file. Removes it when dropped.
struct SocketFile(PathBuf);

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
    /// The service manager handed over something that clients cannot connect to.
    #[error("what the service manager handed over as descriptor {0} is no listening unix or TCP socket")]
    NotListening(i32),
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
        Ok(Place::Unix(listener, Some(SocketFile(path.to_path_buf()))).without_tls())
    }

    /// Listens on an address, with TLS or without.
    pub async fn tcp(
        address: std::net::SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> Result<Listener, ListenError> {
        let failed = |error| ListenError::Io { place: format!("tcp://{address}"), step: "bind", error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Listener { place: Place::Tcp(listener), tls })
    }

    /// Takes over a socket that the service manager listens on; `number` is its place among those it handed over. TLS
    /// is for TCP.
    pub fn inherited(number: i32, fd: OwnedFd, tls: Option<TlsAcceptor>) -> Result<Listener, ListenError> {
        let failed = |error| ListenError::Io { place: format!("fd://{number}"), step: "take over", error };
        match linux::socket::listening(&fd) {
            Some(Listening::Unix) => {
                let listener = std::os::unix::net::UnixListener::from(fd);
                listener.set_nonblocking(true).map_err(failed)?;
                let listener = UnixListener::from_std(listener).map_err(failed)?;
                Ok(Place::Unix(listener, None).without_tls())
            }
            Some(Listening::Tcp) => {
                let listener = std::net::TcpListener::from(fd);
                listener.set_nonblocking(true).map_err(failed)?;
                let listener = TcpListener::from_std(listener).map_err(failed)?;
                Ok(Listener { place: Place::Tcp(listener), tls })
            }
            None => Err(ListenError::NotListening(number)),
        }
    }

    /// The next client.
    pub async fn accept(&self) -> io::Result<Socket> {
        match &self.place {
            Place::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Socket::Unix(stream)),
            Place::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                linux::socket::keep_alive(&stream, KEEP_ALIVE, KEEP_ALIVE).map_err(io::Error::other)?;
                Ok(Socket::Tcp(stream))
            }
        }
    }

    /// What encrypts its connections.
    pub fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        match &self.place {
            // The socket itself knows the name that it was made under.
            Place::Unix(_, Some(file)) => format!("unix://{}", file.0.display()),
            Place::Unix(listener, None) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or("unix://?".into(), |path| format!("unix://{}", path.display()))
            }
            Place::Tcp(listener) => {
                listener.local_addr().map_or("tcp://?".into(), |address| format!("tcp://{address}"))
            }
        }
    }
}

impl Place {
    fn without_tls(self) -> Listener {
        Listener { place: self, tls: None }
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
