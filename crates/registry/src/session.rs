//! Requests to one endpoint for one repository: authorized, tried again in passing trouble, in plain HTTP if need be.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri};

use crate::auth::Authorizer;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::Cause;
use crate::follow::{Follower, Hop, Payload, same_host};
use crate::problem;
use crate::transport::{Answer, Transport, failure};
use crate::{Error, Result};

/// The hosts that turned out to speak no TLS, for as long as the client lives.
#[derive(Debug, Default)]
pub(crate) struct PlainHosts(Mutex<HashSet<String>>);

impl PlainHosts {
    fn contains(&self, host: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    fn add(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }
}

/// One endpoint, its connections and its authorization.
pub(crate) struct Session {
    pub(crate) endpoint: Endpoint,
    pub(crate) transport: Arc<Transport>,
    pub(crate) authorizer: Authorizer,
    pub(crate) plain: Arc<PlainHosts>,
}

/// One request of the protocol.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// What a token has to allow, separated by blanks.
    pub(crate) scope: String,
    /// Whether a digest pins what is asked for.
    pub(crate) pinned: bool,
    /// Whether nothing of the user's is shown, whatever the registry asks for.
    pub(crate) is_anonymous: bool,
    /// Whether it may be sent again when the answer got lost: the registry then has the same as if it was sent once.
    pub(crate) is_repeatable: bool,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// Behind the endpoint's base: `/`.
    Base(String),
    /// Behind the repository's name: `/manifests/latest`.
    Repository(String),
    /// Where the registry said: the place of an upload, the next page of a list.
    Absolute(Uri),
}

impl Call {
    pub(crate) fn new(method: Method, target: Target, scope: String) -> Self {
        let (headers, payload) = (HeaderMap::new(), Payload::Empty);
        Self {
            method,
            target,
            headers,
            payload,
            scope,
            pinned: false,
            is_anonymous: false,
            is_repeatable: true,
        }
    }
}

impl Session {
    /// What a token has to allow for `actions` (`pull`, `pull,push`) in the repository.
    pub(crate) fn scope(&self, actions: &str) -> String {
        format!("repository:{}:{actions}", self.endpoint.repository)
    }

    /// Sends a request; any status but a challenge that can be answered is an answer.
    ///
    /// # Errors
    /// `Transport` without an answer; those of the token server.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer> {
        let patience = &self.transport.patience;
        let mut pause = patience.pause;
        let mut left = patience.retries;
        loop {
            let tried = self.send_once(call).await;
            let wait = match &tried {
                Ok(answer) if is_passing(answer.status, call) => Some(problem::wait(answer).unwrap_or(pause)),
                Err(error) if error.is_interruption() && call.is_repeatable => Some(pause),
                _ => None,
            };
            match wait {
                Some(wait) if left > 0 && wait <= patience.longest_pause => {
                    if let Ok(answer) = tried {
                        answer.discard().await;
                    }
                    tokio::time::sleep(wait.max(pause)).await;
                    pause = pause.saturating_mul(2).min(Duration::from_secs(60));
                    left -= 1;
                }
                _ => return tried,
            }
        }
    }

    /// One try, over TLS or in the clear as the endpoint has it.
    async fn send_once(&self, call: &Call) -> Result<Answer> {
        if let Target::Absolute(url) = &call.target {
            return self.authorized(call, url.clone()).await;
        }
        let host = &self.endpoint.host;
        let is_plain = match self.endpoint.scheme {
            Scheme::Https => false,
            Scheme::Http => true,
            Scheme::HttpsThenHttp => self.plain.contains(host),
        };
        let tried = self.authorized(call, self.url(is_plain, call)?).await;
        let speaks_no_tls =
            |cause: &Cause| matches!(cause, Cause::PlainServer | Cause::Tls(_) | Cause::Broken(_));
        match tried {
            Err(Error::Transport { cause, .. })
                if !is_plain && self.endpoint.scheme == Scheme::HttpsThenHttp && speaks_no_tls(&cause) =>
            {
                let answer = self.authorized(call, self.url(true, call)?).await?;
                self.plain.add(host);
                Ok(answer)
            }
            other => other,
        }
    }

    /// With the authorization that is known, and once more with the one that a challenge asks for.
    async fn authorized(&self, call: &Call, url: Uri) -> Result<Answer> {
        let follower = Follower { transport: &self.transport };
        let is_ours = self.is_own(&url);
        let may_authorize = is_ours && !call.is_anonymous;
        let mut may_learn = may_authorize;
        loop {
            let authorization = if may_authorize {
                self.authorizer.header(&follower, &url, &call.scope).await?
            } else {
                None
            };
            let hop = Hop {
                method: call.method.clone(),
                url: url.clone(),
                headers: call.headers.clone(),
                authorization: authorization.clone(),
                own: if is_ours { &self.endpoint.headers } else { &[] },
                payload: &call.payload,
                pinned: call.pinned,
            };
            let answer = follower.send(hop).await?;
            let is_challenge = answer.status == StatusCode::UNAUTHORIZED && same_host(&answer.url, &url);
            if !is_challenge || !may_learn {
                return Ok(answer);
            }
            may_learn = false;
            if !self.authorizer.learn(&answer.headers, authorization.as_ref(), &call.scope).await {
                if self.authorizer.lacks_password().await {
                    return Err(failure(&call.method, &url, Cause::NoCredentials));
                }
                return Ok(answer);
            }
            answer.discard().await;
        }
    }

    /// Whether a URL is on this endpoint's own host; elsewhere, nothing of the user's is shown.
    fn is_own(&self, url: &Uri) -> bool {
        let schemes: &[&str] = match self.endpoint.scheme {
            Scheme::Https => &["https"],
            Scheme::Http => &["http"],
            Scheme::HttpsThenHttp => &["https", "http"],
        };
        let host = &self.endpoint.host;
        schemes
            .iter()
            .any(|scheme| format!("{scheme}://{host}/").parse().is_ok_and(|own: Uri| same_host(&own, url)))
    }

    fn url(&self, is_plain: bool, call: &Call) -> Result<Uri> {
        let Endpoint { host, base, repository, namespace, .. } = &self.endpoint;
        let scheme = if is_plain { "http" } else { "https" };
        let path = match &call.target {
            Target::Base(path) => format!("{base}{path}"),
            Target::Repository(path) => format!("{base}/{repository}{path}"),
            Target::Absolute(url) => return Ok(url.clone()),
        };
        let joint = if path.contains('?') { '&' } else { '?' };
        let query = namespace.as_ref().map_or_else(String::new, |name| format!("{joint}ns={name}"));
        let text = format!("{scheme}://{host}{path}{query}");
        text.parse()
            .map_err(|_| Error::Settings { place: host.clone(), reason: format!("{text:?} is not a URL") })
    }
}

/// A status that passes.
fn is_passing(status: StatusCode, call: &Call) -> bool {
    call.is_repeatable && matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
