//! `docker search`: the index that some registries keep (`GET /v1/search`, Docker Hub's above all).

use api::image::SearchResult;
use api::registry::AuthConfig;
use http::Method;
use oci::reference::DEFAULT_DOMAIN;
use serde::Deserialize;

use crate::auth::{self, Credentials};
use crate::client::Client;
use crate::endpoint::{Endpoint, HUB, Wanted};
use crate::problem::{Asked, check};
use crate::session::{Call, Target};
use crate::{Error, Result};

/// The host of docker.io's index.
const HUB_INDEX: &str = "index.docker.io";
/// The longest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 8 << 20;

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    results: Option<Vec<Row>>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    star_count: i64,
    #[serde(default)]
    is_official: bool,
    #[serde(default)]
    is_automated: bool,
}

impl Client {
    /// Searches the index of the registry in front of `term` (`localhost:5000/app`), else of docker.io, for at most `limit`
    /// repositories.
    ///
    /// # Errors
    /// `Settings` when the term cannot be one; `Transport` when the index cannot be asked; what it says.
    pub async fn search(&self, term: &str, limit: u32, auth: &AuthConfig) -> Result<Vec<SearchResult>> {
        let (domain, words) = split(term)?;
        let wanted = Wanted { domain, path: words, by_digest: false };
        let endpoints = self.endpoints(wanted).await?;
        let origin =
            endpoints.into_iter().find(|endpoint| endpoint.is_origin).ok_or_else(|| Error::Settings {
                place: domain.to_owned(),
                reason: "the settings put another registry in its place".to_owned(),
            })?;
        let host = if origin.host == HUB { HUB_INDEX.to_owned() } else { origin.host.clone() };
        let endpoint = Endpoint { host, base: "/v1".to_owned(), namespace: None, ..origin };
        let session = self.session(endpoint, Credentials::of(auth, domain))?;
        let query = auth::form(&[("q", words), ("n", &limit.to_string())]);
        let call = Call::new(Method::GET, Target::Base(format!("/search?{query}")), String::new());
        let answer =
            check(session.send(&call).await?, Asked::Push, session.authorizer.uses_tokens().await).await?;
        let url = crate::transport::shown(&answer.url);
        let bytes = answer.bytes(LARGEST_ANSWER).await?;
        let found: Found = serde_json::from_slice(&bytes).map_err(|error| Error::Protocol {
            url,
            reason: format!("the index answers something else: {error}"),
        })?;
        let rows = found.results.unwrap_or_default().into_iter();
        Ok(rows.take(usize::try_from(limit).unwrap_or(usize::MAX)).map(result).collect())
    }
}

fn result(row: Row) -> SearchResult {
    SearchResult {
        star_count: row.star_count,
        is_official: row.is_official,
        name: row.name,
        is_automated: row.is_automated,
        description: row.description.unwrap_or_default(),
    }
}

/// The registry and what to search there. Like Docker: the first component is a registry when it looks like a host.
fn split(term: &str) -> Result<(&str, &str)> {
    let refuse =
        |reason: &str| Err(Error::Settings { place: format!("{term:?}"), reason: reason.to_owned() });
    if term.contains("://") {
        return refuse("invalid repository name, must not contain a scheme");
    }
    let (domain, words) = match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => (DEFAULT_DOMAIN, term),
    };
    let domain = if domain == HUB_INDEX { DEFAULT_DOMAIN } else { domain };
    let words =
        if domain == DEFAULT_DOMAIN { words.strip_prefix("library/").unwrap_or(words) } else { words };
    if format!("https://{domain}/").parse::<http::Uri>().is_err()
        || domain.contains(['@', '?', '#'])
        || domain.contains("..")
    {
        return refuse("invalid registry name");
    }
    Ok((domain, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_may_name_its_registry() {
        assert_eq!(split("debian").expect("a term"), ("docker.io", "debian"));
        assert_eq!(split("library/debian").expect("a term"), ("docker.io", "debian"));
        assert_eq!(split("team/app").expect("a term"), ("docker.io", "team/app"));
        assert_eq!(split("index.docker.io/team/app").expect("a term"), ("docker.io", "team/app"));
        assert_eq!(split("localhost:5000/app").expect("a term"), ("localhost:5000", "app"));
        assert!(split("https://x/app").is_err());
        assert!(
            split("../../etc/x").is_err() || split("../../etc/x").is_ok_and(|(domain, _)| domain != "..")
        );
    }
}
