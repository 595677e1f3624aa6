//! The daemon's configuration: dockerd's flags and `daemon.json`, from what was written to what is meant.
//!
//! ```text
//! argv ──[command_line]──┐
//!                        ├─[merge: unknown key, said twice]──> Settings ──[resolve]──> Config
//! daemon.json ──[file]───┘
//! ```
//!
//! A flag that dockerd has and this daemon does not implement is refused with a reason, never ignored.

pub mod address;
pub mod command_line;
pub mod file;
pub mod flags;
pub mod resolve;
pub mod settings;

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

/// Reads flags and file and finds out what they mean. `read` gives the content of a file, `None` when there is none.
pub fn load(
    args: &[String],
    min_api_version: Option<String>,
    read: impl Fn(&str) -> std::io::Result<Option<Vec<u8>>>,
) -> Result<Config, ConfigError> {
    let mut settings = command_line::parse(args)?;
    if settings.is_on("help") || settings.is_on("version") {
        return resolve::resolve(&settings);
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
    if let Some(version) = min_api_version {
        settings.set("min-api-version", version);
    }
    resolve::resolve(&settings)
}
