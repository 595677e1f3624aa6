//! `POST /auth`: whether a registry takes a user's credentials.

use api::registry::{AuthConfig, AuthResponse};
use http::{Method, StatusCode};
use oci::reference::DEFAULT_DOMAIN;

use crate::auth::{Challenge, Credentials, HUB_KEY, Purpose, fetch, host_of};
use crate::client::Client;
use crate::endpoint::{Endpoint, HUB, Wanted};
use crate::follow::Follower;
use crate::problem::Problem;
use crate::session::{Call, Target};
use crate::transport::{Answer, shown};
use crate::{Error, Result};

impl Client {
    /// Shows credentials to the registry at `server_address` (docker.io when empty) and answers with Docker's words, and
    /// with a refresh token when the registry gives one out in place of the secret.
    ///
    /// # Errors
    /// `Unauthorized` or `LoginRefused` when it does not take them; `Transport` when it cannot be asked.
    pub async fn login(&self, auth: &AuthConfig) -> Result<AuthResponse> {
        let address = if auth.server_address.is_empty() { HUB_KEY } else { &auth.server_address };
        let host = host_of(address);
        let domain =
            if matches!(host.as_str(), "index.docker.io" | HUB) { DEFAULT_DOMAIN.to_owned() } else { host };
        let endpoint = self.origin(&domain).await?;
        let session = self.session(endpoint, Credentials::any(auth))?;
        let call = Call::new(Method::GET, Target::Base("/".to_owned()), String::new());
        // Without credentials first: only what the registry asks for is shown to it.
        let greeting = session.send(&Call { is_anonymous: true, ..call.clone() }).await?;
        session.authorizer.learn(&greeting.headers, None, "").await;
        let mut identity_token = String::new();
        match session.authorizer.challenge().await {
            Some(Challenge::Bearer(bearer)) => {
                let follower = Follower { transport: &session.transport };
                let credentials = session.authorizer.credentials();
                let token = fetch(&follower, &greeting.url, &bearer, "", credentials, Purpose::Login).await?;
                identity_token = token.refresh.clone().unwrap_or_default();
                session.authorizer.adopt("", token).await;
            }
            Some(Challenge::Basic) => {}
            None if greeting.status.is_success() => return Ok(succeeded(identity_token)),
            None => return Err(refused(greeting).await),
        }
        greeting.discard().await;
        let answer = session.send(&call).await?;
        if answer.status.is_success() {
            answer.discard().await;
            return Ok(succeeded(identity_token));
        }
        Err(refused(answer).await)
    }

    /// The registry itself, without the mirrors in front of it.
    async fn origin(&self, domain: &str) -> Result<Endpoint> {
        if format!("https://{domain}/v2/").parse::<http::Uri>().is_err()
            || domain.is_empty()
            || domain.contains("..")
            || domain.contains(['@', '?', '#'])
        {
            return Err(Error::Settings {
                place: domain.to_owned(),
                reason: "not a registry's address".to_owned(),
            });
        }
        let wanted = Wanted { domain, path: "", by_digest: false };
        let mut endpoints = self.endpoints(wanted).await?;
        let at = endpoints.iter().position(|endpoint| endpoint.is_origin);
        let none = || Error::Settings {
            place: domain.to_owned(),
            reason: "the settings put another registry in its place".to_owned(),
        };
        at.map(|at| endpoints.swap_remove(at)).ok_or_else(none)
    }
}

fn succeeded(identity_token: String) -> AuthResponse {
    AuthResponse { identity_token, status: "Login Succeeded".to_owned() }
}

/// A refusal in Docker's words.
async fn refused(answer: Answer) -> Error {
    let (url, status) = (shown(&answer.url), answer.status);
    if status == StatusCode::UNAUTHORIZED || status.is_server_error() {
        return Error::LoginRefused { url, status: status.to_string() };
    }
    Problem::read(answer).await.general()
}
