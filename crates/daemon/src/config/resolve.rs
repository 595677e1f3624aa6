//! From words to what they mean.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use api::version::{ApiVersion, FLOOR, MAX};

use super::address::Address;
use super::checks;
use super::engine_part::{self, Read};
use super::settings::Settings;
use super::tls::{self, Tls};
use super::words::{absolute, number, refused};
use super::{ConfigError, Environment};
use crate::server::negotiate::Versions;

/// Read when no other file is named, and only if it is there.
pub const DEFAULT_CONFIG_FILE: &str = "/etc/docker/daemon.json";
pub(super) const DEFAULT_DATA_ROOT: &str = "/var/lib/berth";
pub(super) const DEFAULT_EXEC_ROOT: &str = "/run/berth";
const DEFAULT_PIDFILE: &str = "/run/berth.pid";
const DEFAULT_GROUP: &str = "docker";
const DEFAULT_SHUTDOWN_TIMEOUT: i64 = 15;

/// What the daemon is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Instead of running.
    pub action: Action,
    /// Where to listen.
    pub hosts: Vec<Address>,
    /// How TCP is encrypted; `None`: not at all.
    pub tls: Option<Tls>,
    /// Group of unix sockets.
    pub group: Group,
    /// Durable state.
    pub data_root: PathBuf,
    /// State until a reboot.
    pub exec_root: PathBuf,
    /// Where to write the process ID.
    pub pidfile: PathBuf,
    /// Log more; shown by info.
    pub debug: bool,
    /// Shown by info and in a header.
    pub experimental: bool,
    /// What is logged.
    pub log_level: LogLevel,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Log with colours.
    pub colours: bool,
    /// API versions served.
    pub versions: Versions,
    /// How long requests under way may take when stopping.
    pub shutdown_timeout: Duration,
    /// Where figures are served to Prometheus.
    pub metrics: Option<SocketAddr>,
    /// Plugins that are asked about each request, in order.
    pub authorization_plugins: Vec<String>,
    /// The part that the engine uses.
    pub engine: engine::Config,
    /// The words that all this was made of.
    pub settings: Settings,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the daemon.
    Run,
    /// Only check the configuration.
    Validate,
    /// Print the help page.
    Help,
    /// Print the version.
    Version,
}

/// The group of unix sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// Docker's; root's when this machine does not have it.
    Default(String),
    /// As asked for; it must exist.
    Named(String),
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What developers want.
    Debug,
    /// What happened.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

/// How a line of the daemon's own log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Finds out what settings mean. `read` gives the content of a file.
pub fn resolve(
    settings: &Settings,
    environment: &Environment,
    read: Read<'_>,
) -> Result<Config, ConfigError> {
    settings.check_support().map_err(ConfigError::Invalid)?;
    checks::check(settings)?;
    let tls = tls::resolve(settings, environment)?;
    let hosts = hosts(settings, tls.is_some())?;
    let debug = settings.is_on("debug");
    let mut engine = engine_part::resolve(settings, debug, read)?;
    engine.proxies = proxies(settings, environment);
    engine.system_bus = environment.system_bus.clone().unwrap_or(engine.system_bus);
    engine.warnings = tls::warnings(&hosts, tls.as_ref());
    Ok(Config {
        action: action(settings),
        hosts,
        tls,
        group: match settings.last("group") {
            Some(name) => Group::Named(name.into()),
            None => Group::Default(DEFAULT_GROUP.into()),
        },
        data_root: absolute(settings, "data-root", DEFAULT_DATA_ROOT)?,
        exec_root: absolute(settings, "exec-root", DEFAULT_EXEC_ROOT)?,
        pidfile: absolute(settings, "pidfile", DEFAULT_PIDFILE)?,
        debug,
        experimental: settings.is_on("experimental"),
        log_level: log_level(settings, debug)?,
        log_format: log_format(settings)?,
        colours: !settings.is_on("raw-logs"),
        versions: versions(settings)?,
        shutdown_timeout: shutdown_timeout(settings)?,
        metrics: metrics(settings)?,
        authorization_plugins: authorization_plugins(settings),
        engine,
        settings: settings.clone(),
    })
}

