//! Where messages go, read from an address in the form of a URL.

use std::path::PathBuf;

use crate::Error;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Datagrams to a port.
    Udp(String, u16),
    /// A connection.
    Tcp(String, u16),
    /// A connection with TLS.
    Tls(String, u16, Tls),
    /// A stream socket of this machine.
    Unix(PathBuf),
    /// A datagram socket of this machine.
    UnixDatagram(PathBuf),
}

/// Whom to trust, and who we are. Files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities; `None`: those of the system.
    pub authorities: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Any certificate will do.
    pub skip_verify: bool,
    /// The name that the certificate is for, when it is not the host's.
    pub server_name: Option<String>,
}

/// The parts of `scheme://host:port/path`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) scheme: &'a str,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
    /// Everything after host and port.
    pub(crate) path: &'a str,
}

/// Takes an address apart, with the refusals of Go's `url.Parse`.
pub(crate) fn parse(text: &str) -> Result<Address<'_>, Error> {
    let broken = |reason: String| Error::new(format!("parse {text:?}: {reason}"));
    let Some((scheme, rest)) = text.split_once("://") else {
        let reason = match text.split_once(':') {
            Some((first, _)) if !first.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                "first path segment in URL cannot contain colon"
            }
            _ => return Ok(Address { scheme: "", host: "", port: None, path: text }),
        };
        return Err(broken(reason.to_owned()));
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(|| broken("missing ']' in host".into()))?;
            (host, after)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) => match digits.parse() {
            Ok(port) => Some(port),
            Err(_) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(Error::new(format!("invalid port: {digits} is no port number")));
            }
            Err(_) => return Err(broken(format!("invalid port {port:?} after host"))),
        },
        None => return Err(broken(format!("invalid port {port:?} after host"))),
    };
    Ok(Address { scheme, host, port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let cases = [
            ("udp://a:1", "udp a Some(1) "),
            ("tcp://[::1]:5/x", "tcp ::1 Some(5) /x"),
            ("tcp://a", "tcp a None "),
            ("unix:///run/x", "unix  None /run/x"),
            ("plain", "  None plain"),
            ("1.2.3.4:514", "parse \"1.2.3.4:514\": first path segment in URL cannot contain colon"),
            ("tcp://a:b:c", "parse \"tcp://a:b:c\": invalid port \":b:c\" after host"),
            ("tcp://a:70000", "invalid port: 70000 is no port number"),
        ];
        for (text, expected) in cases {
            let shown = match parse(text) {
                Ok(Address { scheme, host, port, path }) => format!("{scheme} {host} {port:?} {path}"),
                Err(error) => error.0,
            };
            assert_eq!(shown, expected, "{text}");
        }
    }
}
