//! What SIGHUP may change: the configuration is read again, and the part of it that a running daemon can take is taken.

use std::collections::{BTreeMap, BTreeSet};

use super::settings::Settings;
use super::{Config, ConfigError, Environment, engine_part, resolve};

/// Names of the settings that can change while the daemon runs; those of Docker's daemon that exist here.
pub(super) const RELOADABLE: &[&str] = &[
    "authorization-plugin",
    "debug",
    "default-cgroupns-mode",
    "default-ipc-mode",
    "default-runtime",
    "default-shm-size",
    "default-stop-timeout",
    "feature",
    "add-runtime",
    "insecure-registry",
    "label",
    "live-restore",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "registry-mirror",
    "shutdown-timeout",
];

/// What comes of reading the configuration again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// What the daemon does from now on: as at start, but for what can be changed.
    pub config: Config,
    /// Settings that have changed and count only once the daemon is started again.
    pub needs_restart: Vec<&'static str>,
}

/// Combines what the daemon runs with and what its configuration says now. A setting that is no longer there is again
/// what it is by default, as if the daemon had been started now.
pub fn reload(
    running: &Config,
    read_again: &Config,
    environment: &Environment,
    read: engine_part::Read<'_>,
) -> Result<Reloaded, ConfigError> {
    let (old, new) = (&running.settings, &read_again.settings);
    let mut settings = Settings::default();
    let mut needs_restart = Vec::new();
    let names: BTreeSet<&'static str> = old.names().chain(new.names()).collect();
    for name in names {
        let reloads = RELOADABLE.contains(&name);
        let words = if reloads { new.all(name) } else { old.all(name) };
        words.iter().for_each(|word| settings.add(name, word.clone()));
        if !reloads && old.all(name) != new.all(name) {
            needs_restart.push(name);
        }
    }
    Ok(Reloaded { config: resolve::resolve(&settings, environment, read)?, needs_restart })
}

/// The attributes of the daemon's event `reload`: every setting that can be changed, in Docker's names and forms.
pub fn attributes(config: &Config) -> BTreeMap<String, String> {
    let engine = &config.engine;
    let list = |items: &[String]| serde_json::Value::from(items.to_vec()).to_string();
    let features: Vec<String> = engine.features.iter().map(|(name, on)| format!("{name}:{on}")).collect();
    let cgroup_namespace = engine.default_cgroupns_mode.clone().unwrap_or_default();
    let pairs = [
        ("authorization-plugins", list(&config.authorization_plugins)),
        ("debug", engine.debug.to_string()),
        ("default-cgroupns-mode", cgroup_namespace),
        ("default-ipc-mode", engine.default_ipc_mode.clone()),
        ("default-runtime", config.settings.last("default-runtime").unwrap_or("runc").to_owned()),
        ("default-shm-size", engine.default_shm_size.to_string()),
        ("default-stop-timeout", engine.default_stop_timeout.to_string()),
        ("features", format!("map[{}]", features.join(" "))),
        ("insecure-registries", list(&engine.insecure_registries)),
        ("labels", list(&engine.labels)),
        ("live-restore", engine.live_restore.to_string()),
        ("max-concurrent-downloads", engine.max_concurrent_downloads.to_string()),
        ("max-concurrent-uploads", engine.max_concurrent_uploads.to_string()),
        ("max-download-attempts", engine.max_download_attempts.to_string()),
        ("registry-mirrors", list(&engine.registry_mirrors)),
        ("runtimes", config.settings.all("add-runtime").join(" ")),
        ("shutdown-timeout", config.shutdown_timeout.as_secs().to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    #[test]
    fn what_can_change_changes_and_the_rest_is_named() {
        let read = |text: &'static str| {
            let args = ["--data-root=/d".to_owned()];
            load(&args, &Environment::default(), |_| Ok(Some(text.into()))).expect("a good file")
        };
        let running =
            read(r#"{"labels":["a=1"],"max-concurrent-downloads":7,"mtu":1400,"log-level":"warn"}"#);
        let again =
            read(r#"{"labels":["a=2"],"debug":true,"mtu":1500,"log-level":"warn","bip":"10.0.0.1/24"}"#);
        let reloaded = reload(&running, &again, &Environment::default(), &|_| Ok(None)).expect("reloads");
        assert_eq!(reloaded.needs_restart, ["bip", "mtu"]);
        let attributes = attributes(&reloaded.config);
        let shown = ["labels", "debug", "max-concurrent-downloads"].map(|name| attributes[name].as_str());
        assert_eq!(shown, ["[\"a=2\"]", "true", "3"]);
        assert_eq!((reloaded.config.engine.bridge.mtu, reloaded.config.engine.bridge.address), (1400, None));
    }
}
