//! Where the daemon listens: the values of `-H`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The socket that clients look for.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The port of TCP without TLS.
const DEFAULT_PORT: u16 = 2375;
/// The port of TCP with TLS.
const TLS_PORT: u16 = 2376;

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:///path`.
    Unix(PathBuf),
    /// `tcp://address:port`.
    Tcp(SocketAddr),
    /// `fd://`: sockets that the service manager made; all of them when empty, else the one with this number or name.
    Inherited(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(address) => write!(f, "tcp://{address}"),
            Address::Inherited(which) => write!(f, "fd://{which}"),
        }
    }
}

impl Address {
    /// Reads a value of `-H`. The port that is meant when there is none depends on encryption.
    pub fn parse(text: &str, is_encrypted: bool) -> Result<Address, String> {
        let text = text.trim();
        let port = if is_encrypted { TLS_PORT } else { DEFAULT_PORT };
        match text.split_once("://") {
            _ if text.is_empty() => Ok(Address::Unix(DEFAULT_SOCKET.into())),
            Some(("unix", "")) => Ok(Address::Unix(DEFAULT_SOCKET.into())),
            Some(("unix", path)) if path.starts_with('/') => Ok(Address::Unix(path.into())),
            Some(("unix", path)) => Err(format!("invalid host {text:?}: the path {path:?} must be absolute")),
            Some(("tcp", address)) => tcp(address, text, port),
            Some(("fd", "" | "*")) => Ok(Address::Inherited(String::new())),
            Some(("fd", which)) => Ok(Address::Inherited(which.into())),
            Some((scheme, _)) => Err(format!(
                "invalid bind address ({text}): unsupported proto '{scheme}': use unix, tcp or fd"
            )),
            None => tcp(text, text, port),
        }
    }
}

fn tcp(address: &str, whole: &str, default_port: u16) -> Result<Address, String> {
    let invalid =
        || format!("invalid bind address ({whole}): must be an IP address and a port, tcp://127.0.0.1:2375");
    if address.is_empty() {
        return Ok(Address::Tcp((Ipv4Addr::LOCALHOST, default_port).into()));
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
    Ok(Address::Tcp((bare, default_port).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |text: &str, expected: &str| {
            let printed = match Address::parse(text, false) {
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
        check("fd://", "fd://");
        check("fd://*", "fd://");
        check("fd://berth.socket", "fd://berth.socket");
        assert_eq!(
            Address::parse("tcp://", true).map(|host| host.to_string()),
            Ok("tcp://127.0.0.1:2376".into())
        );
        check(
            "npipe://x",
            "invalid bind address (npipe://x): unsupported proto 'npipe': use unix, tcp or fd",
        );
        check(
            "tcp://example.com:1",
            "invalid bind address (tcp://example.com:1): must be an IP address and a port, tcp://127.0.0.1:2375",
        );
    }
}
