//! What a command works with: the program's name, the daemon it talks to, the user's settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{Address, ApiVersion, Client, TlsFiles};
use serde_json::Value;

use crate::context::{Chosen, Endpoint, Store, TlsWishes, Wishes, choose};
use crate::failure::Failure;
use crate::grammar::{Flag, Typed};
use crate::settings::{Settings, variable};
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
    Flag::switch("tls", "Use TLS; implied by --tlsverify"),
    Flag::text("tlscacert", "Trust certs signed only by this CA").shows("\"~/.docker/ca.pem\""),
    Flag::text("tlscert", "Path to TLS certificate file").shows("\"~/.docker/cert.pem\""),
    Flag::text("tlskey", "Path to TLS key file").shows("\"~/.docker/key.pem\""),
    Flag::switch("tlsverify", "Use TLS and verify the remote"),
    Flag::switch("version", "Print version information and quit").short('v'),
];

/// What a command works with.
pub(crate) struct Session {
    program: String,
    path: String,
    client: Arc<Client>,
    may_start: bool,
    wishes: Wishes,
    settings: Settings,
}

impl Session {
    /// Settles the daemon's address from flags, environment and contexts; connects to nothing yet. A command that works
    /// on contexts needs none that is right.
    pub(crate) fn open(program: &str, path: &str, global: &Typed) -> Result<Self, Failure> {
        let typed = |name: &str| Some(global.text(name).to_owned()).filter(|text| !text.is_empty());
        let settings = Settings::new(typed("config"));
        let wishes = Wishes {
            context_flag: typed("context"),
            host_flag: global.list("host").last().map(|host| (*host).to_owned()),
            host_variable: variable("DOCKER_HOST"),
            context_variable: variable("DOCKER_CONTEXT"),
            current: Some(settings.text("currentContext").to_owned()).filter(|name| !name.is_empty()),
        };
        let is_about_contexts = path.starts_with(&format!("{program} context "));
        let default = format!("unix://{DEFAULT_SOCKET}");
        let endpoint = if is_about_contexts {
            Endpoint { host: None, tls: None }
        } else {
            choose(&wishes)?.endpoint(settings.contexts().as_ref(), tls_wishes(global, &settings)).map_err(
                |failure| {
                    Failure::text(format!(
                        "Failed to initialize: unable to resolve docker endpoint: {failure}"
                    ))
                },
            )?
        };
        let address = endpoint.host.unwrap_or_else(|| default.clone());
        let may_start = address == default;
        let failed = |why: String| {
            Failure::text(format!("Failed to initialize: unable to resolve docker endpoint: {why}"))
        };
        let address =
            Address::parse(&address, endpoint.tls.is_some()).map_err(|error| failed(error.to_string()))?;
        let agent = format!("Docker-Client/{} (linux)", env!("CARGO_PKG_VERSION"));
        let is_tcp = matches!(address, Address::Tcp { .. });
        let mut client = match variable("DOCKER_API_VERSION") {
            Some(version) => Client::pinned(address, agent, pinned(&version)?),
            None => Client::new(address, agent),
        };
        if let Some(files) = endpoint.tls.filter(|_| is_tcp) {
            client = client.with_tls(&files).map_err(|error| failed(error.to_string()))?;
        }
        let (program, path) = (program.to_owned(), path.to_owned());
        Ok(Self { program, path, client: Arc::new(client), may_start, wishes, settings })
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

    /// The client of a daemon that takes connections. Starts one when the default socket has none and the user is root.
    pub(crate) async fn daemon(&self) -> Result<&Client, Failure> {
        match self.client.reach().await {
            Ok(()) => Ok(&self.client),
            Err(error) if error.is_unreachable() && self.may_start && spawn::is_possible() => {
                spawn::daemon(DEFAULT_SOCKET).await?;
                self.client.reach().await?;
                Ok(&self.client)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A setting of `config.json` that is a text; empty when it is not set.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.settings.text(name)
    }

    /// The directory of the user's settings.
    pub(crate) fn config_dir(&self) -> Option<&Path> {
        self.settings.directory()
    }

    /// The user's `config.json`; `null` when there is none.
    pub(crate) fn config(&self) -> &Value {
        self.settings.all()
    }

    /// Changes a text of `config.json`, or takes it out.
    pub(crate) fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), Failure> {
        self.settings.set(name, value)
    }

    /// The context that commands are for.
    pub(crate) fn context(&self) -> Result<Chosen, Failure> {
        choose(&self.wishes)
    }

    /// The address that the default context leads to, when flags or environment name one.
    pub(crate) fn default_host(&self) -> Option<String> {
        self.wishes.host_flag.clone().or_else(|| self.wishes.host_variable.clone())
    }

    /// Whether `DOCKER_HOST` keeps the context that was set from being used.
    pub(crate) fn is_overridden(&self) -> bool {
        self.wishes.host_variable.is_some() && self.wishes.context_flag.is_none()
    }

    /// Where contexts are kept.
    pub(crate) fn contexts(&self) -> Result<Store, Failure> {
        let none = || Failure::text("there is no directory for contexts: set HOME or DOCKER_CONFIG");
        self.settings.contexts().ok_or_else(none)
    }
}

/// What flags and environment say about certificates.
fn tls_wishes(global: &Typed, settings: &Settings) -> Option<TlsFiles> {
    let path =
        |name: &str| Some(PathBuf::from(global.text(name))).filter(|path| !path.as_os_str().is_empty());
    let verify = match global.given("tlsverify") {
        true => global.switch("tlsverify"),
        false => variable("DOCKER_TLS_VERIFY").is_some(),
    };
    let wishes = TlsWishes {
        // As Docker's client: to say anything about verification means TLS.
        tls: global.switch("tls") || global.given("tlsverify"),
        verify,
        ca: path("tlscacert"),
        cert: path("tlscert"),
        key: path("tlskey"),
    };
    let directory = variable("DOCKER_CERT_PATH").map(PathBuf::from);
    wishes.files(&directory.or_else(|| settings.directory().map(PathBuf::from)).unwrap_or_default())
}

fn pinned(text: &str) -> Result<ApiVersion, Failure> {
    text.parse().map_err(|error| Failure::text(format!("Failed to initialize: DOCKER_API_VERSION: {error}")))
}
