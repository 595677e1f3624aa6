//! Where a daemon listens: `unix:///path`, `tcp://host:port`, `ssh://user@host`.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// The port that Docker gives an unencrypted TCP address without one.
const DEFAULT_PORT: u16 = 2375;
/// The port that Docker gives an encrypted TCP address without one.
const TLS_PORT: u16 = 2376;

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
    /// A daemon of another machine, reached by running ssh.
    Ssh(Ssh),
}

/// What ssh is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Who to be there; `None`: what ssh's own configuration says.
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The daemon's socket over there; `None`: its usual one.
    path: Option<String>,
}

/// An address that no client can connect to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// None of the schemes.
    #[error("invalid bind address format: {0}")]
    Format(String),
    /// A scheme that exists in Docker and that this client does not speak.
    #[error("unsupported protocol in {0}: use unix://, tcp:// or ssh://")]
    Unsupported(String),
    /// What ssh cannot be told.
    #[error("invalid SSH URL {0}: {1}")]
    Ssh(String, &'static str),
    /// The part after the colon is not a port.
    #[error("invalid bind address {0}: invalid port: {1}")]
    Port(String, String),
}

impl Address {
    /// Parses the value of `-H` or `DOCKER_HOST`; a text without a scheme is a TCP host, as in Docker.
    pub fn parse(text: &str, is_encrypted: bool) -> Result<Self, InvalidAddress> {
        let port = if is_encrypted { TLS_PORT } else { DEFAULT_PORT };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::tcp(text, text, port);
        };
        match scheme {
            "unix" if !rest.is_empty() => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Ok(Self::Unix(PathBuf::from("/var/run/docker.sock"))),
            "tcp" => Self::tcp(text, rest, port),
            "ssh" => Ssh::parse(text, rest).map(Self::Ssh),
            "npipe" | "fd" => Err(InvalidAddress::Unsupported(text.to_owned())),
            _ => Err(InvalidAddress::Format(text.to_owned())),
        }
    }

    fn tcp(text: &str, rest: &str, default_port: u16) -> Result<Self, InvalidAddress> {
        let rest = rest.split('/').next().unwrap_or_default();
        let port = |word: &str| {
            word.parse::<u16>().map_err(|_| InvalidAddress::Port(text.to_owned(), word.to_owned()))
        };
        let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
            match inner.split_once(']') {
                Some((host, "")) => (host, default_port),
                Some((host, tail)) if tail.starts_with(':') => (host, port(&tail[1..])?),
                _ => return Err(InvalidAddress::Format(text.to_owned())),
            }
        } else {
            match rest.rsplit_once(':') {
                Some((host, "")) => (host, default_port),
                Some((host, word)) => (host, port(word)?),
                None => (rest, default_port),
            }
        };
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Self::Tcp { host: host.to_owned(), port })
    }

    /// The value of the `Host` header: for a unix socket the name that Docker's client sends.
    pub(crate) fn host_header(&self) -> String {
        match self {
            Self::Unix(_) | Self::Ssh(_) => "api.moby.localhost".to_owned(),
            Self::Tcp { .. } => self.authority(),
        }
    }

    fn authority(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
            Self::Ssh(ssh) => {
                let user = ssh.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                let port = ssh.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{user}{}{port}{}", ssh.host, ssh.path.as_deref().unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self {
            Self::Unix(_) => "unix",
            Self::Tcp { .. } => "tcp",
            Self::Ssh(_) => "ssh",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Ssh {
    fn parse(text: &str, rest: &str) -> Result<Self, InvalidAddress> {
        let refused = |why| InvalidAddress::Ssh(text.to_owned(), why);
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(&rest[at..])),
            None => (rest, None),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err(refused("plain-text password is not supported"));
            }
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, word)) => {
                let invalid = |_| InvalidAddress::Port(text.to_owned(), word.to_owned());
                (host, Some(word.parse().map_err(invalid)?))
            }
            None => (place, None),
        };
        // A word that begins with a dash would be a flag to ssh.
        let words = [user.as_deref().unwrap_or("x"), host, path.unwrap_or("/")];
        if words.iter().any(|word| word.is_empty() || word.starts_with('-')) {
            return Err(refused("there must be a host, and no part may begin with a dash"));
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+@:".contains(letter);
        if path.is_some_and(|path| !path.chars().all(is_plain)) {
            return Err(refused(
                "a shell reads the path over there: it may hold letters, digits and /._-+@: only",
            ));
        }
        let path = path.filter(|path| *path != "/").map(str::to_owned);
        Ok(Self { user, host: host.to_owned(), port, path })
    }

    /// The words for ssh: where to go, and the relay to run there.
    pub(crate) fn command(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(user) = &self.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.extend(["--".to_owned(), self.host.clone(), "docker".to_owned()]);
        if let Some(path) = &self.path {
            words.extend(["--host".to_owned(), format!("unix://{path}")]);
        }
        words.extend(["system".to_owned(), "dial-stdio".to_owned()]);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match Address::parse(text, false) {
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
        check("npipe://a", "unsupported protocol in npipe://a: use unix://, tcp:// or ssh://");
        check("ssh://a", "ssh://a");
        check("ssh://me@a.b:22/run/x.sock", "ssh://me@a.b:22/run/x.sock");
        check("ssh://me:pw@a", "invalid SSH URL ssh://me:pw@a: plain-text password is not supported");
        let dashed = "there must be a host, and no part may begin with a dash";
        check("ssh://-oProxyCommand=x", &format!("invalid SSH URL ssh://-oProxyCommand=x: {dashed}"));
        check("ssh://", &format!("invalid SSH URL ssh://: {dashed}"));
        let encrypted = Address::parse("tcp://a", true).map(|address| address.to_string());
        assert_eq!(encrypted, Ok("tcp://a:2376".to_owned()));
    }

    #[test]
    fn ssh_is_told_where_to_go_and_what_to_run() {
        let check = |text: &str, expected: &str| match Address::parse(text, false) {
            Ok(Address::Ssh(ssh)) => assert_eq!(ssh.command().join(" "), expected),
            other => panic!("{text}: {other:?}"),
        };
        check("ssh://a", "-- a docker system dial-stdio");
        check("ssh://me@a:2", "-l me -p 2 -- a docker system dial-stdio");
        check("ssh://a/run/x.sock", "-- a docker --host unix:///run/x.sock system dial-stdio");
        assert!(Address::parse("ssh://a/$(reboot)", false).is_err());
    }
}
