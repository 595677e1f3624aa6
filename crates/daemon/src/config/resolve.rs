//! From words to what they mean.

use std::path::PathBuf;
use std::time::Duration;

use api::version::{ApiVersion, FLOOR, MAX};

use super::ConfigError;
use super::address::Address;
use super::settings::Settings;
use crate::server::negotiate::Versions;

/// Read when no other file is named, and only if it is there.
pub const DEFAULT_CONFIG_FILE: &str = "/etc/docker/daemon.json";
const DEFAULT_DATA_ROOT: &str = "/var/lib/berth";
const DEFAULT_EXEC_ROOT: &str = "/run/berth";
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
    /// Log with colours.
    pub colours: bool,
    /// API versions served.
    pub versions: Versions,
    /// How long requests under way may take when stopping.
    pub shutdown_timeout: Duration,
    /// The part that the engine uses.
    pub engine: engine::Config,
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

/// Finds out what settings mean.
pub fn resolve(settings: &Settings) -> Result<Config, ConfigError> {
    settings.check_support().map_err(ConfigError::Invalid)?;
    let hosts = resolve_hosts(settings)?;
    let debug = settings.is_on("debug");
    Ok(Config {
        action: resolve_action(settings),
        hosts,
        group: match settings.last("group") {
            Some(name) => Group::Named(name.into()),
            None => Group::Default(DEFAULT_GROUP.into()),
        },
        data_root: absolute(settings, "data-root", DEFAULT_DATA_ROOT)?,
        exec_root: absolute(settings, "exec-root", DEFAULT_EXEC_ROOT)?,
        pidfile: absolute(settings, "pidfile", DEFAULT_PIDFILE)?,
        debug,
        experimental: settings.is_on("experimental"),
        log_level: resolve_log_level(settings, debug)?,
        colours: !settings.is_on("raw-logs"),
        versions: resolve_versions(settings)?,
        shutdown_timeout: resolve_shutdown_timeout(settings)?,
        engine: resolve_engine(settings, debug)?,
    })
}

/// What the engine is told: directories, the default network, and defaults for new containers.
fn resolve_engine(settings: &Settings, debug: bool) -> Result<engine::Config, ConfigError> {
    let default = engine::Config::default();
    let text = |name: &str, default: String| settings.last(name).map_or(default, str::to_owned);
    let on = |name: &str, default: bool| settings.last(name).map_or(default, |word| word == "true");
    let bridge = engine::Bridge {
        name: match settings.last("bridge") {
            None | Some("") => default.bridge.name.clone(),
            Some("none") => None,
            Some(name) => Some(name.to_owned()),
        },
        address: settings.last("bip").map(str::to_owned),
        mtu: number(settings, "mtu", 0)?,
        inter_container: on("icc", true),
        masquerade: on("ip-masq", true),
        publish_address: text("ip", default.bridge.publish_address.clone()),
    };
    let log_opts = settings.all("log-opt").iter().map(|word| {
        let pair = word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| ConfigError::Invalid(format!("--log-opt {word:?}: it must be name=value")))
    });
    Ok(engine::Config {
        data_root: absolute(settings, "data-root", DEFAULT_DATA_ROOT)?,
        exec_root: absolute(settings, "exec-root", DEFAULT_EXEC_ROOT)?,
        cgroup_parent: text("cgroup-parent", default.cgroup_parent),
        bridge,
        default_shm_size: match settings.last("default-shm-size") {
            None => default.default_shm_size,
            Some(word) => size(word).ok_or_else(|| {
                ConfigError::Invalid(format!("--default-shm-size {word:?}: it must be a size such as 64m"))
            })?,
        },
        default_stop_timeout: number(settings, "default-stop-timeout", default.default_stop_timeout)?,
        log_driver: text("log-driver", default.log_driver),
        log_opts: log_opts.collect::<Result<_, _>>()?,
        labels: settings.all("label").to_vec(),
        dns: settings.all("dns").to_vec(),
        dns_options: settings.all("dns-opt").to_vec(),
        dns_search: settings.all("dns-search").to_vec(),
        init: settings.is_on("init"),
        no_new_privileges: settings.is_on("no-new-privileges"),
        debug,
        ..engine::Config::default()
    })
}

fn number<T: std::str::FromStr>(settings: &Settings, name: &str, default: T) -> Result<T, ConfigError> {
    match settings.last(name) {
        None => Ok(default),
        Some(word) => word
            .parse()
            .map_err(|_| ConfigError::Invalid(format!("--{name} {word:?}: it must be a whole number"))),
    }
}

