//! What a command works with: the program's name, the daemon it talks to, the user's settings.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{Address, ApiVersion, Client};
use serde_json::Value;

use crate::failure::Failure;
use crate::grammar::{Flag, Typed};
use crate::spawn;

/// Where the daemon listens when nobody says otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The flags before the command.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::text("config", "Location of client config files (default \"~/.docker\")"),
    Flag::text("context", "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")").short('c'),
    Flag::switch("debug", "Enable debug mode").short('D'),
    Flag::list("host", "Daemon socket to connect to").short('H'),
    Flag::text("log-level", "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")").short('l').default("info").shows("\"info\""),
    Flag::switch("version", "Print version information and quit").short('v'),
];

/// What a command works with.
pub(crate) struct Session {
    program: String,
    path: String,
    client: Arc<Client>,
    may_start: bool,
    config_dir: Option<PathBuf>,
    config: OnceCell<Value>,
}

impl Session {
    /// Settles the daemon's address from `-H`, `DOCKER_HOST` and the default; connects to nothing yet.
    pub(crate) fn open(program: &str, path: &str, global: &Typed) -> Result<Self, Failure> {
        let context = match global.text("context") {
            "" => variable("DOCKER_CONTEXT"),
            name => Some(name.to_owned()),
        };
        let typed = global.list("host").last().map(|host| (*host).to_owned());
        let named = typed.or_else(|| variable("DOCKER_HOST"));
        if let Some(context) = context.filter(|context| context != "default" && named.is_none()) {
            return Err(Failure::text(format!(
                "Failed to initialize: unable to resolve docker endpoint: context {context:?}: context not found: \
                 {program} knows the context \"default\" only; name the daemon with -H or DOCKER_HOST instead"
            )));
        }
        if variable("DOCKER_TLS_VERIFY").is_some() {
            return Err(Failure::text(
                "Failed to initialize: DOCKER_TLS_VERIFY is set, and this client does not speak TLS: \
                 unset it and use a unix socket",
            ));
        }
        let default = format!("unix://{DEFAULT_SOCKET}");
        let address = named.clone().unwrap_or_else(|| default.clone());
        let may_start = address == default;
        let address = Address::parse(&address).map_err(|error| {
            Failure::text(format!("Failed to initialize: unable to resolve docker endpoint: {error}"))
        })?;
        let agent = format!("Docker-Client/{} (linux)", env!("CARGO_PKG_VERSION"));
        let client = match variable("DOCKER_API_VERSION") {
            Some(version) => Client::pinned(address, agent, pinned(&version)?),
            None => Client::new(address, agent),
        };
        let config_dir = match global.text("config") {
            "" => variable("DOCKER_CONFIG").or_else(|| Some(format!("{}/.docker", variable("HOME")?))),
            path => Some(path.to_owned()),
        };
        Ok(Self {
            program: program.to_owned(),
            path: path.to_owned(),
            client: Arc::new(client),
            may_start,
            config_dir: config_dir.map(PathBuf::from),
            config: OnceCell::new(),
        })
    }

    /// `berth` or `docker`.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// The program and the command as they were called: `berth container run`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The client, whether or not its daemon is there.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The client for tasks of their own.
    pub(crate) fn shared_client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// The client of a daemon that answers. Starts one when the default socket has none and the user is root.
    pub(crate) async fn daemon(&self) -> Result<&Client, Failure> {
        match self.client.negotiate().await {
            Ok(_) => Ok(&self.client),
            Err(error) if error.is_unreachable() && self.may_start && spawn::is_possible() => {
                spawn::daemon(DEFAULT_SOCKET).await?;
                self.client.negotiate().await?;
                Ok(&self.client)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A setting of `config.json` that is a text; empty when it is not set.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.config()[name].as_str().unwrap_or_default()
    }

    /// The directory of the user's settings.
    pub(crate) fn config_dir(&self) -> Option<&Path> {
        self.config_dir.as_deref()
    }

    /// The user's `config.json`; `null` when there is none.
    pub(crate) fn config(&self) -> &Value {
        self.config.get_or_init(|| {
            let Some(path) = self.config_dir.as_ref().map(|dir| dir.join("config.json")) else {
                return Value::Null;
            };
            let Ok(bytes) = std::fs::read(&path) else { return Value::Null };
            serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                eprintln!("WARNING: Error loading config file: {}: {error}", path.display());
                Value::Null
            })
        })
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn pinned(text: &str) -> Result<ApiVersion, Failure> {
    text.parse().map_err(|error| Failure::text(format!("Failed to initialize: DOCKER_API_VERSION: {error}")))
}
