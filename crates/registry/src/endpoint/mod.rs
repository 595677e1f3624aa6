//! Where the content of a reference may be had: the registry itself, and mirrors in front of it.
//!
//! ```text
//! gather (hosts.toml, registries.conf, names) ─► plan, pure ─► endpoints ─► load (certificates) ─► connections
//! ```

mod facts;
mod files;
pub(crate) mod hosts_toml;
mod plan;
pub(crate) mod registries_conf;

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

pub(crate) use facts::gather;
pub(crate) use files::material;
pub(crate) use plan::{Wanted, plan};

/// The host that serves the content of `docker.io`.
pub(crate) const HUB: &str = "registry-1.docker.io";

/// One host that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    /// Host and perhaps port.
    pub(crate) host: String,
    /// What stands before the repository's name: `/v2`, or what `override_path` of hosts.toml wants.
    pub(crate) base: String,
    /// The repository's name there.
    pub(crate) repository: String,
    pub(crate) can: Capabilities,
    pub(crate) tls: TlsFiles,
    /// Sent with every request to this host.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The registry that a mirror stands for, when the mirror is told so (`?ns=`).
    pub(crate) namespace: Option<String>,
    /// Whether this is the registry itself: it gets the user's credentials, pushes, and the last word.
    pub(crate) is_origin: bool,
}

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// TLS first, with any certificate; plain if the host cannot do it.
    HttpsThenHttp,
}

/// What a host may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Content by digest.
    pub(crate) pull: bool,
    /// Which digest a tag has.
    pub(crate) resolve: bool,
    /// Taking content.
    pub(crate) push: bool,
}

impl Capabilities {
    pub(crate) const ALL: Self = Self { pull: true, resolve: true, push: true };
    pub(crate) const MIRROR: Self = Self { pull: true, resolve: true, push: false };
}

/// Which files TLS with a host needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// Look for Docker's `*.crt`, `*.cert` and `*.key` in this host's directory.
    pub(crate) directory_of: Option<String>,
    /// Authorities.
    pub(crate) authorities: Vec<PathBuf>,
    /// Certificate, and key when it is in a file of its own; the first that there is.
    pub(crate) identities: Vec<(PathBuf, Option<PathBuf>)>,
    /// Whether any certificate will do.
    pub(crate) trusts_anyone: bool,
}

/// One line, for golden tests and logs.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
            Scheme::HttpsThenHttp => "https|http",
        };
        write!(f, "{scheme}://{}{}/{}", self.host, self.base, self.repository)?;
        let can = [(self.can.pull, "pull"), (self.can.resolve, "resolve"), (self.can.push, "push")];
        let can: Vec<_> = can.iter().filter(|(can, _)| *can).map(|(_, word)| *word).collect();
        write!(f, " {}", can.join(","))?;
        if let Some(namespace) = &self.namespace {
            write!(f, " ns={namespace}")?;
        }
        if self.is_origin {
            write!(f, " origin")?;
        }
        if self.tls.trusts_anyone {
            write!(f, " unverified")?;
        }
        if let Some(host) = &self.tls.directory_of {
            write!(f, " certs.d/{host}")?;
        }
        for file in &self.tls.authorities {
            write!(f, " ca={}", file.display())?;
        }
        for (certificate, key) in &self.tls.identities {
            write!(f, " client={}", certificate.display())?;
            if let Some(key) = key {
                write!(f, "+{}", key.display())?;
            }
        }
        for (name, _) in &self.headers {
            write!(f, " header={name}")?;
        }
        Ok(())
    }
}

/// Texts like `whole` with a few letters changed, for tests of readers: cuts at every place, and 2000 seeded changes.
#[cfg(test)]
pub(crate) fn changed(whole: &str) -> Vec<String> {
    const LETTERS: &[u8] = b"\"'[]{}=#,.*:/\\\n x0\0";
    let mut texts: Vec<String> = (0..whole.len()).map(|end| whole[..end].to_owned()).collect();
    let mut seed = 0x2545_f491_u32;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        usize::try_from(seed).unwrap_or(0) % below
    };
    for _ in 0..2000 {
        let mut bytes = whole.as_bytes().to_vec();
        for _ in 0..1 + random(4) {
            let at = random(bytes.len());
            bytes[at] = LETTERS[random(LETTERS.len())];
        }
        texts.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    texts
}
