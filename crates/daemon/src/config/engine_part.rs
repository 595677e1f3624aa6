//! What the engine is told: directories, the default network, and defaults for new containers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api::host_config::Ulimit;
use engine::SeccompProfile;
use serde_json::Value;

use super::settings::Settings;
use super::words::{absolute, addresses, bytes, number, one_of, pairs, positive, refused, size};
use super::{ConfigError, checks, network_part, resolve, runtimes_part};

/// Reads a file; `None` when there is none.
pub(super) type Read<'a> = &'a dyn Fn(&str) -> std::io::Result<Option<Vec<u8>>>;

pub(super) fn resolve(
    settings: &Settings,
    debug: bool,
    read: Read<'_>,
) -> Result<engine::Config, ConfigError> {
    let default = engine::Config::default();
    let text = |name: &str, default: &str| settings.last(name).unwrap_or(default).to_owned();
    let runtimes = runtimes_part::runtimes(settings)?;
    Ok(engine::Config {
        default_runtime: runtimes_part::default_runtime(settings, &runtimes)?,
        runtimes,
        cdi_spec_dirs: match settings.all("cdi-spec-dir") {
            [] => default.cdi_spec_dirs,
            given => given.iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
        },
        live_restore: settings.last("live-restore") != Some("false"),
        data_root: absolute(settings, "data-root", resolve::DEFAULT_DATA_ROOT)?,
        exec_root: absolute(settings, "exec-root", resolve::DEFAULT_EXEC_ROOT)?,
        cgroup_driver: cgroup_driver(settings)?,
        cgroup_parent: text("cgroup-parent", &default.cgroup_parent),
        bridge: network_part::bridge(settings, &default.bridge)?,
        address_pools: network_part::address_pools(settings)?.unwrap_or(default.address_pools),
        network_options: network_part::network_options(settings)?,
        firewall_lock: settings.last("firewall-lock") != Some("false"),
        pace_local: settings.is_on("pace-local"),
        accepted_mark: network_part::accepted_mark(settings)?,
        publish_policy: network_part::publish_policy(settings)?,
        forward_for_others: settings.is_on("ip-forward-no-drop"),
        default_shm_size: shm_size(settings, default.default_shm_size)?,
        default_stop_timeout: number(settings, "default-stop-timeout", default.default_stop_timeout)?,
        log_driver: text("log-driver", &default.log_driver),
        log_opts: pairs(settings, "log-opt")?,
        labels: labels(settings)?,
        dns: settings.all("dns").to_vec(),
        dns_options: settings.all("dns-opt").to_vec(),
        dns_search: settings.all("dns-search").to_vec(),
        init: settings.is_on("init"),
        no_new_privileges: settings.is_on("no-new-privileges"),
        debug,
        insecure_registries: settings.all("insecure-registry").to_vec(),
        registry_mirrors: settings.all("registry-mirror").to_vec(),
        default_size_limit: size_limit(settings)?,
        default_ipc_mode: one_of(settings, "default-ipc-mode", &["private", "shareable"])?
            .unwrap_or(default.default_ipc_mode),
        default_cgroupns_mode: one_of(settings, "default-cgroupns-mode", &["private", "host"])?,
        default_ulimits: settings
            .all("default-ulimit")
            .iter()
            .map(|word| ulimit(word).and_then(checks::ulimit))
            .collect::<Result<_, _>>()?,
        host_gateway: checks::one_of_each_family(addresses(settings, "host-gateway-ip")?)?,
        seccomp_profile: seccomp_profile(settings, read)?,
        features: features(settings)?,
        max_concurrent_downloads: positive(
            settings,
            "max-concurrent-downloads",
            default.max_concurrent_downloads,
            u32::MAX,
        )?,
        max_concurrent_uploads: positive(
            settings,
            "max-concurrent-uploads",
            default.max_concurrent_uploads,
            u32::MAX,
        )?,
        max_download_attempts: positive(
            settings,
            "max-download-attempts",
            default.max_download_attempts,
            default.max_download_attempts,
        )?,
        remap: remap(settings, read)?,
        ..engine::Config::default()
    })
}

/// Whose subordinate ids the users of containers are.
fn remap(settings: &Settings, read: Read<'_>) -> Result<Option<engine::userns::Remap>, ConfigError> {
    let word = settings.last("userns-remap").filter(|word| !word.is_empty());
    let found = word.map(|word| engine::userns::resolve(word, read));
    found.transpose().map_err(|error| ConfigError::Invalid(error.message))
}

