//! How TCP is encrypted: dockerd's `--tls…` flags, and where their files are when nobody says.

use std::path::{Path, PathBuf};

use super::address::Address;
use super::settings::Settings;
use super::{ConfigError, Environment};

/// Certificates of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Clients must show a certificate that `ca` has signed.
    pub verify: bool,
    /// Whose certificates clients may have; PEM.
    pub ca: PathBuf,
    /// The daemon's own certificate and those that lead to its issuer; PEM.
    pub cert: PathBuf,
    /// The key of `cert`; PEM.
    pub key: PathBuf,
}

/// `None` without TLS. As with Docker's daemon, `--tls` alone verifies clients too, and `--tlsverify`, even `=false`,
/// means TLS.
pub(super) fn resolve(settings: &Settings, environment: &Environment) -> Result<Option<Tls>, ConfigError> {
    let verify = match settings.last("tlsverify") {
        Some(word) => Some(word == "true"),
        None => environment.tls_verify.then_some(true),
    };
    if verify.is_none() && !settings.is_on("tls") {
        return Ok(None);
    }
    if settings.last("tls") == Some("false") && settings.last("tlsverify") == Some("true") {
        return Err(ConfigError::Invalid(
            "--tls=false and --tlsverify contradict each other: leave one out".into(),
        ));
    }
    if settings.last("tls") == Some("false") {
        return Ok(None);
    }
    let file = |name: &str, usual: &str| match settings.last(name) {
        Some(path) if !path.is_empty() => Path::new(path).to_owned(),
        _ => environment.certificates.join(usual),
    };
    Ok(Some(Tls {
        verify: verify.unwrap_or(true),
        ca: file("tlscacert", "ca.pem"),
        cert: file("tlscert", "cert.pem"),
        key: file("tlskey", "key.pem"),
    }))
}

/// What the operator should know about open doors: a line for each.
pub(super) fn warnings(hosts: &[Address], tls: Option<&Tls>) -> Vec<String> {
    let warn = |host: &Address| match (host, tls) {
        (Address::Tcp(address), None) => Some(format!(
            "WARNING: API is accessible on http://{address} without encryption.\n         Whoever can connect there is root \
             on this machine: use --tlsverify, or a unix socket and SSH."
        )),
        (Address::Tcp(address), Some(tls)) if !tls.verify => Some(format!(
            "WARNING: API is accessible on https://{address} without TLS client verification.\n         Whoever can connect \
             there is root on this machine: use --tlsverify."
        )),
        _ => None,
    };
    hosts.iter().filter_map(warn).collect()
}
