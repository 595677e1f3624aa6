//! What a user shows to a registry, from `X-Registry-Auth` (Engine API, `AuthConfig`).

use api::registry::AuthConfig;
use oci::reference::DEFAULT_DOMAIN;

/// Docker's name for docker.io where credentials are kept.
pub(crate) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a user shows to a registry. Secrets are not printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// Name and secret.
    Password { user: String, secret: String },
    /// A refresh token of the registry's token server (`identitytoken`).
    Identity { user: String, token: String },
    /// A token for the registry itself (`registrytoken`).
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => write!(f, "Anonymous"),
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::Identity { .. } => write!(f, "Identity"),
            Self::Bearer(_) => write!(f, "Bearer"),
        }
    }
}

impl Credentials {
    /// The credentials in `auth` that are meant for the registry `domain`. Those for another registry are none: a client
    /// that sends the wrong ones must not give them away.
    pub(crate) fn of(auth: &AuthConfig, domain: &str) -> Self {
        let server = host_of(&auth.server_address);
        if !server.is_empty() && !same_registry(&server, domain) {
            return Self::Anonymous;
        }
        Self::any(auth)
    }

    /// The credentials in `auth`, whoever they are for.
    pub(crate) fn any(auth: &AuthConfig) -> Self {
        if !auth.registry_token.is_empty() {
            return Self::Bearer(auth.registry_token.clone());
        }
        if !auth.identity_token.is_empty() {
            return Self::Identity { user: auth.username.clone(), token: auth.identity_token.clone() };
        }
        if !auth.username.is_empty() || !auth.password.is_empty() {
            // A credential store says "<token>" for the name when the secret is a refresh token.
            if auth.username == "<token>" {
                return Self::Identity { user: String::new(), token: auth.password.clone() };
            }
            return Self::Password { user: auth.username.clone(), secret: auth.password.clone() };
        }
        let decoded =
            api::registry::base64_decode(&auth.auth).and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((user, secret)) if !user.is_empty() => {
                Self::Password { user: user.to_owned(), secret: secret.trim_end_matches('\0').to_owned() }
            }
            _ => Self::Anonymous,
        }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        *self == Self::Anonymous
    }

    /// The value of `Authorization` for name and secret.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, secret } => {
                Some(format!("Basic {}", api::registry::base64_encode(format!("{user}:{secret}").as_bytes())))
            }
            _ => None,
        }
    }
}

/// The host of a server address, which may be a URL.
pub(crate) fn host_of(address: &str) -> String {
    let bare = address.trim_start_matches("https://").trim_start_matches("http://");
    bare.split('/').next().unwrap_or_default().to_ascii_lowercase()
}

fn same_registry(server: &str, domain: &str) -> bool {
    let is_hub = |host: &str| matches!(host, DEFAULT_DOMAIN | "index.docker.io" | crate::endpoint::HUB);
    server == domain.to_ascii_lowercase() || (is_hub(server) && is_hub(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(server: &str) -> AuthConfig {
        AuthConfig {
            username: "me".into(),
            password: "secret".into(),
            server_address: server.into(),
            ..AuthConfig::default()
        }
    }

    #[test]
    fn credentials_are_for_the_registry_that_they_name() {
        let check = |server: &str, domain: &str, meant: bool| {
            assert_eq!(
                !Credentials::of(&auth(server), domain).is_anonymous(),
                meant,
                "{server} for {domain}"
            );
        };
        check("", "a.example", true);
        check(HUB_KEY, "docker.io", true);
        check("docker.io", "docker.io", true);
        check("https://A.example/v2/", "a.example", true);
        check("a.example:5000", "a.example:5000", true);
        check("a.example:5000", "a.example", false);
        check("a.example", "docker.io", false);
        check(HUB_KEY, "a.example", false);
    }

    #[test]
    fn every_form_of_credentials_is_read() {
        let read = |auth: AuthConfig| Credentials::any(&auth);
        let pair = AuthConfig { auth: api::registry::base64_encode(b"me:a:b"), ..AuthConfig::default() };
        assert_eq!(read(pair), Credentials::Password { user: "me".into(), secret: "a:b".into() });
        let identity = AuthConfig { identity_token: "t".into(), ..auth("") };
        assert_eq!(read(identity), Credentials::Identity { user: "me".into(), token: "t".into() });
        let bearer = AuthConfig { registry_token: "r".into(), ..AuthConfig::default() };
        assert_eq!(read(bearer), Credentials::Bearer("r".into()));
        assert_eq!(read(AuthConfig::default()), Credentials::Anonymous);
        assert!(!format!("{:?}", Credentials::any(&auth(""))).contains("secret"));
    }
}
