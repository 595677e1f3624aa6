//! Authorization of requests to one registry: challenges answered, tokens kept by scope.
//!
//! ```text
//! request ─► 401 with a challenge ─► Basic: name and secret
//!                                 └► Bearer: realm?service&scope ─► token, kept until it expires ─► request again
//! ```
//! A realm gets the user's credentials; the registry itself gets only the token. Nobody else gets either.

pub(crate) mod challenge;
mod credentials;
mod token;

use std::collections::HashMap;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Uri};
use tokio::sync::Mutex;

pub(crate) use challenge::{Bearer, Challenge};
pub(crate) use credentials::{Credentials, HUB_KEY, host_of};
pub(crate) use token::{Purpose, fetch, form};

use crate::follow::Follower;
use crate::{Error, Result};

/// The authorization of requests to one registry.
pub(crate) struct Authorizer {
    credentials: Credentials,
    learned: Mutex<Learned>,
}

#[derive(Default)]
struct Learned {
    challenge: Option<Challenge>,
    /// Tokens by the scope that was asked for.
    tokens: HashMap<String, Token>,
}

/// A token, and until when it is used.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) until: Instant,
    /// For `POST /auth`.
    pub(crate) refresh: Option<String>,
}

impl Authorizer {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, learned: Mutex::default() }
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The value of `Authorization` for a request to `url` that needs `scope`, as far as is known by now.
    ///
    /// # Errors
    /// When a token has to be renewed and the realm refuses.
    pub(crate) async fn header(
        &self,
        follower: &Follower<'_>,
        url: &Uri,
        scope: &str,
    ) -> Result<Option<HeaderValue>> {
        if let Credentials::Bearer(token) = &self.credentials {
            return secret(format!("Bearer {token}")).map(Some);
        }
        // Held while a token is fetched, so that parallel requests ask for it once.
        let mut learned = self.learned.lock().await;
        match learned.challenge.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => self.credentials.basic().map(secret).transpose(),
            Some(Challenge::Bearer(bearer)) => {
                let known = learned.tokens.get(scope).filter(|token| token.until > Instant::now());
                if let Some(token) = known {
                    return Ok(Some(token.header.clone()));
                }
                let scopes = union(scope, &bearer.scope);
                let token =
                    fetch(follower, url, &bearer, &scopes, &self.credentials, Purpose::Access).await?;
                learned.tokens.insert(scope.to_owned(), token.clone());
                Ok(Some(token.header))
            }
        }
    }

    /// Learns from a 401. Whether the request is worth repeating: not when the very same authorization was refused
    /// that would be sent again.
    pub(crate) async fn learn(
        &self,
        headers: &HeaderMap,
        refused: Option<&HeaderValue>,
        scope: &str,
    ) -> bool {
        let mut learned = self.learned.lock().await;
        if matches!(self.credentials, Credentials::Bearer(_)) {
            return false;
        }
        let Some(challenge) = challenge::choose(headers) else { return false };
        let is_basic = challenge == Challenge::Basic;
        learned.challenge = Some(challenge);
        if is_basic {
            return self.credentials.basic().is_some() && refused.is_none();
        }
        let known = learned.tokens.get(scope).map(|token| &token.header);
        if known.is_some() && known == refused {
            learned.tokens.remove(scope);
        }
        true
    }

    /// Keeps a token that was fetched elsewhere.
    pub(crate) async fn adopt(&self, scope: &str, token: Token) {
        self.learned.lock().await.tokens.insert(scope.to_owned(), token);
    }

    /// Whether name and secret are wanted and there are none.
    pub(crate) async fn lacks_password(&self) -> bool {
        let learned = self.learned.lock().await;
        learned.challenge == Some(Challenge::Basic) && self.credentials.basic().is_none()
    }

    /// Whether the registry works with tokens.
    pub(crate) async fn uses_tokens(&self) -> bool {
        let learned = self.learned.lock().await;
        matches!(learned.challenge, Some(Challenge::Bearer(_)))
    }

    /// The challenge that was met, if any.
    pub(crate) async fn challenge(&self) -> Option<Challenge> {
        self.learned.lock().await.challenge.clone()
    }
}

/// A header value that logs leave out.
pub(crate) fn secret(text: String) -> Result<HeaderValue> {
    let refuse = |_| Error::Unauthorized { message: "the credentials cannot be sent in a header".to_owned() };
    let mut value = HeaderValue::try_from(text).map_err(refuse)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Our scopes and those of the challenge, each once: behind some addresses a repository has another name.
fn union(ours: &str, theirs: &str) -> String {
    let mut scopes: Vec<&str> = Vec::new();
    for scope in ours.split(' ').chain(theirs.split(' ')).filter(|scope| !scope.is_empty()) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes.join(" ")
}
