//! Containers: one owner task each, their life a pure function, every use case in its own file.

mod adopt;
pub mod attach;
pub mod changes;
pub mod commit;
mod copy_up;
pub mod create;
mod erase;
pub mod exec;
pub mod export;
mod facts;
pub mod files;
pub mod health;
pub mod inspect;
pub mod kill;
mod launch;
pub mod list;
pub mod logs;
mod merged;
mod owner;
pub mod pause;
mod plan;
pub mod prune;
pub mod record;
pub mod recover;
pub mod registry;
pub mod remove;
pub mod rename;
pub mod resize;
mod resolve;
pub mod signal;
pub mod spec;
pub mod start;
pub mod state;
mod state_text;
pub mod stats;
mod step;
pub mod stop;
mod teardown;
pub mod top;
pub mod update;
mod user;
pub mod view;
mod vigil;
pub mod wait;

use std::path::Path;

use record::Record;
use spec::LogSpec;

use crate::engine::Engine;
use crate::{Error, Result, id};

/// Path of a container's control group below the root of each hierarchy.
pub(crate) fn cgroup_path(record: &Record) -> String {
    format!("{}/{}", record.spec.cgroup_parent.trim_end_matches('/'), record.id)
}

/// The control group of a container that has one.
pub(crate) fn cgroup_of(engine: &Engine, record: &Record) -> Result<cgroup::Cgroup> {
    let failed = |error: cgroup::Error| Error::system(format!("control group of {}: {error}", record.id));
    let path = cgroup::CgroupPath::parse(&cgroup_path(record)).map_err(failed)?;
    let group = cgroup::Cgroup::open(&engine.host.cgroups, &path).map_err(failed)?;
    group.ok_or_else(|| Error::conflict(format!("container {} is not running", record.id)))
}

/// Name of the log file in a container's directory.
pub(crate) fn log_name(container_id: &str) -> String {
    format!("{container_id}-json.log")
}

/// Bytes of one log file and number of files when nobody says: a gibibyte for each container.
const DEFAULT_LOG_SIZE: u64 = 256 << 20;
const DEFAULT_LOG_FILES: u32 = 4;

/// What the shim is told about the log.
pub(crate) fn log_config(record: &Record, log: &LogSpec, data_dir: &Path) -> Result<shim::protocol::Log> {
    use shim::protocol::LogDriver;
    let driver = if log.driver == "none" { LogDriver::None } else { LogDriver::JsonFile };
    let option = |key: &str| log.options.get(key).map(String::as_str);
    let max_size = match option("max-size") {
        // Nobody said anything: a limit that few programs reach, but no disk is filled. `max-size=-1` takes it away.
        None if option("max-file").is_none() => Some(DEFAULT_LOG_SIZE),
        None | Some("-1") => None,
        Some(text) => Some(parse_size(text)?),
    };
    let max_file = match option("max-file") {
        None if option("max-size").is_none() => DEFAULT_LOG_FILES,
        None => 1,
        Some(text) => text.parse().ok().filter(|count| *count > 0).ok_or_else(|| {
            Error::invalid(format!(
                "invalid value for max-file: \"{text}\": it must be a number of at least 1"
            ))
        })?,
    };
    let compress = match option("compress") {
        None | Some("false") => false,
        Some("true") => true,
        Some(text) => return Err(Error::invalid(format!("invalid value for compress: \"{text}\""))),
    };
    if max_file > 1 && max_size.is_none() {
        return Err(Error::invalid("max-file cannot be set without max-size"));
    }
    if compress && (max_file < 2 || max_size.is_none()) {
        return Err(Error::invalid(
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ));
    }
    let path = data_dir.join(log_name(&record.id));
    Ok(shim::protocol::Log {
        driver,
        path,
        max_size,
        max_file,
        compress,
        attrs: log_attributes(record, log)?,
    })
}

/// Labels, environment and tag that are repeated with every line.
fn log_attributes(record: &Record, log: &LogSpec) -> Result<Vec<(String, String)>> {
    let mut attributes = std::collections::BTreeMap::new();
    let list = |key: &str| log.options.get(key).into_iter().flat_map(|text| text.split(',')).map(str::trim);
    let labels = record.config.labels.clone().unwrap_or_default();
    for key in list("labels") {
        if let Some(value) = labels.get(key) {
            attributes.insert(key.to_owned(), value.clone());
        }
    }
    for key in list("env") {
        let mut found = record.spec.process.env.iter().filter_map(|entry| entry.split_once('='));
        if let Some((_, value)) = found.rfind(|(name, _)| *name == key) {
            attributes.insert(key.to_owned(), value.to_owned());
        }
    }
    for key in ["labels-regex", "env-regex"] {
        if log.options.get(key).is_some_and(|text| !text.is_empty()) {
            return Err(Error::invalid(format!(
                "log opt '{key}' is not supported yet: name them with the list option"
            )));
        }
    }
    if let Some(tag) = log.options.get("tag").filter(|tag| !tag.is_empty()) {
        attributes.insert("tag".to_owned(), expand_tag(tag, record)?);
    }
    Ok(attributes.into_iter().collect())
}

/// The words of a tag template that name the container and its image.
fn expand_tag(template: &str, record: &Record) -> Result<String> {
    let known = [
        ("{{.ID}}", id::short(&record.id)),
        ("{{.FullID}}", record.id.as_str()),
        ("{{.Name}}", record.name.as_str()),
        ("{{.ImageID}}", id::short(record.image_id.strip_prefix("sha256:").unwrap_or(&record.image_id))),
        ("{{.ImageFullID}}", record.image_id.as_str()),
        ("{{.ImageName}}", record.image_name.as_str()),
        ("{{.DaemonName}}", "docker"),
    ];
    let tag = known.iter().fold(template.to_owned(), |text, (word, value)| text.replace(word, value));
    match tag.contains("{{") {
        true => Err(Error::invalid(format!(
            "log opt 'tag': {template:?} uses a word that is not known; known are .ID .FullID .Name .ImageID .ImageFullID .ImageName .DaemonName"
        ))),
        false => Ok(tag),
    }
}

/// `10m`, `512k`, `1g` or bytes, in powers of 1024.
fn parse_size(text: &str) -> Result<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale: u64 = match lower[number.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => 0,
    };
    let value = number.trim().parse::<u64>().ok().and_then(|value| value.checked_mul(scale));
    value.filter(|value| *value > 0).ok_or_else(|| Error::invalid(format!("invalid size: '{text}'")))
}
