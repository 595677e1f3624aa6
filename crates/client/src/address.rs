//! Where a daemon listens: `unix:///path`, `tcp://host:port`.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// The port that Docker gives an unencrypted TCP address without one.
const DEFAULT_PORT: u16 = 2375;

/// Where a daemon listens. Prints as the text it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix stream socket, by its path.
    Unix(PathBuf),
    /// A TCP host (a name or an address without brackets) and its port.
    Tcp {
        /// A host name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The TCP port.
        port: u16,
    },
}

/// An address that no client can connect to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// Neither `unix://` nor `tcp://`.
    #[error("invalid bind address format: {0}")]
    Format(String),
    /// A scheme that exists in Docker and that this client does not speak.
    #[error("unsupported protocol in {0}: use unix:// or tcp://")]
    Unsupported(String),
    /// The part after the colon is not a port.
    #[error("invalid bind address {0}: invalid port: {1}")]
    Port(String, String),
}

impl Address {
    /// Parses the value of `-H` or `DOCKER_HOST`; a text without a scheme is a TCP host, as in Docker.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::tcp(text, text);
        };
        match scheme {
            "unix" if !rest.is_empty() => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Ok(Self::Unix(PathBuf::from("/var/run/docker.sock"))),
            "tcp" => Self::tcp(text, rest),
            "ssh" | "npipe" | "fd" => Err(InvalidAddress::Unsupported(text.to_owned())),
            _ => Err(InvalidAddress::Format(text.to_owned())),
        }
    }

    fn tcp(text: &str, rest: &str) -> Result<Self, InvalidAddress> {
        let rest = rest.split('/').next().unwrap_or_default();
        let port = |word: &str| {
            word.parse::<u16>().map_err(|_| InvalidAddress::Port(text.to_owned(), word.to_owned()))
        };
        let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
            match inner.split_once(']') {
                Some((host, "")) => (host, DEFAULT_PORT),
                Some((host, tail)) if tail.starts_with(':') => (host, port(&tail[1..])?),
                _ => return Err(InvalidAddress::Format(text.to_owned())),
            }
        } else {
            match rest.rsplit_once(':') {
                Some((host, "")) => (host, DEFAULT_PORT),
                Some((host, word)) => (host, port(word)?),
                None => (rest, DEFAULT_PORT),
            }
        };
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Self::Tcp { host: host.to_owned(), port })
    }

    /// The value of the `Host` header: for a unix socket the name that Docker's client sends.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Self::Unix(_) => "api.moby.localhost".to_owned(),
            Self::Tcp { .. } => self.authority(),
        }
    }

    fn authority(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if matches!(self, Self::Unix(_)) { "unix" } else { "tcp" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match Address::parse(text) {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn an_address_is_a_socket_path_or_a_host_and_port() {
        check("unix:///run/x.sock", "unix:///run/x.sock");
        check("unix://", "unix:///var/run/docker.sock");
        check("tcp://1.2.3.4:2376", "tcp://1.2.3.4:2376");
        check("tcp://host", "tcp://host:2375");
        check("tcp://:4243", "tcp://127.0.0.1:4243");
        check("tcp://[::1]:5", "tcp://[::1]:5");
        check("tcp://[fe80::1]", "tcp://[fe80::1]:2375");
        check("foo", "tcp://foo:2375");
        check("http://a", "invalid bind address format: http://a");
        check("tcp://a:b", "invalid bind address tcp://a:b: invalid port: b");
        check("ssh://a", "unsupported protocol in ssh://a: use unix:// or tcp://");
    }
}
