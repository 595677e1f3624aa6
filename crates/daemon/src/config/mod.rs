//! The daemon's configuration: dockerd's flags and `daemon.json`, from what was written to what is meant.
//!
//! ```text
//! argv ──[command_line]──┐
//!                        ├─[merge: unknown key, said twice]──> Settings ──[resolve]──> Config
//! daemon.json ──[file]───┘
//! ```
//!
//! A flag that dockerd has and this daemon does not implement is refused with a reason, unless there is nothing here that it could
//! change.

pub mod address;
mod checks;
pub mod command_line;
mod engine_part;
pub mod file;
pub mod flags;
#[cfg(test)]
mod flags_tests;
#[cfg(test)]
mod fuzz;
mod network_part;
pub mod reload;
pub mod resolve;
mod runtimes_part;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod tls;
mod words;

pub use resolve::Config;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The command line is not one of ours.
    #[error("{0}\nSee 'berth daemon --help'.")]
    Usage(String),
    /// The file is not one of ours.
    #[error("unable to configure the daemon with file {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value means nothing, or what it means is not possible.
    #[error("{0}")]
    Invalid(String),
}

/// What the environment says; read once, by whoever has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `DOCKER_MIN_API_VERSION`.
    pub min_api_version: Option<String>,
    /// `DOCKER_TLS_VERIFY` has a value.
    pub tls_verify: bool,
    /// Where certificates are when no flag says: `DOCKER_CERT_PATH`, `DOCKER_CONFIG`, or `~/.docker`.
    pub certificates: std::path::PathBuf,
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, or their forms in small letters.
    pub proxies: engine::Proxies,
    /// The path in `DBUS_SYSTEM_BUS_ADDRESS`, where it is one of a socket.
    pub system_bus: Option<std::path::PathBuf>,
}

impl Environment {
    /// From the variables of a process.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Environment {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let proxy =
            |name: &str| variable(name).or_else(|| variable(&name.to_ascii_lowercase())).unwrap_or_default();
        let home = || variable("HOME").map(|home| format!("{home}/.docker"));
        let certificates = variable("DOCKER_CERT_PATH").or_else(|| variable("DOCKER_CONFIG")).or_else(home);
        Environment {
            min_api_version: variable("DOCKER_MIN_API_VERSION"),
            tls_verify: variable("DOCKER_TLS_VERIFY").is_some(),
            certificates: certificates.unwrap_or_default().into(),
            proxies: engine::Proxies {
                http: proxy("HTTP_PROXY"),
                https: proxy("HTTPS_PROXY"),
                except: proxy("NO_PROXY"),
            },
            system_bus: variable("DBUS_SYSTEM_BUS_ADDRESS")
                .and_then(|address| Some(address.strip_prefix("unix:path=")?.split(',').next()?.into())),
        }
    }
}

/// Reads flags and file and finds out what they mean. `read` gives the content of a file, `None` when there is none.
pub fn load(
    args: &[String],
    environment: &Environment,
    read: impl Fn(&str) -> std::io::Result<Option<Vec<u8>>>,
) -> Result<Config, ConfigError> {
    let mut settings = command_line::parse(args)?;
    if settings.is_on("help") || settings.is_on("version") {
        return resolve::resolve(&settings, environment, &read);
    }
    let named = settings.last("config-file").map(String::from);
    let path = named.clone().unwrap_or_else(|| resolve::DEFAULT_CONFIG_FILE.into());
    let failed = |reason: String| ConfigError::File { path: path.clone(), reason };
    match read(&path) {
        Ok(Some(text)) => settings.merge(file::parse(&text).map_err(failed)?).map_err(failed)?,
        Ok(None) if named.is_some() => return Err(failed("no such file".into())),
        Ok(None) => {}
        Err(error) => return Err(failed(error.to_string())),
    }
    if let Some(version) = &environment.min_api_version {
        settings.set("min-api-version", version.clone());
    }
    resolve::resolve(&settings, environment, &read)
}
