//! TLS of the server: its certificate, and whose clients it lets in.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

/// Files with certificates, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files<'a> {
    /// The server's certificate, and those that lead to its issuer.
    pub cert: &'a Path,
    /// The key of the certificate.
    pub key: &'a Path,
    /// Clients must have a certificate that one of these has signed; `None`: anybody may come.
    pub clients: Option<&'a Path>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("could not read the {what} for TLS ({path}): {error}: name it with --{flag}")]
    Read {
        /// What the file holds.
        what: &'static str,
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What came of it.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("the file {path} does not hold a usable {what} for TLS in PEM form: {reason}")]
    Content {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What makes TLS of connections. HTTP/2 is offered besides HTTP/1.1.
pub fn acceptor(files: &Files<'_>) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates("certificate", "tlscert", files.cert)?;
    let key_text = read("key", "tlskey", files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&key_text).map_err(|error| bad("key", files.key, error))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("certificate", files.cert, error))?;
    let builder = match files.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let what = "CA certificate";
            let mut roots = RootCertStore::empty();
            for certificate in certificates(what, "tlscacert", path)? {
                roots.add(certificate).map_err(|error| bad(what, path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| bad(what, path, error))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| bad("certificate and key", files.cert, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(
    what: &'static str,
    flag: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(what, flag, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| bad(what, path, error))?;
    if found.is_empty() { Err(bad(what, path, "there is none in it")) } else { Ok(found) }
}

fn read(what: &'static str, flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read { what, flag, path: path.into(), error })
}

fn bad(what: &'static str, path: &Path, reason: impl std::fmt::Display) -> TlsError {
    TlsError::Content { what, path: path.into(), reason: reason.to_string() }
}
