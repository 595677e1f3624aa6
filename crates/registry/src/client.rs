//! The client: settings and what is shared by everything that is asked of registries.

use std::sync::Arc;

use api::registry::AuthConfig;
use http::HeaderValue;
use oci::Reference;

use crate::auth::{Authorizer, Credentials};
use crate::endpoint::{self, Endpoint, Wanted};
use crate::repository::Repository;
use crate::session::{PlainHosts, Session};
use crate::transport::{Roots, Transport, client_config};
use crate::{Error, Result, Settings};

/// A client of registries. Cheap to clone; files about registries are read anew for each repository, as Docker does.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    user_agent: HeaderValue,
    roots: Roots,
    plain: Arc<PlainHosts>,
}

impl Client {
    /// A client with these settings; reads the system's authorities.
    ///
    /// # Errors
    /// `Settings` when the authorities cannot be read, or the user agent is no text for a header.
    pub fn new(settings: Settings) -> Result<Self> {
        let user_agent = HeaderValue::from_str(&settings.user_agent).map_err(|_| Error::Settings {
            place: "user agent".to_owned(),
            reason: "not a text for a header".to_owned(),
        })?;
        let roots = Roots::read(&settings.system_roots)?;
        Ok(Self { shared: Arc::new(Shared { settings, user_agent, roots, plain: Arc::default() }) })
    }

    /// What the client goes by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The repository of a reference, for as long as one operation (a pull, a push) takes: tokens, connections and the
    /// knowledge of mirrors that do not answer are kept in it. `auth` is shown to the registry itself, never to a mirror,
    /// and not at all when it is meant for another registry. Connects to nobody yet.
    ///
    /// # Errors
    /// `Blocked`, or `Settings` when a file about the registry cannot be used.
    pub async fn repository(&self, reference: &Reference, auth: &AuthConfig) -> Result<Repository> {
        let wanted = Wanted {
            domain: reference.domain(),
            path: reference.path(),
            by_digest: reference.digest().is_some(),
        };
        let endpoints = self.endpoints(wanted).await?;
        let credentials = Credentials::of(auth, reference.domain());
        let sessions = endpoints.into_iter().map(|endpoint| {
            let shown = if endpoint.is_origin { credentials.clone() } else { Credentials::Anonymous };
            self.session(endpoint, shown)
        });
        Ok(Repository::new(reference, sessions.collect::<Result<_>>()?))
    }

    pub(crate) async fn endpoints(&self, wanted: Wanted<'_>) -> Result<Vec<Endpoint>> {
        let settings = &self.shared.settings;
        let facts = endpoint::gather(settings, wanted.domain).await?;
        endpoint::plan(wanted, settings, &facts)
    }

    pub(crate) fn session(&self, endpoint: Endpoint, credentials: Credentials) -> Result<Session> {
        let Shared { settings, user_agent, roots, plain } = &*self.shared;
        let material = endpoint::material(&settings.certs_dirs, &endpoint.tls)?;
        let tls = client_config(roots, &material)?;
        let (proxies, patience) = (settings.proxies.clone(), settings.patience.clone());
        Ok(Session {
            endpoint,
            transport: Transport::new(tls, proxies, user_agent.clone(), patience),
            authorizer: Authorizer::new(credentials),
            plain: plain.clone(),
        })
    }
}
