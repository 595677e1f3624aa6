//! Host names without NSS: `/etc/hosts`, then the name servers of `/etc/resolv.conf` over UDP (RFC 1035).
//!
//! A static binary must not call getaddrinfo(3), which loads the host's own modules into it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// A host name without an address.
#[derive(Debug, Error)]
pub(crate) enum LookupError {
    /// A label is empty or longer than 63 bytes, or the name longer than 253.
    #[error("not a host name")]
    Name,
    /// No server has an address for the name.
    #[error("no such host")]
    NoSuchHost,
    /// No server answered.
    #[error("no name server of /etc/resolv.conf answered: {0}")]
    Servers(io::Error),
}

const A: u16 = 1;
const AAAA: u16 = 28;

/// How long one server is given, twice, as resolv.conf(5) has it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses of `host`, IPv4 first; at least one.
pub(crate) async fn lookup(host: &str) -> Result<Vec<IpAddr>, LookupError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let known = in_hosts(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), host);
    if !known.is_empty() {
        return Ok(known);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let servers = servers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let mut found = ask(&servers, host, A).await?;
    if found.is_empty() {
        found = ask(&servers, host, AAAA).await?;
    }
    if found.is_empty() { Err(LookupError::NoSuchHost) } else { Ok(found) }
}

fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

fn servers(text: &str) -> Vec<SocketAddr> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        Some(SocketAddr::new(words.next()?.parse().ok()?, 53))
    };
    let found: Vec<_> = text.lines().filter_map(line).take(3).collect();
    if found.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53)] } else { found }
}

async fn ask(servers: &[SocketAddr], host: &str, kind: u16) -> Result<Vec<IpAddr>, LookupError> {
    let mut failure = io::Error::from(io::ErrorKind::TimedOut);
    for server in servers.iter().chain(servers) {
        match timeout(PATIENCE, ask_one(*server, host, kind)).await {
            Ok(Ok(addresses)) => return Ok(addresses),
            Ok(Err(AskError::Name)) => return Err(LookupError::Name),
            Ok(Err(AskError::Io(error))) => failure = error,
            Err(_) => {}
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

async fn ask_one(server: SocketAddr, host: &str, kind: u16) -> Result<Vec<IpAddr>, AskError> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    // The kernel chose the port; together with it the id makes a forged answer from outside unlikely.
    let id = socket.local_addr()?.port() ^ 0x5aa5;
    let query = question(id, host, kind).ok_or(AskError::Name)?;
    socket.send(&query).await?;
    let mut buffer = [0_u8; 1500];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(addresses) = answers(&buffer[..length], id, kind) {
            return Ok(addresses);
        }
    }
}

/// A query message: header, one question. `None` when `host` is not a host name.
fn question(id: u16, host: &str, kind: u16) -> Option<Vec<u8>> {
    let host = host.trim_end_matches('.');
    if host.is_empty() || host.len() > 253 {
        return None;
    }
    let mut out = Vec::with_capacity(host.len() + 18);
    for word in [id, 0x0100, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for label in host.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&1_u16.to_be_bytes());
    Some(out)
}

/// The addresses in an answer; `None` when the message is not an answer to question `id`.
fn answers(message: &[u8], id: u16, kind: u16) -> Option<Vec<IpAddr>> {
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    if word(0)? != id || word(2)? & 0x8000 == 0 {
        return None;
    }
    let mut at = 12;
    for _ in 0..word(4)? {
        at = skip_name(message, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..word(6)? {
        at = skip_name(message, at)?;
        let (record, length) = (word(at)?, usize::from(word(at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if record != kind {
            continue;
        }
        if let Ok(bytes) = <[u8; 4]>::try_from(data) {
            found.push(IpAddr::from(bytes));
        } else if let Ok(bytes) = <[u8; 16]>::try_from(data) {
            found.push(IpAddr::from(bytes));
        }
    }
    Some(found)
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_the_hosts_file() {
        let text = "127.0.0.1 localhost\n10.0.0.1\tbox Box2 # third\n::1 box\nnot-an-address box\n";
        let ours = |list: Vec<IpAddr>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(ours(in_hosts(text, "BOX")), "10.0.0.1 ::1");
        assert_eq!(ours(in_hosts(text, "box2")), "10.0.0.1");
        assert_eq!(ours(in_hosts(text, "third")), "");
    }

    #[test]
    fn an_answer_is_read_and_a_lie_is_not_followed() {
        let mut message = question(7, "a.example", A).expect("a name");
        message[2] = 0x81;
        message[7] = 1;
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
        assert_eq!(answers(&message, 7, A), Some(vec![IpAddr::from([1, 2, 3, 4])]));
        assert_eq!(answers(&message, 8, A), None);
        for end in 0..message.len() {
            assert_eq!(answers(&message[..end], 7, A), None, "cut at {end}");
        }
    }

    #[test]
    fn a_name_that_does_not_fit_the_wire_is_refused() {
        assert_eq!(question(1, "a..b", A), None);
        assert_eq!(question(1, &"x".repeat(64), A), None);
        assert_eq!(question(1, &"x.".repeat(200), A), None);
        assert!(question(1, "a.b.", A).is_some());
    }
}
