//! Making a connection: names, TCP, a proxy's CONNECT (RFC 9110, section 9.3.6), TLS, HTTP/1.1.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stream::{Io, Limited};
use super::{Sender, chain, socks, tls};
use crate::error::Cause;
use crate::proxy::{Kind, Proxy};
use crate::settings::Patience;

/// The longest head of a proxy's answer, in bytes.
const LARGEST_PROXY_HEAD: usize = 16 << 10;
/// The longest head of an answer, and at the same time the most that is read at once, in bytes.
const LARGEST_HEAD: usize = 256 << 10;
/// More headers than a registry sends.
const MOST_HEADERS: usize = 128;

/// A connection that is ready for a request to `url`.
pub(super) async fn connect(
    url: &Uri,
    proxy: Option<&Proxy>,
    config: Arc<ClientConfig>,
    patience: &Patience,
) -> Result<Sender, Cause> {
    let is_tls = url.scheme_str() == Some("https");
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let mut stream: Box<dyn Io> = match proxy {
        None => Box::new(dial(host, port, patience).await?),
        Some(proxy) => through(proxy, is_tls, host, port, &config, patience).await?,
    };
    if is_tls {
        stream = encrypt(stream, host, &config, patience).await?;
    }
    let stream = TokioIo::new(Limited::new(stream, patience.idle));
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .handshake(stream)
        .await
        .map_err(|error| Cause::Broken(chain(&error)))?;
    // It ends when its sender is dropped or the other side closes; what goes wrong, the exchange learns.
    tokio::spawn(connection);
    Ok(sender)
}

/// The first of the host's addresses that takes a connection.
async fn dial(host: &str, port: u16, patience: &Patience) -> Result<TcpStream, Cause> {
    let addresses = timeout(patience.connect, resolver::lookup(host)).await;
    let lookup = |reason: String| Cause::Lookup { host: host.to_owned(), reason };
    let addresses =
        addresses.map_err(|_| lookup("i/o timeout".into()))?.map_err(|error| lookup(error.to_string()))?;
    let mut failure = lookup("no such host".into());
    for address in addresses {
        match dial_one(address, port, patience).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => failure = cause,
        }
    }
    Err(failure)
}

async fn dial_one(address: IpAddr, port: u16, patience: &Patience) -> Result<TcpStream, Cause> {
    let address = SocketAddr::new(address, port);
    let fail = |reason: String| Cause::Connect { address: address.to_string(), reason };
    let stream = timeout(patience.connect, TcpStream::connect(address)).await;
    let stream = stream.map_err(|_| fail("i/o timeout".into()))?.map_err(|error| fail(words(&error)))?;
    stream.set_nodelay(true).map_err(|error| fail(words(&error)))?;
    Ok(stream)
}

/// The words of Go's library for what clients look for.
fn words(error: &io::Error) -> String {
    let plain = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network is unreachable",
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        _ => return format!("connect: {error}"),
    };
    format!("connect: {plain}")
}

async fn encrypt(
    stream: Box<dyn Io>,
    host: &str,
    config: &Arc<ClientConfig>,
    patience: &Patience,
) -> Result<Box<dyn Io>, Cause> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_owned();
    let name =
        ServerName::try_from(bare).map_err(|_| Cause::Tls(format!("{host} is not a server's name")))?;
    let handshake = TlsConnector::from(config.clone()).connect(name, stream);
    match timeout(patience.handshake, handshake).await {
        Err(_) => Err(Cause::HandshakeTimedOut),
        Ok(Err(error)) => Err(tls::cause(&error)),
        Ok(Ok(stream)) => Ok(Box::new(stream)),
    }
}

/// A connection to the proxy, which for TLS it has connected through to the host.
async fn through(
    proxy: &Proxy,
    tunnel: bool,
    host: &str,
    port: u16,
    config: &Arc<ClientConfig>,
    patience: &Patience,
) -> Result<Box<dyn Io>, Cause> {
    let mut stream: Box<dyn Io> = Box::new(
        dial(&proxy.host, proxy.port, patience).await.map_err(|cause| Cause::Proxy(cause.to_string()))?,
    );
    if proxy.kind == Kind::Https {
        stream = encrypt(stream, &proxy.host, config, patience).await?;
    }
    if proxy.kind == Kind::Socks {
        let login = proxy.login.as_ref().map(|(name, secret)| (name.as_str(), secret.as_str()));
        let opened = timeout(patience.answer, socks::open(&mut stream, login, host, port)).await;
        opened.map_err(|_| Cause::Proxy("i/o timeout".into()))??;
    } else if tunnel {
        let opened = timeout(patience.answer, open_tunnel(&mut stream, proxy, host, port)).await;
        opened.map_err(|_| Cause::Proxy("i/o timeout".into()))??;
    }
    Ok(stream)
}

async fn open_tunnel(stream: &mut Box<dyn Io>, proxy: &Proxy, host: &str, port: u16) -> Result<(), Cause> {
    let broken = |error: io::Error| Cause::Proxy(error.to_string());
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(value) = proxy.authorization() {
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut head = Vec::new();
    // One byte at a time: what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LARGEST_PROXY_HEAD {
            return Err(Cause::Proxy("the proxy's answer is too long".into()));
        }
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let status = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    match status.split_once(' ') {
        Some((version, rest)) if version.starts_with("HTTP/1.") && rest.starts_with('2') => Ok(()),
        Some((_, rest)) => Err(Cause::Proxy(rest.trim().to_owned())),
        None => Err(Cause::Proxy("the proxy does not answer in HTTP".into())),
    }
}
