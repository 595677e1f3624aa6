//! Asking a realm for a token (distribution, "token authentication" and "OAuth2").

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use super::{Bearer, Credentials, Token, secret};
use crate::follow::{Follower, Hop, Payload};
use crate::problem::Problem;
use crate::transport::Answer;
use crate::{Error, Result};

/// Who the realm is told that we are; realms know Docker and refuse strangers.
const CLIENT_ID: &str = "docker";
/// The longest answer of a realm that is read, in bytes.
const LARGEST_ANSWER: u64 = 1 << 20;
/// A token is good for this long when the realm does not say, or says less (distribution, "token authentication").
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A token is renewed this long before its end.
const MARGIN: Duration = Duration::from_secs(10);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests.
    Access,
    /// `POST /auth`: a refresh token is wanted as well.
    Login,
}

#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Asks the realm of a challenge that `registry` (a URL) gave.
///
/// # Errors
/// `Unauthorized` when the realm does not like the credentials; `Protocol` when the realm is no place to send them to.
pub(crate) async fn fetch(
    follower: &Follower<'_>,
    registry: &Uri,
    bearer: &Bearer,
    scope: &str,
    credentials: &Credentials,
    purpose: Purpose,
) -> Result<Token> {
    let realm = realm(registry, bearer, credentials)?;
    let answer = match credentials {
        Credentials::Identity { token, .. } => {
            let grant = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
            post(follower, &realm, bearer, scope, &grant).await?
        }
        Credentials::Password { user, secret } => {
            let answer = get(follower, &realm, bearer, scope, credentials, purpose).await?;
            if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
                let offline = if purpose == Purpose::Login { "offline" } else { "online" };
                let grant = [
                    ("grant_type", "password"),
                    ("username", user),
                    ("password", secret),
                    ("access_type", offline),
                ];
                post(follower, &realm, bearer, scope, &grant).await?
            } else {
                answer
            }
        }
        Credentials::Anonymous | Credentials::Bearer(_) => {
            get(follower, &realm, bearer, scope, credentials, purpose).await?
        }
    };
    read(answer).await
}

/// The realm's address: never in the clear when the registry itself was reached over TLS and there is a secret to lose.
fn realm(registry: &Uri, bearer: &Bearer, credentials: &Credentials) -> Result<Uri> {
    let refuse = |reason: String| Error::Protocol { url: crate::transport::shown(registry), reason };
    let realm: Uri = bearer
        .realm
        .parse()
        .map_err(|_| refuse(format!("the realm {:?} of its challenge is not a URL", bearer.realm)))?;
    let has_user = realm.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match realm.scheme_str() {
        Some("https") if !has_user => Ok(realm),
        Some("http") if !has_user => {
            if registry.scheme_str() == Some("https") && !credentials.is_anonymous() {
                return Err(refuse(format!(
                    "it wants the credentials to be sent in the clear, to {}",
                    crate::transport::shown(&realm)
                )));
            }
            Ok(realm)
        }
        _ => Err(refuse(format!("the realm {:?} of its challenge is not an HTTP URL", bearer.realm))),
    }
}

async fn get(
    follower: &Follower<'_>,
    realm: &Uri,
    bearer: &Bearer,
    scope: &str,
    credentials: &Credentials,
    purpose: Purpose,
) -> Result<Answer> {
    let mut query = Vec::new();
    if let Credentials::Password { user, .. } = credentials {
        query.push(("account", user.as_str()));
    }
    if purpose == Purpose::Login {
        query.extend([("client_id", CLIENT_ID), ("offline_token", "true")]);
    }
    if !bearer.service.is_empty() {
        query.push(("service", &bearer.service));
    }
    query.extend(scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope)));
    let text = realm.to_string();
    let joint = if realm.query().is_none() { '?' } else { '&' };
    let url = if query.is_empty() { text } else { format!("{text}{joint}{}", form(&query)) };
    let url = url.parse().map_err(|_| Error::Protocol {
        url: crate::transport::shown(realm),
        reason: "the realm and the scope make no URL".to_owned(),
    })?;
    let authorization = credentials.basic().map(secret).transpose()?;
    send(follower, Method::GET, url, authorization, Payload::Empty).await
}

async fn post(
    follower: &Follower<'_>,
    realm: &Uri,
    bearer: &Bearer,
    scope: &str,
    grant: &[(&str, &str)],
) -> Result<Answer> {
    let mut members = grant.to_vec();
    members.extend([("service", bearer.service.as_str()), ("client_id", CLIENT_ID)]);
    if !scope.is_empty() {
        members.push(("scope", scope));
    }
    let body = Payload::Bytes(Bytes::from(form(&members)));
    send(follower, Method::POST, realm.clone(), None, body).await
}

async fn send(
    follower: &Follower<'_>,
    method: Method,
    url: Uri,
    authorization: Option<HeaderValue>,
    payload: Payload,
) -> Result<Answer> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if method == Method::POST {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    follower
        .send(Hop { method, url, headers, authorization, own: &[], payload: &payload, pinned: false })
        .await
}

async fn read(answer: Answer) -> Result<Token> {
    if answer.status == StatusCode::UNAUTHORIZED {
        let problem = Problem::read(answer).await;
        return Err(Error::Unauthorized { message: problem.or("incorrect username or password") });
    }
    if !answer.status.is_success() {
        return Err(Problem::read(answer).await.general());
    }
    let url = answer.url.clone();
    let strange =
        |reason: &str| Error::Protocol { url: crate::transport::shown(&url), reason: reason.to_owned() };
    let bytes = answer.bytes(LARGEST_ANSWER).await?;
    let read: Answered = serde_json::from_slice(&bytes)
        .map_err(|error| strange(&format!("the token is not JSON: {error}")))?;
    let text = read.token.into_iter().chain(read.access_token).find(|token| !token.is_empty());
    let text = text.ok_or_else(|| strange("authorization server did not include a token in the response"))?;
    let header =
        HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| strange("the token is not text"))?;
    let life = Duration::from_secs(read.expires_in.unwrap_or(0)).clamp(SHORTEST_LIFE, LONGEST_LIFE);
    let mut token = Token { header, until: Instant::now() + (life - MARGIN), refresh: read.refresh_token };
    token.header.set_sensitive(true);
    Ok(token)
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn form(members: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in members {
        if !text.is_empty() {
            text.push('&');
        }
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(
            form(&[("scope", "repository:a/b:pull,push"), ("x", "ä &")]),
            "scope=repository%3Aa%2Fb%3Apull%2Cpush&x=%C3%A4%20%26"
        );
    }

    #[test]
    fn a_secret_is_not_sent_in_the_clear_on_behalf_of_a_safe_registry() {
        let check = |registry: &str, realm_url: &str, with_secret: bool, allowed: bool| {
            let bearer = Bearer { realm: realm_url.into(), service: String::new(), scope: String::new() };
            let credentials = match with_secret {
                true => Credentials::Password { user: "u".into(), secret: "s".into() },
                false => Credentials::Anonymous,
            };
            let found = realm(&registry.parse().expect("a URL"), &bearer, &credentials);
            assert_eq!(found.is_ok(), allowed, "{registry} to {realm_url}");
        };
        check("https://r/v2/", "https://auth/token", true, true);
        check("https://r/v2/", "http://auth/token", true, false);
        check("https://r/v2/", "http://auth/token", false, true);
        check("http://r/v2/", "http://auth/token", true, true);
        check("https://r/v2/", "file:///etc/passwd", false, false);
        check("https://r/v2/", "https://u:p@auth/token", true, false);
        check("https://r/v2/", "/token", false, false);
    }
}