/// Flags come before the environment.
fn proxies(settings: &Settings, environment: &Environment) -> engine::Proxies {
    let told = |flag: &str, variable: &String| settings.last(flag).unwrap_or(variable).to_owned();
    engine::Proxies {
        http: told("http-proxy", &environment.proxies.http),
        https: told("https-proxy", &environment.proxies.https),
        except: told("no-proxy", &environment.proxies.except),
    }
}

fn action(settings: &Settings) -> Action {
    match () {
        () if settings.is_on("help") => Action::Help,
        () if settings.is_on("version") => Action::Version,
        () if settings.is_on("validate") => Action::Validate,
        () => Action::Run,
    }
}

fn hosts(settings: &Settings, is_encrypted: bool) -> Result<Vec<Address>, ConfigError> {
    let words = match settings.all("host") {
        [] => &[String::new()][..],
        words => words,
    };
    let mut hosts: Vec<Address> = Vec::new();
    for word in words {
        let host = Address::parse(word, is_encrypted).map_err(ConfigError::Invalid)?;
        if matches!(host, Address::Tcp(_)) && !is_encrypted && settings.last("tls") != Some("false") {
            return Err(ConfigError::Invalid(format!(
                "refusing to listen on {host} without TLS: whoever can connect there would be root on this machine. \
                 Add --tlsverify with --tlscacert, --tlscert and --tlskey, or use a unix socket and SSH \
                 (docker -H ssh://…), or add --tls=false if only trusted users can connect"
            )));
        }
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

fn log_level(settings: &Settings, debug: bool) -> Result<LogLevel, ConfigError> {
    let level = match settings.last("log-level").filter(|level| !level.is_empty()).unwrap_or("info") {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" | "warning" => LogLevel::Warn,
        "error" | "fatal" | "panic" => LogLevel::Error,
        word => return Err(ConfigError::Invalid(format!("invalid logging level: {word}"))),
    };
    Ok(if debug && level != LogLevel::Trace { LogLevel::Debug } else { level })
}

fn log_format(settings: &Settings) -> Result<LogFormat, ConfigError> {
    match settings.last("log-format") {
        None | Some("text" | "") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(word) => {
            Err(ConfigError::Invalid(format!("invalid log format: {word}: it must be text or json")))
        }
    }
}

fn versions(settings: &Settings) -> Result<Versions, ConfigError> {
    let Some(text) = settings.last("min-api-version") else { return Ok(Versions::default()) };
    let text = text.trim_start_matches('v');
    match text.parse::<ApiVersion>() {
        Ok(min) if (FLOOR..=MAX).contains(&min) => Ok(Versions { min, max: MAX }),
        _ => Err(ConfigError::Invalid(format!(
            "invalid minimum API version ({text}): must be between {FLOOR} and {MAX}"
        ))),
    }
}

fn shutdown_timeout(settings: &Settings) -> Result<Duration, ConfigError> {
    let seconds: i64 = number(settings, "shutdown-timeout", DEFAULT_SHUTDOWN_TIMEOUT)?;
    // Docker's -1 means for ever.
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::from(u32::MAX))))
}

fn metrics(settings: &Settings) -> Result<Option<SocketAddr>, ConfigError> {
    match settings.last("metrics-addr") {
        None | Some("") => Ok(None),
        Some(word) => {
            let local = word.replacen("localhost", "127.0.0.1", 1);
            let local = if local.starts_with(':') { format!("0.0.0.0{local}") } else { local };
            let why = "it must be an IP address and a port, 127.0.0.1:9323";
            local.parse().map(Some).map_err(|_| refused("metrics-addr", word, why))
        }
    }
}

/// Each once, in order.
fn authorization_plugins(settings: &Settings) -> Vec<String> {
    let mut plugins: Vec<String> = Vec::new();
    for name in settings.all("authorization-plugin") {
        if !plugins.contains(name) {
            plugins.push(name.clone());
        }
    }
    plugins
}
