//! TLS as an endpoint wants it: authorities, the client's certificate, or no verification at all; and its errors in words.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::tls::Trust;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::chain;
use crate::error::Cause;
use crate::{Error, Result};

/// The bytes of the files that TLS with one host needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Material {
    /// PEM files of authorities that are trusted besides the system's.
    pub(crate) authorities: Vec<(PathBuf, Vec<u8>)>,
    /// PEM of the client's certificate chain, and of its key.
    pub(crate) identity: Option<Identity>,
    /// Whether any certificate will do.
    pub(crate) trusts_anyone: bool,
}

/// A client certificate: the files, and what is in them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) certificate: (PathBuf, Vec<u8>),
    pub(crate) key: (PathBuf, Vec<u8>),
}

/// The key is not printed.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.certificate.0).finish()
    }
}

/// The system's authorities, read once.
#[derive(Clone)]
pub(crate) struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads the first of `files` that exists. A certificate in it that cannot be read is left out, as everywhere.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut store = RootCertStore::empty();
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => {
                    let found: Vec<_> =
                        CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
                    store.add_parsable_certificates(found);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(setting(file, error.to_string())),
            }
        }
        Ok(Self(Arc::new(store)))
    }
}

fn setting(file: &Path, reason: String) -> Error {
    Error::Settings { place: file.display().to_string(), reason }
}

/// The configuration of TLS with one host.
///
/// # Errors
/// `Settings` when a file has no certificate, or no key that fits.
pub(crate) fn client_config(roots: &Roots, material: &Material) -> Result<Arc<ClientConfig>> {
    let trust = if material.trusts_anyone {
        Trust::Anyone
    } else {
        Trust::Authorities(with_authorities(roots, material)?)
    };
    let place =
        material.identity.as_ref().map_or_else(|| Path::new("TLS"), |identity| &identity.certificate.0);
    let identity = match &material.identity {
        None => None,
        Some(identity) => {
            let (chain, key) = read_identity(identity)?;
            Some(::tls::Identity { chain, key })
        }
    };
    let config = ::tls::client_config(trust, identity).map_err(|error| setting(place, error.to_string()))?;
    Ok(Arc::new(config))
}

fn with_authorities(roots: &Roots, material: &Material) -> Result<Arc<RootCertStore>> {
    if material.authorities.is_empty() {
        return Ok(roots.0.clone());
    }
    let mut store = RootCertStore::clone(&roots.0);
    for (file, bytes) in &material.authorities {
        let found: Vec<_> = CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
        if store.add_parsable_certificates(found).0 == 0 {
            return Err(setting(file, "no certificate in PEM that can be used".into()));
        }
    }
    Ok(Arc::new(store))
}

fn read_identity(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let (file, bytes) = &identity.certificate;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
    if certificates.is_empty() {
        return Err(setting(file, "no certificate in PEM".into()));
    }
    let (file, bytes) = &identity.key;
    let key = PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|error| setting(file, format!("no private key in PEM: {error}")))?;
    Ok((certificates, key))
}

/// A failed handshake in the words of Go's library, where it has some.
pub(super) fn cause(error: &io::Error) -> Cause {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => Cause::PlainServer,
        Some(rustls::Error::InvalidCertificate(reason)) => {
            Cause::Tls(format!("failed to verify certificate: x509: {}", certificate_words(reason)))
        }
        Some(other) => Cause::Tls(other.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Cause::Broken("EOF".into()),
        None => Cause::Broken(chain(error)),
    }
}

fn certificate_words(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".into(),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            format!("certificate has expired or is not yet valid: {reason}")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("certificate is not valid for this name: {reason}")
        }
        other => other.to_string(),
    }
}