/// `64m`, `1g`, `65536`: bytes in powers of 1024.
fn size(word: &str) -> Option<i64> {
    let lower = word.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(scale).filter(|bytes| *bytes > 0)
}

fn resolve_action(settings: &Settings) -> Action {
    match () {
        () if settings.is_on("help") => Action::Help,
        () if settings.is_on("version") => Action::Version,
        () if settings.is_on("validate") => Action::Validate,
        () => Action::Run,
    }
}

fn resolve_hosts(settings: &Settings) -> Result<Vec<Address>, ConfigError> {
    let words = match settings.all("host") {
        [] => &[String::new()][..],
        words => words,
    };
    let mut hosts: Vec<Address> = Vec::new();
    for word in words {
        let host: Address = word.parse().map_err(ConfigError::Invalid)?;
        if matches!(host, Address::Tcp(_)) && settings.last("tls") != Some("false") {
            return Err(ConfigError::Invalid(format!(
                "refusing to listen on {host} without TLS: whoever can connect there would be root on this machine. \
                 Use a unix socket and SSH (docker -H ssh://…), or add --tls=false if only trusted users can connect"
            )));
        }
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

fn absolute(settings: &Settings, name: &str, default: &str) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(settings.last(name).unwrap_or(default));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(ConfigError::Invalid(format!(
            "--{name} must be an absolute path: {:?}",
            path.display().to_string()
        )))
    }
}

fn resolve_log_level(settings: &Settings, debug: bool) -> Result<LogLevel, ConfigError> {
    let level = match settings.last("log-level").unwrap_or("info") {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" | "warning" => LogLevel::Warn,
        "error" | "fatal" | "panic" => LogLevel::Error,
        word => return Err(ConfigError::Invalid(format!("invalid logging level: {word}"))),
    };
    Ok(if debug && level != LogLevel::Trace { LogLevel::Debug } else { level })
}

fn resolve_versions(settings: &Settings) -> Result<Versions, ConfigError> {
    let Some(text) = settings.last("min-api-version") else { return Ok(Versions::default()) };
    let text = text.trim_start_matches('v');
    match text.parse::<ApiVersion>() {
        Ok(min) if (FLOOR..=MAX).contains(&min) => Ok(Versions { min, max: MAX }),
        _ => Err(ConfigError::Invalid(format!(
            "invalid minimum API version ({text}): must be between {FLOOR} and {MAX}"
        ))),
    }
}

