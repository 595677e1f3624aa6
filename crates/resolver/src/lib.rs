//! Host names without NSS: `/etc/hosts`, then the name servers of `/etc/resolv.conf` (RFC 1035, resolv.conf(5)).
//!
//! A static binary must not call getaddrinfo(3), which loads the host's own modules into it. Nothing is cached: like
//! glibc, and like the engines that ours stands in for, every lookup asks.

mod files;
#[cfg(test)]
mod fuzz;
mod message;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use files::Configuration;
use message::{Answer, Kind};

/// A host name without an address.
#[derive(Debug, Error)]
pub enum LookupError {
    /// A label is empty or longer than 63 bytes, or the name longer than 253.
    #[error("not a host name")]
    Name,
    /// No server has an address for the name.
    #[error("no such host")]
    NoSuchHost,
    /// No server answered, or none would say.
    #[error("no name server of /etc/resolv.conf answered: {0}")]
    Servers(io::Error),
}

/// The longest of the two files that is read, in bytes.
const LARGEST_FILE: u64 = 16 << 20;

/// The largest answer over UDP without extensions; what is longer comes over TCP.
const LARGEST_DATAGRAM: usize = 512;

/// The addresses of `host`, IPv4 first; at least one. An address in digits is its own answer.
///
/// # Errors
/// When the name is none, nobody knows it, or nobody answers.
pub async fn lookup(host: &str) -> Result<Vec<IpAddr>, LookupError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return Ok(vec![address]);
    }
    let known = files::in_hosts(&read(Path::new("/etc/hosts")), host);
    if !known.is_empty() {
        return Ok(known);
    }
    if is_localhost(host) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let configuration = Configuration::parse(&read(Path::new("/etc/resolv.conf")));
    search(&configuration, host).await
}

/// RFC 6761, section 6.3: `localhost` and what is below it never leaves the machine.
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// A file that is not there, or that is no file of ours to read, knows no names.
fn read(path: &Path) -> String {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text));
    if read.is_ok() { text } else { String::new() }
}

/// Tries the name in every form that the search list makes of it, and takes the first that has an address.
async fn search(configuration: &Configuration, host: &str) -> Result<Vec<IpAddr>, LookupError> {
    let mut failure = LookupError::NoSuchHost;
    for name in configuration.candidates(host) {
        let (old, new) =
            tokio::join!(ask(configuration, &name, Kind::A), ask(configuration, &name, Kind::Aaaa));
        let mut found = Vec::new();
        for answer in [old, new] {
            match answer {
                Ok(addresses) => found.extend(addresses),
                Err(error) => failure = error,
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(failure)
}

/// Asks the servers in turn, as often as resolv.conf says, until one answers the question.
async fn ask(configuration: &Configuration, name: &str, kind: Kind) -> Result<Vec<IpAddr>, LookupError> {
    let mut failure = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..configuration.attempts {
        for server in &configuration.servers {
            match timeout(configuration.patience, ask_one(*server, name, kind)).await {
                Ok(Ok(Answer::Addresses(addresses))) => return Ok(addresses),
                Ok(Ok(Answer::NoSuchName)) => return Ok(Vec::new()),
                Ok(Ok(Answer::Refused)) => failure = io::Error::other(format!("{server} refused to answer")),
                Ok(Ok(Answer::Truncated)) => failure = io::Error::other(format!("{server} cut its answer")),
                Ok(Err(AskError::Name)) => return Err(LookupError::Name),
                Ok(Err(AskError::Io(error))) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
    }
    Err(LookupError::Servers(failure))
}

enum AskError {
    Name,
    Io(io::Error),
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn ask_one(server: SocketAddr, name: &str, kind: Kind) -> Result<Answer, AskError> {
    let mut id = [0_u8; 2];
    linux::random_bytes(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    let id = u16::from_be_bytes(id);
    let query = message::question(id, name, kind).ok_or(AskError::Name)?;
    let answer = over_datagrams(server, &query, id, name, kind).await?;
    if answer == Answer::Truncated {
        return over_stream(server, &query, id, name, kind).await;
    }
    Ok(answer)
}

/// What is not an answer to the question is passed over: anybody may send to the port.
async fn over_datagrams(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    name: &str,
    kind: Kind,
) -> Result<Answer, AskError> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = [0_u8; LARGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = message::read(&buffer[..length], id, name, kind) {
            return Ok(answer);
        }
    }
}

/// Over TCP a message has its length in front (RFC 1035, section 4.2.2).
async fn over_stream(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    name: &str,
    kind: Kind,
) -> Result<Answer, AskError> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(|_| AskError::Name)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    let strange = || io::Error::new(io::ErrorKind::InvalidData, format!("{server} answered something else"));
    Ok(message::read(&message, id, name, kind).ok_or_else(strange)?)
}

#[cfg(test)]
mod tests;
