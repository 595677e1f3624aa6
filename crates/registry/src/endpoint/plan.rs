//! From a repository's name, the settings and the facts to the endpoints to ask, in order. Pure.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::Uri;
use oci::reference::DEFAULT_DOMAIN;

use super::facts::{Facts, bare_host};
use super::hosts_toml::HostEntry;
use super::registries_conf::{RegistryEntry, Serves};
use super::{Capabilities, Endpoint, HUB, Scheme, TlsFiles};
use crate::network::Network;
use crate::{Error, Result, Settings};

/// Whose content is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// `docker.io`, `localhost:5000`.
    pub(crate) domain: &'a str,
    /// `library/debian`.
    pub(crate) path: &'a str,
    /// Whether a digest was given: some mirrors serve only these, or only tags.
    pub(crate) by_digest: bool,
}

/// The endpoints for `wanted`, the preferred first; at least one.
///
/// ```text
/// registry-mirrors (docker.io only) ─► hosts.toml, or registries.conf ─► the registry itself
/// ```
///
/// # Errors
/// `Blocked` when registries.conf says so, `Settings` when an address in a setting is none.
pub(crate) fn plan(wanted: Wanted<'_>, settings: &Settings, facts: &Facts) -> Result<Vec<Endpoint>> {
    let name = format!("{}/{}", wanted.domain, wanted.path);
    let entry = facts.registries_conf.find(&name);
    if let Some(RegistryEntry { blocked: true, file, .. }) = entry {
        return Err(Error::Blocked { host: wanted.domain.to_owned(), file: file.clone() });
    }
    let planner = Planner { wanted, settings, facts };
    let mut endpoints = Vec::new();
    if wanted.domain == DEFAULT_DOMAIN {
        for mirror in &settings.mirrors {
            endpoints.push(planner.mirror(mirror)?);
        }
    }
    match (&facts.hosts_toml, entry) {
        (Some((directory, hosts)), _) => {
            let place = directory.join("hosts.toml");
            for host in &hosts.hosts {
                endpoints.push(planner.listed(host, directory, &place)?);
            }
            match &hosts.server {
                Some(server) => endpoints.push(planner.listed(server, directory, &place)?),
                None => endpoints.push(planner.origin()),
            }
        }
        (None, Some(entry)) => endpoints.extend(planner.podman(entry, &name)?),
        (None, None) => endpoints.push(planner.origin()),
    }
    Ok(endpoints)
}

struct Planner<'a> {
    wanted: Wanted<'a>,
    settings: &'a Settings,
    facts: &'a Facts,
}