fn resolve_shutdown_timeout(settings: &Settings) -> Result<Duration, ConfigError> {
    let seconds = settings.last("shutdown-timeout").and_then(|word| word.parse().ok());
    let seconds: i64 = seconds.unwrap_or(DEFAULT_SHUTDOWN_TIMEOUT);
    // Docker's -1 means for ever.
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    /// Prints what a command line and a file mean, or why they are refused.
    fn check(args: &[&str], file: Option<&str>, expected: &str) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_string()).collect();
        let printed = match load(&args, None, |_| Ok(file.map(|text| text.as_bytes().to_vec()))) {
            Ok(config) => {
                let hosts: Vec<String> = config.hosts.iter().map(Address::to_string).collect();
                format!(
                    "{:?} {} {:?} {} {} {:?}",
                    config.action,
                    hosts.join(" "),
                    config.group,
                    config.data_root.display(),
                    config.versions.min,
                    config.log_level,
                )
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(printed, expected, "{args:?} {file:?}");
    }

    const PLAIN: &str = "Run unix:///var/run/docker.sock Default(\"docker\") /var/lib/berth 1.24 Info";

    #[test]
    fn flags_are_read() {
        check(&[], None, PLAIN);
        check(&["-D"], None, &PLAIN.replace("Info", "Debug"));
        check(&["--debug=false", "-l", "warn"], None, &PLAIN.replace("Info", "Warn"));
        check(
            &[
                "-H",
                "unix:///a",
                "-Hunix:///b",
                "--host=tcp://:1",
                "--tls=false",
                "-G=wheel",
                "--data-root",
                "/d",
            ],
            None,
            "Run unix:///a unix:///b tcp://127.0.0.1:1 Named(\"wheel\") /d 1.24 Info",
        );
        check(&["--validate"], None, &PLAIN.replace("Run", "Validate"));
        check(&["-Dv"], None, &PLAIN.replace("Run", "Version").replace("Info", "Debug"));
    }

    #[test]
    fn defaults_for_containers_reach_the_engine() {
        let args = [
            "--bridge=br9",
            "--bip=10.9.0.1/24",
            "--mtu=1400",
            "--icc=false",
            "--cgroup-parent=/x",
            "--default-shm-size=1g",
            "--default-stop-timeout=3",
            "--log-opt",
            "max-size=1m",
            "--init",
            "--dns=9.9.9.9",
        ];
        let args: Vec<String> = args.map(str::to_owned).into();
        let config = load(&args, None, |_| Ok(None)).expect("good flags").engine;
        let bridge = &config.bridge;
        assert_eq!((bridge.name.as_deref(), bridge.address.as_deref()), (Some("br9"), Some("10.9.0.1/24")));
        assert_eq!((bridge.mtu, bridge.inter_container, bridge.masquerade), (1400, false, true));
        assert_eq!(
            (config.cgroup_parent.as_str(), config.default_shm_size, config.default_stop_timeout),
            ("/x", 1 << 30, 3)
        );
        assert_eq!(config.log_opts, [("max-size".to_owned(), "1m".to_owned())]);
        assert_eq!((config.init, config.dns), (true, vec!["9.9.9.9".to_owned()]));
        check(&["--mtu=-1"], None, "--mtu \"-1\": it must be a whole number");
        check(
            &["--default-shm-size=much"],
            None,
            "--default-shm-size \"much\": it must be a size such as 64m",
        );
    }

    #[test]
    fn wrong_flags_are_refused() {
        check(&["--no-such"], None, "unknown flag: --no-such\nSee 'berth daemon --help'.");
        check(&["-Dx"], None, "unknown shorthand flag: 'x' in -x\nSee 'berth daemon --help'.");
        check(&["--data-root"], None, "flag needs an argument: --data-root\nSee 'berth daemon --help'.");
        check(
            &["run"],
            None,
            "the daemon takes no arguments, only flags: \"run\"\nSee 'berth daemon --help'.",
        );
        check(&["--data-root=d"], None, "--data-root must be an absolute path: \"d\"");
        check(
            &["--debug=maybe"],
            None,
            "invalid argument \"maybe\" for \"--debug\" flag: invalid boolean value \"maybe\"\nSee 'berth daemon --help'.",
        );
        check(&["-l", "loud"], None, "invalid logging level: loud");
        check(
            &["--swarm-default-advertise-addr=x"],
            None,
            "--swarm-default-advertise-addr cannot be used: swarm mode is not implemented yet",
        );
        check(&["--iptables=false"], None, "--iptables=false is not implemented: only true is");
        check(&["--iptables"], None, PLAIN);
        check(
            &["-H", "tcp://0.0.0.0:2375"],
            None,
            "refusing to listen on tcp://0.0.0.0:2375 without TLS: whoever can connect there would be root on this \
             machine. Use a unix socket and SSH (docker -H ssh://…), or add --tls=false if only trusted users can connect",
        );
    }

    #[test]
    fn the_file_is_read() {
        check(&[], Some(""), PLAIN);
        check(&[], Some("\u{feff}{}"), PLAIN);
        check(
            &["-D"],
            Some(
                r#"{"hosts":["unix:///a"],"data-root":"/d","min-api-version":"1.40","shutdown-timeout":3,"group":null}"#,
            ),
            "Run unix:///a Default(\"docker\") /d 1.40 Debug",
        );
    }

    #[test]
    fn wrong_files_are_refused() {
        let refused = |args: &[&str], file: &str, reason: &str| {
            let prefix = "unable to configure the daemon with file /etc/docker/daemon.json: ";
            check(args, Some(file), &format!("{prefix}{reason}"));
        };
        refused(
            &[],
            r#"{"debug":true,"nope":1,"nor":2}"#,
            "the following directives don't match any configuration option: nope, nor",
        );
        refused(
            &["--debug=false", "-H", "unix:///a"],
            r#"{"debug":true,"hosts":["unix:///b","unix:///c"]}"#,
            "the following directives are specified both as a flag and in the configuration file: debug: (from flag: \
             false, from file: true), host: (from flag: unix:///a, from file: unix:///b,unix:///c)",
        );
        refused(&[], r#"{"debug":"true"}"#, "debug: must be true or false");
        refused(&[], r#"{"hosts":"unix:///a"}"#, "hosts: must be a list of strings");
        refused(&[], "[]", "must be a JSON object");
        refused(&[], "{", "invalid JSON: EOF while parsing an object at line 1 column 1");
        check(
            &[],
            Some(r#"{"live-restore":true,"storage-driver":"btrfs"}"#),
            "--storage-driver=btrfs is not implemented: only overlayfs is",
        );
        check(
            &[],
            Some(r#"{"min-api-version":"1.20"}"#),
            "invalid minimum API version (1.20): must be between 1.24 and 1.57",
        );
        check(
            &["--config-file", "/nope"],
            None,
            "unable to configure the daemon with file /nope: no such file",
        );
    }
}
