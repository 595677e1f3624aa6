//! How bytes reach a daemon: a unix socket, TCP with TLS or without, or a program that relays them (ssh).

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Address, Error, Result};

/// Seconds that ssh may take to connect.
const SSH_PATIENCE: &str = "ConnectTimeout=30";

/// A connection to a daemon.
pub(crate) enum Transport {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Relay(Box<Relay>),
}

/// A program whose standard input and output are the connection. Killed when the connection is dropped.
pub(crate) struct Relay {
    _child: Child,
    /// `None` once its end has been told.
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Transport {
    /// Connects to a daemon; `tls` encrypts TCP.
    pub(crate) async fn connect(address: &Address, tls: Option<&TlsConnector>) -> Result<Self> {
        match address {
            Address::Unix(path) => {
                UnixStream::connect(path).await.map(Self::Unix).map_err(|source| refused(address, source))
            }
            Address::Tcp { host, port } => {
                let stream = connect_tcp(host, *port).await?.map_err(|source| refused(address, source))?;
                match tls {
                    None => Ok(Self::Tcp(stream)),
                    Some(connector) => encrypt(address, host, stream, connector).await,
                }
            }
            Address::Ssh(ssh) => {
                let relay = relay(&ssh.command());
                relay.map(|relay| Self::Relay(Box::new(relay))).map_err(|source| refused(address, source))
            }
        }
    }
}

fn refused(address: &Address, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Permission { address: address.clone() },
        _ => Error::Unreachable { address: address.clone(), source },
    }
}

async fn connect_tcp(host: &str, port: u16) -> Result<io::Result<TcpStream>> {
    let lookup = |reason: String| Error::Lookup { host: host.to_owned(), reason };
    let addresses = resolver::lookup(host).await.map_err(|error| lookup(error.to_string()))?;
    let mut last = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
    for address in addresses {
        last = TcpStream::connect((address, port)).await;
        if last.is_ok() {
            break;
        }
    }
    Ok(last)
}

async fn encrypt(
    address: &Address,
    host: &str,
    stream: TcpStream,
    connector: &TlsConnector,
) -> Result<Transport> {
    let failed = |source: io::Error| Error::Tls { address: address.clone(), source };
    let name = rustls::pki_types::ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| failed(io::Error::other(error)))?;
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    Ok(Transport::Tls(Box::new(stream)))
}

fn relay(words: &[String]) -> io::Result<Relay> {
    let mut command = Command::new("ssh");
    command.args(["-o", SSH_PATIENCE, "-T"]).args(words).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (Some(input), Some(output)) = (input, output) else {
        return Err(io::Error::other("a program was started without its pipes"));
    };
    Ok(Relay { _child: child, input: Some(input), output })
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Relay(relay) => Pin::new(&mut relay.output).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Relay(relay) => match &mut relay.input {
                Some(input) => Pin::new(input).poll_write(context, bytes),
                None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Relay(relay) => match &mut relay.input {
                Some(input) => Pin::new(input).poll_flush(context),
                None => Poll::Ready(Ok(())),
            },
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            // The end of a pipe is told by closing it.
            Self::Relay(relay) => {
                relay.input = None;
                Poll::Ready(Ok(()))
            }
        }
    }
}
