//! TLS of the client: whom it trusts, and who it is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::tls::{Identity, Trust};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsConnector;

/// Where distributions keep the certificates that the whole system trusts.
const SYSTEM_ROOTS: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Certificates of a client; every file is PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate must be good, and made out to the name it is called by.
    pub verify: bool,
    /// Who may have signed the server's certificate; `None`: those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and its key; `None`: it has none.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Certificates that cannot be used.
#[derive(Debug, Error)]
pub enum InvalidTls {
    /// A file cannot be read.
    #[error("could not read {what} {path:?}: {source}")]
    Read {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path:?} does not hold a usable {what} in PEM form: {reason}")]
    Content {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl TlsFiles {
    /// What makes TLS of TCP connections.
    pub(crate) fn connector(&self) -> Result<TlsConnector, InvalidTls> {
        let ca = self.ca.as_deref().unwrap_or_else(|| system_roots());
        let trust = if self.verify {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("CA certificate", ca)? {
                roots.add(certificate).map_err(|error| bad("CA certificate", ca, error))?;
            }
            Trust::Authorities(Arc::new(roots))
        } else {
            Trust::Anyone
        };
        let identity = match &self.identity {
            None => None,
            Some((cert, key)) => {
                let chain = certificates("client certificate", cert)?;
                let text = read("client key", key)?;
                let key =
                    PrivateKeyDer::from_pem_slice(&text).map_err(|error| bad("client key", key, error))?;
                Some(Identity { chain, key })
            }
        };
        let own = self.identity.as_ref().map_or(ca, |(cert, _)| cert);
        let config = ::tls::client_config(trust, identity);
        let config = config.map_err(|error| bad("client certificate and key", own, error))?;
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn system_roots() -> &'static Path {
    let found = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    found.unwrap_or(Path::new(SYSTEM_ROOTS[0]))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let text = read(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| bad(what, path, error))?;
    if found.is_empty() { Err(bad(what, path, "there is none in it")) } else { Ok(found) }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, InvalidTls> {
    std::fs::read(path).map_err(|source| InvalidTls::Read { what, path: path.into(), source })
}

fn bad(what: &'static str, path: &Path, reason: impl std::fmt::Display) -> InvalidTls {
    InvalidTls::Content { what, path: path.into(), reason: reason.to_string() }
}