/// Zero is for the usual size.
fn shm_size(settings: &Settings, default: i64) -> Result<i64, ConfigError> {
    match settings.last("default-shm-size") {
        Some("0") => Ok(default),
        _ => bytes(settings, "default-shm-size", default),
    }
}

/// Labels have a name and a value; of two with one name Docker refuses to choose.
fn labels(settings: &Settings) -> Result<Vec<String>, ConfigError> {
    let mut values: BTreeMap<&str, &str> = BTreeMap::new();
    for word in settings.all("label") {
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(ConfigError::Invalid(format!("bad attribute format: {word}")));
        };
        if let Some(other) = values.insert(name, value).filter(|other| *other != value) {
            return Err(ConfigError::Invalid(format!(
                "conflict labels for {name}={value} and {name}={other}"
            )));
        }
    }
    Ok(values.iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// `nofile=1024:2048` of a flag, or an object of the file.
fn ulimit(word: &str) -> Result<Ulimit, ConfigError> {
    let bad = || refused("default-ulimit", word, "it must be name=soft[:hard]");
    let (name, values) = word.split_once('=').ok_or_else(bad)?;
    if let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(values) {
        let number = |names: [&str; 2]| names.iter().find_map(|name| fields.get(*name)?.as_i64());
        // As Go reads it: what is not there is nothing.
        let [hard, soft] = [["Hard", "hard"], ["Soft", "soft"]].map(|names| number(names).unwrap_or(0));
        return Ok(Ulimit { name: name.to_owned(), hard, soft });
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| text.parse::<i64>().map_err(|_| bad());
    Ok(Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? })
}

fn seccomp_profile(settings: &Settings, read: Read<'_>) -> Result<SeccompProfile, ConfigError> {
    let path = match settings.last("seccomp-profile") {
        None | Some("" | "builtin" | "default") => return Ok(SeccompProfile::Builtin),
        Some("unconfined") => return Ok(SeccompProfile::Unconfined),
        Some(path) => path,
    };
    let failed =
        |why: String| ConfigError::Invalid(format!("opening seccomp profile ({path}) failed: {why}"));
    let content = read(path).map_err(|error| failed(error.to_string()))?;
    let content = content.ok_or_else(|| failed("no such file".into()))?;
    let text = String::from_utf8(content).map_err(|_| failed("it is not UTF-8".into()))?;
    serde_json::from_str::<Value>(&text).map_err(|error| failed(format!("it is not JSON: {error}")))?;
    Ok(SeccompProfile::Custom { path: Path::new(path).into(), text })
}

/// What a container may write to its own layer when it does not say.
fn size_limit(settings: &Settings) -> Result<u64, ConfigError> {
    let mut limit = 0;
    for (name, value) in pairs(settings, "storage-opt")? {
        let bytes = match name.as_str() {
            // The second is what daemon.json files for Docker have.
            "size" | "overlay2.size" => size(&value).and_then(|bytes| u64::try_from(bytes).ok()),
            _ => return Err(refused("storage-opt", &format!("{name}={value}"), "there is only size")),
        };
        limit = bytes.ok_or_else(|| refused("storage-opt", &value, "it must be a size such as 10g"))?;
    }
    Ok(limit)
}

fn features(settings: &Settings) -> Result<BTreeMap<String, bool>, ConfigError> {
    let read = |(name, word): (String, String)| match api::query::strict_bool(&word) {
        Some(on) => Ok((name, on)),
        None => Err(refused("feature", &format!("{name}={word}"), "it must be name=true or name=false")),
    };
    pairs(settings, "feature")?.into_iter().map(read).collect()
}

/// The only runtime option is the cgroup driver; the last one counts.
fn cgroup_driver(settings: &Settings) -> Result<Option<engine::CgroupDriver>, ConfigError> {
    let mut driver = None;
    for (name, value) in pairs(settings, "exec-opt")? {
        driver = match (name.as_str(), value.as_str()) {
            ("native.cgroupdriver", "cgroupfs") => Some(engine::CgroupDriver::Cgroupfs),
            ("native.cgroupdriver", "systemd") => Some(engine::CgroupDriver::Systemd),
            ("native.cgroupdriver", _) => {
                let why = "it must be cgroupfs or systemd";
                return Err(refused("exec-opt", &format!("{name}={value}"), why));
            }
            _ => return Err(refused("exec-opt", &name, "there is only native.cgroupdriver")),
        };
    }
    Ok(driver)
}
