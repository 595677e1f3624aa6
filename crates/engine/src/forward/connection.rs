//! A connection to a collector of logs, of any kind.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use logdriver::{Target, Tls, Wire};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Where distributions keep the certificates that the whole system trusts.
const SYSTEM_ROOTS: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A stream in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection.
pub(super) enum Connection {
    Udp(UdpSocket),
    UnixDatagram(UnixDatagram),
    Stream(Box<dyn Duplex>),
}

impl Connection {
    /// Connects to the first of the targets that can be connected to.
    pub(super) async fn open(targets: &[Target]) -> io::Result<Self> {
        let mut failure = io::Error::other("there is no collector");
        for target in targets {
            let opened = timeout(CONNECT, open(target)).await;
            match opened.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout"))) {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = io::Error::new(error.kind(), format!("{}: {error}", name(target))),
            }
        }
        Err(failure)
    }

    /// Whether the other side has closed it, as far as that can be known without waiting. What it says is ignored.
    pub(super) async fn is_closed(&mut self) -> bool {
        let Self::Stream(stream) = self else { return false };
        let mut said = [0; 1024];
        loop {
            tokio::select! {
                biased;
                read = stream.read(&mut said) => match read {
                    Ok(0) | Err(_) => return true,
                    Ok(_) => {}
                },
                () = std::future::ready(()) => return false,
            }
        }
    }

    /// Sends everything. A datagram that is too long for its socket goes as a file, or is left out: the number of those.
    pub(super) async fn send(&mut self, wire: &Wire) -> io::Result<u64> {
        let mut left_out = 0;
        match self {
            Self::Stream(stream) => {
                stream.write_all(&wire.bytes).await?;
                stream.flush().await?;
            }
            Self::Udp(socket) => {
                for datagram in wire.datagrams() {
                    match socket.send(datagram).await {
                        Ok(_) => {}
                        Err(error) if is_too_long(&error) => left_out += 1,
                        Err(error) => return Err(error),
                    }
                }
            }
            Self::UnixDatagram(socket) => {
                for datagram in wire.datagrams() {
                    match socket.send(datagram).await {
                        Ok(_) => {}
                        Err(error) if is_too_long(&error) => send_as_file(socket, datagram)?,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(left_out)
    }

    /// Reads some more of an answer; an end of the stream is an error.
    pub(super) async fn receive(&mut self, answer: &mut Vec<u8>) -> io::Result<()> {
        let Self::Stream(stream) = self else { return Err(io::Error::other("datagrams have no answer")) };
        match stream.read_buf(answer).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up instead of answering")),
            _ => Ok(()),
        }
    }
}

/// EMSGSIZE, and ENOBUFS, which a unix socket says of what would never fit its buffer.
fn is_too_long(error: &io::Error) -> bool {
    const EMSGSIZE: i32 = 90;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(EMSGSIZE | ENOBUFS))
}

/// What does not fit a datagram goes to the journal as a sealed file, whose descriptor is all that the datagram carries.
fn send_as_file(socket: &UnixDatagram, datagram: &[u8]) -> io::Result<()> {
    let failed = |error: linux::Error| io::Error::new(error.kind(), error.to_string());
    let file = linux::memfd::sealed("log", datagram).map_err(failed)?;
    linux::socket::send(socket, &[], &[file.as_fd()]).map_err(failed)?;
    Ok(())
}

fn name(target: &Target) -> String {
    match target {
        Target::Udp(host, port) => format!("udp {host}:{port}"),
        Target::Tcp(host, port) | Target::Tls(host, port, _) => format!("tcp {host}:{port}"),
        Target::Unix(path) | Target::UnixDatagram(path) => format!("unix {}", path.display()),
    }
}

async fn open(target: &Target) -> io::Result<Connection> {
    Ok(match target {
        Target::Udp(host, port) => {
            let address = addresses(host, *port).await?.remove(0);
            let any: SocketAddr =
                if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }.parse().map_err(io::Error::other)?;
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            Connection::Udp(socket)
        }
        Target::Tcp(host, port) => Connection::Stream(Box::new(dial(host, *port).await?)),
        Target::Tls(host, port, tls) => {
            let connector = connector(tls).await?;
            let named = tls.server_name.clone().unwrap_or_else(|| host.clone());
            let named = ServerName::try_from(named).map_err(io::Error::other)?;
            let stream = dial(host, *port).await?;
            Connection::Stream(Box::new(connector.connect(named, stream).await?))
        }
        Target::Unix(path) => Connection::Stream(Box::new(UnixStream::connect(path).await?)),
        Target::UnixDatagram(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            Connection::UnixDatagram(socket)
        }
    })
}

async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = resolver::lookup(host).await.map_err(io::Error::other)?;
    if found.is_empty() {
        return Err(io::Error::other(format!("lookup {host}: no such host")));
    }
    Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::other("no address");
    for address in addresses(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn connector(tls: &Tls) -> io::Result<TlsConnector> {
    let tls = tls.clone();
    let read = tokio::task::spawn_blocking(move || configuration(&tls)).await;
    let config = read.map_err(io::Error::other)??;
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Reads the certificates that a connection needs.
fn configuration(options: &Tls) -> io::Result<rustls::ClientConfig> {
    let trust = if options.skip_verify {
        tls::Trust::Anyone
    } else {
        let usual = || SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.exists());
        let mut roots = RootCertStore::empty();
        if let Some(path) = options.authorities.clone().or_else(usual) {
            roots.add_parsable_certificates(certificates(&path)?);
        }
        tls::Trust::Authorities(Arc::new(roots))
    };
    let identity = match &options.identity {
        None => None,
        Some((certificate, key)) => {
            let text = read(key)?;
            let key = PrivateKeyDer::from_pem_slice(&text)
                .map_err(|error| io::Error::other(format!("{}: {error}", key.display())))?;
            Some(tls::Identity { chain: certificates(certificate)?, key })
        }
    };
    let mut config = tls::client_config(trust, identity).map_err(io::Error::other)?;
    // Nothing but the event collector speaks HTTP, and it does so without being asked.
    config.alpn_protocols.clear();
    Ok(config)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    found.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("could not read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_too_long_for_a_datagram_goes_as_a_file() {
        let path = std::env::temp_dir().join(format!("berth-test-journal-{}", std::process::id()));
        let receiver = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let long = vec![b'x'; 4 << 20];
        let wire = Wire {
            bytes: [b"short".as_slice(), &long].concat(),
            ends: vec![5, 5 + long.len()],
            acks: Vec::new(),
        };
        let left_out = runtime.block_on(async {
            let mut connection = Connection::open(&[Target::UnixDatagram(path.clone())]).await?;
            connection.send(&wire).await
        });
        assert_eq!(left_out.unwrap(), 0);
        let (mut bytes, mut files) = ([0; 16], Vec::new());
        let count = receiver.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"short");
        linux::socket::receive(&receiver, &mut bytes, &mut files).unwrap();
        let file = std::fs::File::from(files.remove(0));
        let mut content = vec![0; long.len()];
        file.read_exact_at(&mut content, 0).unwrap();
        assert!(content == long);
        std::fs::remove_file(path).unwrap();
    }
}
