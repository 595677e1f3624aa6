//! The user's credentials for registries, kept where Docker keeps them: `config.json`, or a program that it names.
//!
//! ```text
//! credHelpers[registry] ─► docker-credential-<name>
//! credsStore ───────────► docker-credential-<name>     for every other registry
//! auths[registry] ──────► base64 in config.json        when neither is set
//! ```

mod config_file;
mod program;

use api::registry::AuthConfig;
use serde_json::Value;

use crate::failure::Failure;
use crate::session::Session;
pub(crate) use config_file::ConfigFile;
use program::Helper;

/// The key of Docker Hub.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// The name of a registry as credentials are kept for it: `https://localhost:5000/v2/` becomes `localhost:5000`.
pub(crate) fn host_of(server: &str) -> &str {
    let bare = server.strip_prefix("http://").or_else(|| server.strip_prefix("https://")).unwrap_or(server);
    bare.split('/').next().unwrap_or(bare)
}

/// The program that keeps the credentials of a registry, if one does.
fn helper(config: &Value, registry: &str) -> Option<Helper> {
    let of_registry = config["credHelpers"][registry].as_str();
    let of_all = config["credsStore"].as_str();
    of_registry.or(of_all).filter(|name| !name.is_empty()).map(Helper::new)
}

/// The credentials for a registry; empty when there are none. What cannot be read is told, and is none.
pub(crate) fn look_up(session: &Session, registry: &str) -> AuthConfig {
    let found = match helper(session.config(), registry) {
        Some(helper) => helper.get(registry).unwrap_or_else(|failure| {
            crate::output::note(&format!("WARNING: {failure}"));
            None
        }),
        None => config_file::look_up(session.config(), registry),
    };
    let mut auth = found.unwrap_or_default();
    registry.clone_into(&mut auth.server_address);
    auth
}

/// Keeps credentials after a login; says where when that is a plain file.
pub(crate) fn save(session: &Session, registry: &str, auth: &AuthConfig) -> Result<Option<String>, Failure> {
    let file = ConfigFile::of(session)?;
    match helper(session.config(), registry) {
        Some(helper) => {
            helper.store(registry, auth)?;
            file.change(|config| config_file::set_entry(config, registry, serde_json::json!({})))?;
            Ok(None)
        }
        None => {
            file.change(|config| config_file::set_entry(config, registry, config_file::entry(auth)))?;
            Ok(Some(file.path().display().to_string()))
        }
    }
}

/// Forgets the credentials of a registry, under every form of its name.
pub(crate) fn erase(session: &Session, registry: &str) -> Result<(), Failure> {
    let mut names = vec![registry.to_owned()];
    if registry != HUB {
        names.extend([
            host_of(registry).to_owned(),
            format!("http://{registry}"),
            format!("https://{registry}"),
        ]);
    }
    for name in &names {
        if let Some(helper) = helper(session.config(), name) {
            helper.erase(name)?;
        }
    }
    ConfigFile::of(session)?.change(|config| config_file::remove_entries(config, &names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_known_by_its_host() {
        for (server, host) in [
            ("localhost:5000", "localhost:5000"),
            ("https://localhost:5000/v2/", "localhost:5000"),
            ("http://registry.example.com", "registry.example.com"),
        ] {
            assert_eq!(host_of(server), host);
        }
    }

    #[test]
    fn a_registry_s_own_helper_comes_first() {
        let config = serde_json::json!({ "credHelpers": { "gcr.io": "gcloud" }, "credsStore": "pass" });
        let name = |registry: &str| helper(&config, registry).map(|helper| helper.program().to_owned());
        assert_eq!(name("gcr.io").as_deref(), Some("docker-credential-gcloud"));
        assert_eq!(name("quay.io").as_deref(), Some("docker-credential-pass"));
        assert!(helper(&Value::Null, "quay.io").is_none());
    }
}