impl Planner<'_> {
    fn origin_host(&self) -> &str {
        if self.wanted.domain == DEFAULT_DOMAIN { HUB } else { self.wanted.domain }
    }

    fn origin(&self) -> Endpoint {
        let host = self.origin_host();
        let is_insecure = self.is_insecure(host);
        Endpoint {
            scheme: if is_insecure { Scheme::HttpsThenHttp } else { Scheme::Https },
            is_origin: true,
            namespace: None,
            can: Capabilities::ALL,
            ..self.bare(host, self.wanted.path, is_insecure)
        }
    }

    fn bare(&self, host: &str, repository: &str, trusts_anyone: bool) -> Endpoint {
        Endpoint {
            scheme: Scheme::Https,
            host: host.to_owned(),
            base: "/v2".to_owned(),
            repository: repository.to_owned(),
            can: Capabilities::MIRROR,
            tls: TlsFiles { directory_of: Some(host.to_owned()), trusts_anyone, ..TlsFiles::default() },
            headers: Vec::new(),
            namespace: None,
            is_origin: false,
        }
    }

    /// One of `registry-mirrors`.
    fn mirror(&self, text: &str) -> Result<Endpoint> {
        let address = Address::parse(text).map_err(|reason| Error::Settings {
            place: "registry-mirrors".to_owned(),
            reason: format!("invalid mirror: {reason}"),
        })?;
        let is_insecure = self.is_insecure(&address.host);
        Ok(Endpoint {
            scheme: address.scheme,
            base: versioned(&address.path),
            namespace: Some(self.wanted.domain.to_owned()),
            ..self.bare(&address.host, self.wanted.path, is_insecure)
        })
    }

    /// A host of `hosts.toml`; relative paths start where the file lies.
    fn listed(&self, entry: &HostEntry, directory: &Path, place: &Path) -> Result<Endpoint> {
        let refuse = |reason| Error::Settings { place: place.display().to_string(), reason };
        let address = Address::parse(&entry.url).map_err(refuse)?;
        let absolute = |file: &PathBuf| directory.join(file);
        let is_origin = address.host == self.origin_host() || address.host == self.wanted.domain;
        let base = if entry.override_path { address.path.clone() } else { versioned(&address.path) };
        Ok(Endpoint {
            scheme: address.scheme,
            base,
            can: entry.can,
            tls: TlsFiles {
                directory_of: Some(address.host.clone()),
                authorities: entry.authorities.iter().map(absolute).collect(),
                identities: entry
                    .identities
                    .iter()
                    .map(|(certificate, key)| (absolute(certificate), key.as_ref().map(absolute)))
                    .collect(),
                trusts_anyone: entry.skip_verify || self.is_insecure(&address.host),
            },
            headers: entry.headers.clone(),
            namespace: (!is_origin).then(|| self.wanted.domain.to_owned()),
            is_origin,
            ..self.bare(&address.host, self.wanted.path, false)
        })
    }

    /// Mirrors and the rewritten location of `registries.conf`.
    fn podman(&self, entry: &RegistryEntry, name: &str) -> Result<Vec<Endpoint>> {
        let serves = |serves| match serves {
            Serves::All => true,
            Serves::DigestsOnly => self.wanted.by_digest,
            Serves::TagsOnly => !self.wanted.by_digest,
        };
        let mut endpoints = Vec::new();
        for mirror in entry.mirrors.iter().filter(|mirror| serves(mirror.serves)) {
            let target = entry.rewrite(&mirror.location, name);
            endpoints.push(self.located(&target, mirror.insecure, entry)?);
        }
        let target = entry.rewrite(&entry.location, name);
        let mut last = self.located(&target, entry.insecure, entry)?;
        last.can = Capabilities::ALL;
        last.is_origin = last.host == self.origin_host();
        endpoints.push(last);
        Ok(endpoints)
    }

    fn located(&self, target: &str, insecure: bool, entry: &RegistryEntry) -> Result<Endpoint> {
        let refuse = || Error::Settings {
            place: entry.file.display().to_string(),
            reason: format!("{target:?} is not a host with a repository behind it"),
        };
        let (host, repository) = target.split_once('/').ok_or_else(refuse)?;
        let host = if host == DEFAULT_DOMAIN { HUB } else { host };
        if repository.is_empty() || format!("https://{host}/v2/{repository}").parse::<Uri>().is_err() {
            return Err(refuse());
        }
        let is_insecure = insecure || self.is_insecure(host);
        Ok(Endpoint {
            scheme: if is_insecure { Scheme::HttpsThenHttp } else { Scheme::Https },
            ..self.bare(host, repository, is_insecure)
        })
    }

    /// Whether any certificate will do for a host, or none: it is listed, or lies in a listed network, or is this
    /// machine and nobody has put certificates for it in place.
    fn is_insecure(&self, host: &str) -> bool {
        let is_origin = host == self.origin_host();
        let bare = bare_host(host);
        let literal = bare.parse::<IpAddr>().ok();
        let addresses: &[IpAddr] = if is_origin { &self.facts.addresses } else { &[] };
        let listed = self.settings.insecure.iter().any(|entry| {
            let entry =
                entry.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/');
            match Network::parse(entry).filter(|_| entry.contains('/')) {
                Some(network) => addresses.iter().chain(&literal).any(|address| network.contains(*address)),
                None => entry.eq_ignore_ascii_case(host) || entry.eq_ignore_ascii_case(bare),
            }
        });
        let is_here = literal.map_or_else(
            || bare == "localhost" || bare.ends_with(".localhost"),
            |address| address.is_loopback(),
        );
        listed || (is_here && !(is_origin && self.facts.has_certificates))
    }
}

/// The parts of an address in a setting.
struct Address {
    scheme: Scheme,
    host: String,
    path: String,
}

impl Address {
    fn parse(text: &str) -> Result<Self, String> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| format!("{text:?} is not a URL"))?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            other => return Err(format!("unsupported scheme {:?} in {text:?}", other.unwrap_or_default())),
        };
        let authority = uri.authority().ok_or_else(|| format!("{text:?} has no host"))?;
        if authority.as_str().contains('@') {
            return Err("username/password not allowed in URI".to_owned());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(format!("query or fragment at the end of {text:?}"));
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, host: authority.as_str().to_owned(), path })
    }
}

/// A base path with the version of the protocol at its end.
fn versioned(path: &str) -> String {
    if path.ends_with("/v2") { path.to_owned() } else { format!("{path}/v2") }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
