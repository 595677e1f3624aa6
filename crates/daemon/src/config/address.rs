//! Where the daemon listens: the values of `-H`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The socket that clients look for.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The port of TCP without TLS.
const DEFAULT_PORT: u16 = 2375;

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:///path`.
    Unix(PathBuf),
    /// `tcp://address:port`.
    Tcp(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl std::str::FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Address, String> {
        let text = text.trim();
        match text.split_once("://") {
            _ if text.is_empty() => Ok(Address::Unix(DEFAULT_SOCKET.into())),
            Some(("unix", "")) => Ok(Address::Unix(DEFAULT_SOCKET.into())),
            Some(("unix", path)) if path.starts_with('/') => Ok(Address::Unix(path.into())),
            Some(("unix", path)) => Err(format!("invalid host {text:?}: the path {path:?} must be absolute")),
            Some(("tcp", address)) => tcp(address, text),
            Some(("fd", _)) => {
                Err(format!("{text:?}: sockets handed over by systemd are not implemented yet"))
            }
            Some((scheme, _)) => {
                Err(format!("invalid bind address ({text}): unsupported proto '{scheme}': use unix or tcp"))
            }
            None => tcp(text, text),
        }
    }
}

fn tcp(address: &str, whole: &str) -> Result<Address, String> {
    let invalid =
        || format!("invalid bind address ({whole}): must be an IP address and a port, tcp://127.0.0.1:2375");
    if address.is_empty() {
        return Ok(Address::Tcp((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()));
    }
    let address = address.replacen("localhost", "127.0.0.1", 1);
    if let Ok(address) = address.parse() {
        return Ok(Address::Tcp(address));
    }
    if let Some(port) = address.strip_prefix(':') {
        let port = port.parse().map_err(|_| invalid())?;
        return Ok(Address::Tcp((Ipv4Addr::LOCALHOST, port).into()));
    }
    let bare: IpAddr = address.trim_matches(['[', ']']).parse().map_err(|_| invalid())?;
    Ok(Address::Tcp((bare, DEFAULT_PORT).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |text: &str, expected: &str| {
            let printed = match text.parse::<Address>() {
                Ok(address) => address.to_string(),
                Err(message) => message,
            };
            assert_eq!(printed, expected, "{text}");
        };
        check("unix:///run/a.sock", "unix:///run/a.sock");
        check("unix://", "unix:///var/run/docker.sock");
        check("unix://a.sock", "invalid host \"unix://a.sock\": the path \"a.sock\" must be absolute");
        check("tcp://0.0.0.0:2376", "tcp://0.0.0.0:2376");
        check("tcp://", "tcp://127.0.0.1:2375");
        check("tcp://:80", "tcp://127.0.0.1:80");
        check("127.0.0.1", "tcp://127.0.0.1:2375");
        check("tcp://[::1]:9", "tcp://[::1]:9");
        check("tcp://localhost:9", "tcp://127.0.0.1:9");
        check("fd://", "\"fd://\": sockets handed over by systemd are not implemented yet");
        check("npipe://x", "invalid bind address (npipe://x): unsupported proto 'npipe': use unix or tcp");
        check(
            "tcp://example.com:1",
            "invalid bind address (tcp://example.com:1): must be an IP address and a port, tcp://127.0.0.1:2375",
        );
    }
}
