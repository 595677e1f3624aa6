//! What the host's files say about one registry. Reads files and asks for names; decides nothing.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::HUB;
use super::hosts_toml::HostsToml;
use super::registries_conf::RegistriesConf;
use crate::{Error, Result, Settings};

/// The longest configuration file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// Everything the choice of endpoints depends on, besides the settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// `hosts.toml` of the registry, or of `_default`, and the directory it lies in.
    pub(crate) hosts_toml: Option<(PathBuf, HostsToml)>,
    /// `registries.conf` with what its directory adds.
    pub(crate) registries_conf: RegistriesConf,
    /// The host's addresses; asked for only when a setting speaks of networks.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether certificates for the host lie in a directory of its own.
    pub(crate) has_certificates: bool,
}

/// Gathers the facts about the registry `domain` (`docker.io`, `localhost:5000`).
///
/// # Errors
/// `Settings` when a file is there and cannot be read or understood.
pub(crate) async fn gather(settings: &Settings, domain: &str) -> Result<Facts> {
    let host = if domain == oci::reference::DEFAULT_DOMAIN { HUB } else { domain };
    let mut facts = Facts::default();
    for name in [domain, host, "_default"] {
        if facts.hosts_toml.is_none() {
            facts.hosts_toml = hosts_toml(&settings.certs_dirs, name)?;
        }
    }
    facts.has_certificates = super::files::directory(&settings.certs_dirs, host)?.is_some();
    if let Some(file) = &settings.registries_conf {
        facts.registries_conf = registries_conf(file)?;
    }
    let bare = bare_host(host);
    let speaks_of_networks = settings.insecure.iter().any(|entry| entry.contains('/'));
    if speaks_of_networks && bare.parse::<IpAddr>().is_err() {
        // A name without an address is in no network; whoever connects reports it.
        facts.addresses = resolver::lookup(bare).await.unwrap_or_default();
    }
    Ok(facts)
}

/// A host without port and brackets.
pub(crate) fn bare_host(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

/// The names that a registry's directory may have: a colon is awkward in file names, so containerd has a second form.
pub(super) fn directory_names(host: &str) -> Vec<String> {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            vec![host.to_owned(), format!("{name}_{port}_")]
        }
        _ => vec![host.to_owned()],
    }
}

fn hosts_toml(directories: &[PathBuf], host: &str) -> Result<Option<(PathBuf, HostsToml)>> {
    for directory in directories {
        for name in directory_names(host) {
            let directory = directory.join(name);
            let file = directory.join("hosts.toml");
            if let Some(text) = read_text(&file)? {
                let parsed = HostsToml::parse(&text).map_err(|reason| setting(&file, reason))?;
                return Ok(Some((directory, parsed)));
            }
        }
    }
    Ok(None)
}

/// `registries.conf`, then the files of `registries.conf.d` in the order of their names.
fn registries_conf(file: &Path) -> Result<RegistriesConf> {
    let mut files = vec![file.to_owned()];
    let mut directory = file.as_os_str().to_owned();
    directory.push(".d");
    match std::fs::read_dir(PathBuf::from(directory)) {
        Ok(entries) => {
            let names = entries.collect::<io::Result<Vec<_>>>();
            let names = names.map_err(|error| setting(file, error.to_string()))?;
            let mut names: Vec<_> = names.into_iter().map(|entry| entry.path()).collect();
            names.retain(|name| name.extension().is_some_and(|end| end == "conf"));
            names.sort();
            files.extend(names);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(setting(file, error.to_string())),
    }
    let mut whole = RegistriesConf::default();
    for file in files {
        if let Some(text) = read_text(&file)? {
            let parsed = RegistriesConf::parse(&file, &text).map_err(|reason| setting(&file, reason))?;
            whole.add(parsed);
        }
    }
    Ok(whole)
}

/// A text file; `None` when it is not there.
fn read_text(file: &Path) -> Result<Option<String>> {
    use std::io::Read;
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(setting(file, error.to_string())),
    };
    let mut text = String::new();
    let read = opened.take(LARGEST_FILE + 1).read_to_string(&mut text);
    read.map_err(|error| setting(file, error.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LARGEST_FILE) {
        return Err(setting(file, format!("longer than {LARGEST_FILE} bytes")));
    }
    Ok(Some(text))
}

fn setting(file: &Path, reason: impl Into<String>) -> Error {
    Error::Settings { place: file.display().to_string(), reason: reason.into() }
}
