//! What is asked of registries beside pulls and pushes: log in, search, look.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use api::descriptor::Platform;
use api::filters::Filters;
use api::image::SearchResult;
use api::registry::{AuthConfig, AuthResponse, DistributionInspect, IndexInfo, ServiceConfig};
use oci::image::{Document, ImageConfig, media_type};
use oci::reference::AnyReference;
use registry::{Client, Proxies, Settings, Which};

use super::inspect::{api_descriptor, api_platform};
use crate::config::Config;
use crate::engine::Engine;
use crate::{Error, Kind, Result};

/// Bytes of a configuration.
const MAX_CONFIG: u64 = 8 << 20;
/// Results of a search when nobody says how many.
const SEARCH_RESULTS: i64 = 25;
/// The most that may be asked for.
const MOST_RESULTS: i64 = 100;

/// The client of registries that fits the configuration; made anew after a reload changed something about registries.
#[derive(Default)]
pub struct Registries(Mutex<Option<(Told, Client)>>);

/// The part of the configuration that the client depends on.
type Told = (Vec<String>, Vec<String>, crate::config::Proxies);

impl Registries {
    /// The client for a configuration.
    pub(crate) fn client(&self, config: &Config) -> Result<Client> {
        let told: Told =
            (config.registry_mirrors.clone(), config.insecure_registries.clone(), config.proxies.clone());
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, client)) = &*made
            && *last == told
        {
            return Ok(client.clone());
        }
        let proxies = Proxies::new(&told.2.http, &told.2.https, &told.2.except).map_err(remote_error)?;
        let settings =
            Settings { mirrors: told.0.clone(), insecure: told.1.clone(), proxies, ..Settings::default() };
        let client = Client::new(settings).map_err(remote_error)?;
        *made = Some((told, client.clone()));
        Ok(client)
    }
}

/// What the system information says about registries.
pub(crate) fn service_config(config: &Config) -> ServiceConfig {
    let index = |name: &str, secure, official, mirrors: &[String]| IndexInfo {
        name: name.to_owned(),
        mirrors: mirrors.to_vec(),
        secure,
        official,
    };
    let (networks, hosts): (Vec<_>, Vec<_>) =
        config.insecure_registries.iter().partition(|word| word.contains('/'));
    // With a slash at their ends, as Docker shows them.
    let shown = |mirror: &String| format!("{}/", mirror.trim_end_matches('/'));
    let mirrors: Vec<String> = config.registry_mirrors.iter().map(shown).collect();
    let mut indexes: BTreeMap<String, IndexInfo> =
        hosts.into_iter().map(|host| (host.clone(), index(host, false, false, &[]))).collect();
    indexes.insert("docker.io".to_owned(), index("docker.io", true, true, &mirrors));
    let loopback = ["::1/128", "127.0.0.0/8"].map(str::to_owned);
    ServiceConfig {
        insecure_registry_cidrs: loopback.into_iter().chain(networks.into_iter().cloned()).collect(),
        index_configs: indexes,
        mirrors: Some(mirrors).filter(|mirrors| !mirrors.is_empty()),
    }
}

/// A registry's error in the engine's kinds; the words are Docker's already.
pub(crate) fn remote_error(error: registry::Error) -> Error {
    let message = error.to_string();
    match error.kind() {
        registry::ErrorKind::NotFound => Error::not_found(message),
        registry::ErrorKind::Unauthorized => Error::unauthorized(message),
        registry::ErrorKind::Forbidden => Error::forbidden(message),
        registry::ErrorKind::InvalidParameter => Error::invalid(message),
        registry::ErrorKind::Unavailable | registry::ErrorKind::Corrupt => Error::system(message),
    }
}

/// A registry that wants other credentials is a failure like any other for a pull or a push: Docker's client would ask its
/// user for a password when it is told "unauthorized", and Docker's daemon does not say that here either.
pub(crate) fn without_prompt(error: Error) -> Error {
    if error.kind == Kind::Unauthorized { Error::system(error.message) } else { error }
}

/// Shows credentials to a registry.
///
/// # Errors
/// Unauthorized when it does not take them.
pub async fn login(engine: &Engine, auth: &AuthConfig) -> Result<AuthResponse> {
    engine.registries()?.login(auth).await.map_err(remote_error)
}

/// Searches an index of images.
///
/// # Errors
/// Invalid for a limit or a filter that cannot be; what the index says.
pub async fn search(
    engine: &Engine,
    term: &str,
    limit: Option<i64>,
    filters: &Filters,
    auth: &AuthConfig,
) -> Result<Vec<SearchResult>> {
    let bad = |error: api::filters::FilterError| Error::invalid(error.to_string());
    filters.validate(&["is-automated", "is-official", "stars"]).map_err(bad)?;
    let limit = match limit.unwrap_or(0) {
        0 => SEARCH_RESULTS,
        limit if (1..=MOST_RESULTS).contains(&limit) => limit,
        limit => {
            return Err(Error::invalid(format!("limit {limit} is outside the range of [1, {MOST_RESULTS}]")));
        }
    };
    let official = filters.bool_value("is-official").map_err(bad)?;
    let automated = filters.bool_value("is-automated").map_err(bad)?;
    let mut stars = 0;
    for text in filters.get("stars") {
        let least: i64 =
            text.parse().map_err(|_| Error::invalid(format!("invalid filter 'stars=[{text}]'")))?;
        stars = stars.max(least);
    }
    // Nothing is built automatically any more.
    if automated == Some(true) {
        return Ok(Vec::new());
    }
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let found = engine.registries()?.search(term, limit, auth).await.map_err(remote_error)?;
    let kept = |one: &SearchResult| {
        official.is_none_or(|official| one.is_official == official) && one.star_count >= stars
    };
    Ok(found.into_iter().filter(kept).collect())
}

/// What a registry has under a name.
///
/// # Errors
/// Invalid for what is no name; what the registry says.
pub async fn distribution(engine: &Engine, name: &str, auth: &AuthConfig) -> Result<DistributionInspect> {
    let reference = match AnyReference::parse(name) {
        Ok(AnyReference::Named(reference)) => reference,
        Ok(AnyReference::Digest(_)) => {
            return Err(Error::invalid(format!("unknown image reference format: {name}")));
        }
        Err(error) => return Err(Error::invalid(error.to_string())),
    };
    let remote = engine.registries()?.repository(&reference, auth).await.map_err(remote_error)?;
    let fetched = remote.manifest(&Which::of(&reference)).await.map_err(remote_error)?;
    let platforms = match fetched.document {
        Document::Index(index) => {
            index.manifests.iter().filter_map(|one| one.platform.as_ref()).map(api_platform).collect()
        }
        Document::Manifest(manifest) if media_type::is_config(&manifest.config.media_type) => {
            let bytes = remote.blob_bytes(&manifest.config, MAX_CONFIG).await.map_err(remote_error)?;
            // A configuration that cannot be read says nothing about platforms.
            let config = serde_json::from_slice::<ImageConfig>(&bytes).ok();
            config.map(|config| api_platform(&config.platform())).into_iter().collect::<Vec<Platform>>()
        }
        Document::Manifest(_) => Vec::new(),
    };
    Ok(DistributionInspect { descriptor: api_descriptor(&fetched.descriptor), platforms })
}
