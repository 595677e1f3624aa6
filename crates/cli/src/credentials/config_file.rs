//! `config.json`: the entries of `auths`, changed in place so that everything else in the file stays as it is.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use api::registry::{AuthConfig, base64_decode, base64_encode};
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use super::host_of;
use crate::failure::Failure;
use crate::session::Session;

/// The user's `config.json`.
pub(crate) struct ConfigFile {
    path: PathBuf,
}

impl ConfigFile {
    /// The file of this session; the file a link points at, so that the link stays.
    pub(crate) fn of(session: &Session) -> Result<Self, Failure> {
        let directory = session.config_dir().ok_or_else(|| {
            Failure::text("cannot keep credentials: set HOME or DOCKER_CONFIG to say where")
        })?;
        let path = directory.join("config.json");
        Ok(Self { path: std::fs::canonicalize(&path).unwrap_or(path) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file, changes it, and replaces it in one step. A file that is not JSON is left alone.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), Failure> {
        let show = self.path.display().to_string();
        let mut config = match std::fs::read(&self.path) {
            Ok(bytes) if bytes.is_empty() => Map::new(),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Failure::text(format!("{show} is not changed: it is no JSON object: {error}"))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(Failure::open(&show, &error)),
        };
        change(&mut config);
        self.replace(&config).map_err(|error| Failure::file("write", &show, &error))
    }

    fn replace(&self, config: &Map<String, Value>) -> std::io::Result<()> {
        let directory = self.path.parent().unwrap_or_else(|| Path::new("."));
        if !directory.exists() {
            let mut builder = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.recursive(true).create(directory)?;
        }
        let mut bytes = Vec::new();
        // With tabs, as Docker's client writes it.
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        config.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
        let partial = self.path.with_extension(format!("json{}", std::process::id()));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        let replaced = written.and_then(|()| std::fs::rename(&partial, &self.path));
        if replaced.is_err() {
            // The first failure is the one to tell.
            drop(std::fs::remove_file(&partial));
        }
        replaced
    }
}

/// The credentials of a registry in `auths`, by its name or by another form of the same host.
pub(super) fn look_up(config: &Value, registry: &str) -> Option<AuthConfig> {
    let auths = config["auths"].as_object()?;
    let same_host = || auths.iter().find(|(key, _)| host_of(key) == registry).map(|(_, entry)| entry);
    let entry = auths.get(registry).or_else(same_host)?;
    let mut auth: AuthConfig = api::json::from_value(entry).ok()?;
    if let Some(text) = base64_decode(&auth.auth).and_then(|bytes| String::from_utf8(bytes).ok())
        && let Some((user, password)) = text.split_once(':')
    {
        user.clone_into(&mut auth.username);
        password.trim_end_matches('\0').clone_into(&mut auth.password);
    }
    auth.auth = String::new();
    Some(auth)
}

/// Credentials as `auths` has them.
pub(super) fn entry(auth: &AuthConfig) -> Value {
    let pair = base64_encode(format!("{}:{}", auth.username, auth.password).as_bytes());
    match auth.identity_token.as_str() {
        "" => json!({ "auth": pair }),
        token => json!({ "auth": pair, "identitytoken": token }),
    }
}

/// Puts an entry into `auths`.
pub(super) fn set_entry(config: &mut Map<String, Value>, registry: &str, entry: Value) {
    let auths = config.entry("auths").or_insert_with(|| json!({}));
    if !auths.is_object() {
        *auths = json!({});
    }
    auths[registry] = entry;
}

/// Takes entries out of `auths`.
pub(super) fn remove_entries(config: &mut Map<String, Value>, registries: &[String]) {
    if let Some(auths) = config.get_mut("auths").and_then(Value::as_object_mut) {
        for registry in registries {
            // Without changing the order of the others.
            auths.shift_remove(registry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_host_and_written_as_docker_does() {
        let auth = AuthConfig { username: "me".into(), password: "a:b".into(), ..AuthConfig::default() };
        let mut config = serde_json::from_value(json!({ "HttpHeaders": {}, "auths": { "x": {} } })).unwrap();
        set_entry(&mut config, "localhost:5000", entry(&auth));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(text, r#"{"HttpHeaders":{},"auths":{"x":{},"localhost:5000":{"auth":"bWU6YTpi"}}}"#);
        let value = Value::Object(config.clone());
        assert_eq!(look_up(&value, "localhost:5000"), Some(auth.clone()));
        assert_eq!(look_up(&value, "other"), None);
        let by_url = json!({ "auths": { "https://localhost:5000/v1/": entry(&auth) } });
        assert_eq!(look_up(&by_url, "localhost:5000"), Some(auth));
        remove_entries(&mut config, &["localhost:5000".into()]);
        assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"HttpHeaders":{},"auths":{"x":{}}}"#);
    }

    #[test]
    fn an_identity_token_is_kept_without_a_password() {
        let auth =
            AuthConfig { username: "me".into(), identity_token: "token".into(), ..AuthConfig::default() };
        let config = json!({ "auths": { "r": entry(&auth) } });
        assert_eq!(config["auths"]["r"], json!({ "auth": "bWU6", "identitytoken": "token" }));
        assert_eq!(look_up(&config, "r"), Some(auth));
    }
}
