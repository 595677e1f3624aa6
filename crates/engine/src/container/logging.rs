//! What the options of a container's log mean: files and their sizes, and what is repeated with each line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use logdriver::{Driver, Target};
use regex::Regex;

use super::launch::Places;
use super::record::Record;
use super::spec::LogSpec;
use crate::engine::Engine;
use crate::{Error, Result, id};

/// Name of the log file in a container's directory. Remote drivers are fed from one in the format of `local`.
pub(crate) fn file_name(container_id: &str, driver: &str) -> String {
    format!("{container_id}-{}.log", if driver == "json-file" { "json" } else { "local" })
}

/// A container's directory.
pub(crate) fn directory(engine: &Engine, container_id: &str) -> PathBuf {
    Places::of(engine, container_id).data_dir
}

/// Sizes that hold when nobody says: bytes of one file, files, whether old ones are compressed.
///
/// For `json-file` a limit that few programs reach, but no disk is filled; for `local` and remote drivers Docker's.
fn defaults(driver: &str) -> (u64, u32, bool) {
    if driver == "json-file" { (256 << 20, 4, false) } else { (20 << 20, 5, true) }
}

/// Options that every driver takes.
const COMMON: &[&str] =
    &["mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];

/// The options that a driver of ours takes; `None` for others.
fn known(driver: &str) -> Option<&'static [&'static str]> {
    Some(match driver {
        "json-file" => {
            &["max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"]
        }
        "local" => &["max-size", "max-file", "compress"],
        _ => return None,
    })
}

/// Drivers of Docker's that are not here.
const ELSEWHERE: &[&str] = &["awslogs", "gcplogs", "etwlogs", "logentries"];

/// Names of all drivers, as the system information lists them.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> =
        logdriver::NAMES.into_iter().chain(["json-file", "local", "none"]).map(str::to_owned).collect();
    names.sort();
    names
}

/// Refuses a driver that is not there, options that it does not take, and modes that are none.
pub(crate) fn validate(log: &LogSpec) -> Result<()> {
    let LogSpec { driver, options } = log;
    if driver == "none" {
        return Ok(());
    }
    check_mode(options)?;
    check_cache(options)?;
    if let Some(known) = known(driver) {
        let is_known = |key: &str| known.contains(&key) || COMMON.contains(&key);
        return match options.keys().find(|key| !is_known(key)) {
            Some(key) => Err(Error::invalid(format!("unknown log opt '{key}' for {driver} log driver"))),
            None => Ok(()),
        };
    }
    if remote(log)?.is_none() {
        let words = format!("logger: no log driver named '{driver}' is registered");
        if ELSEWHERE.contains(&driver.as_str()) {
            let names = names().join(", ");
            return Err(Error::invalid(format!(
                "{words}: this engine has {names}; send the json-file logs with a collector of the provider's"
            )));
        }
        return Err(Error::invalid(words));
    }
    Ok(())
}

/// Refuses a socket of this machine that is not there, as Docker does when the container is made.
pub(crate) fn check_socket(log: &LogSpec) -> Result<()> {
    if !log.options.contains_key("syslog-address") {
        return Ok(());
    }
    for target in remote(log)?.iter().flat_map(Driver::targets) {
        if let Target::Unix(path) | Target::UnixDatagram(path) = target
            && let Err(error) = std::fs::metadata(&path)
        {
            let words = match error.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => error.to_string(),
            };
            return Err(Error::invalid(format!("stat {}: {words}", path.display())));
        }
    }
    Ok(())
}

fn check_mode(options: &BTreeMap<String, String>) -> Result<()> {
    let mode = options.get("mode").map_or("blocking", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(Error::invalid(format!("logger: logging mode not supported: {mode}")));
    }
    if let Some(size) = options.get("max-buffer-size") {
        if mode != "non-blocking" {
            return Err(Error::invalid(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ));
        }
        parse_size(size).map_err(|error| error.context("error parsing option max-buffer-size"))?;
    }
    Ok(())
}

fn check_cache(options: &BTreeMap<String, String>) -> Result<()> {
    is_cache_disabled(options)?;
    files(options, "cache-", defaults("local")).map(drop)
}

fn is_cache_disabled(options: &BTreeMap<String, String>) -> Result<bool> {
    match options.get("cache-disabled").map(String::as_str) {
        None | Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some(other) => Err(Error::invalid(format!("invalid value for option cache-disabled: {other}"))),
    }
}

/// The driver that sends the log elsewhere; `None` when it is kept here alone.
pub(crate) fn remote(log: &LogSpec) -> Result<Option<Driver>> {
    let is_own = |key: &str| !COMMON.contains(&key);
    let options = log.options.iter().filter(|(key, _)| is_own(key));
    let options = options.map(|(key, value)| (key.clone(), value.clone())).collect();
    Driver::parse(&log.driver, &options).map_err(|error| Error::invalid(error.to_string()))
}

/// Whether the log can be read here.
pub(crate) fn is_readable(log: &LogSpec) -> bool {
    let is_remote = logdriver::NAMES.contains(&log.driver.as_str());
    log.driver != "none" && !(is_remote && is_cache_disabled(&log.options).unwrap_or(false))
}

/// In the mode `non-blocking`: bytes that wait for a collector at most.
pub(crate) fn buffer(log: &LogSpec) -> Option<u64> {
    const USUAL: u64 = 1 << 20;
    let is_bounded = log.options.get("mode").is_some_and(|mode| mode == "non-blocking");
    let given = log.options.get("max-buffer-size").and_then(|size| parse_size(size).ok());
    is_bounded.then(|| given.unwrap_or(USUAL))
}

/// What the shim is told about the log.
///
/// `mode` needs nothing: the shim writes to its own file and waits for nobody, so that no mode ever blocks the program.
pub(crate) fn config(record: &Record, log: &LogSpec, data_dir: &Path) -> Result<shim::protocol::Log> {
    use shim::protocol::LogDriver;
    let driver = match log.driver.as_str() {
        "none" => LogDriver::None,
        "json-file" => LogDriver::JsonFile,
        _ => LogDriver::Local,
    };
    let is_remote = logdriver::NAMES.contains(&log.driver.as_str());
    let prefix = if is_remote { "cache-" } else { "" };
    let Files { max_size, max_file, compress } = files(&log.options, prefix, defaults(&log.driver))?;
    let path = data_dir.join(file_name(&record.id, &log.driver));
    // What goes elsewhere has its attributes added there.
    let attrs = if driver == LogDriver::JsonFile { attributes(record, log)? } else { BTreeMap::new() };
    let attrs = attrs.into_iter().collect();
    Ok(shim::protocol::Log { driver, path, max_size, max_file, compress, attrs })
}

/// How much of a log is kept.
struct Files {
    max_size: Option<u64>,
    max_file: u32,
    compress: bool,
}

/// What the options say whose names begin with `prefix`.
fn files(options: &BTreeMap<String, String>, prefix: &str, usual: (u64, u32, bool)) -> Result<Files> {
    let (usual_size, usual_files, usual_compress) = usual;
    let is_local = usual_compress;
    let option = |key: &str| options.get(&format!("{prefix}{key}")).map(String::as_str);
    let max_size = match option("max-size") {
        // `max-size=-1` takes the limit away.
        Some("-1") => None,
        Some(text) => Some(parse_size(text)?),
        None => Some(usual_size),
    };
    let max_file = match option("max-file") {
        None if is_local || option("max-size").is_none() => usual_files,
        None => 1,
        Some(text) => text.parse().ok().filter(|count| *count > 0).ok_or_else(|| {
            Error::invalid(format!(
                "invalid value for {prefix}max-file: \"{text}\": it must be a number of at least 1"
            ))
        })?,
    };
    let compress = match option("compress") {
        None => usual_compress && max_file > 1 && max_size.is_some(),
        Some("false") => false,
        Some("true") => true,
        Some(text) => {
            return Err(Error::invalid(format!("invalid value for {prefix}compress: \"{text}\"")));
        }
    };
    if compress && (max_file < 2 || max_size.is_none()) {
        return Err(Error::invalid(
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ));
    }
    Ok(Files { max_size, max_file, compress })
}

/// What lines are sent with: the tag, and chosen labels and variables.
pub(crate) fn description(record: &Record) -> Result<(String, BTreeMap<String, String>)> {
    let log = &record.spec.log;
    let given = log.options.get("tag").map(String::as_str);
    let template = given.filter(|tag| !tag.is_empty());
    let template = template.unwrap_or_else(|| Driver::default_tag(&log.options, &log.driver));
    let mut attributes = attributes(record, log)?;
    attributes.remove("tag");
    Ok((expand_tag(template, record)?, attributes))
}

/// Labels, environment and tag that are repeated with every line.
fn attributes(record: &Record, log: &LogSpec) -> Result<BTreeMap<String, String>> {
    let labels = record.config.labels.clone().unwrap_or_default();
    // The last of two variables of one name is the program's.
    let env: BTreeMap<String, String> = record
        .spec
        .process
        .env
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut attributes = BTreeMap::new();
    for (source, option) in [(&labels, "labels"), (&env, "env")] {
        let names = log.options.get(option).map(String::as_str).unwrap_or_default();
        for name in names.split(',').map(str::trim) {
            attributes.extend(source.get_key_value(name).map(|(name, value)| (name.clone(), value.clone())));
        }
        let key = format!("{option}-regex");
        let Some(text) = log.options.get(&key).filter(|text| !text.is_empty()) else { continue };
        let pattern = crate::pattern::compile(text)
            .map_err(|error| Error::invalid(format!("log opt '{key}': {error}")))?;
        attributes.extend(matching(source, &pattern));
    }
    if let Some(tag) = log.options.get("tag").filter(|tag| !tag.is_empty()) {
        attributes.insert("tag".to_owned(), expand_tag(tag, record)?);
    }
    Ok(attributes)
}

fn matching<'a>(
    source: &'a BTreeMap<String, String>,
    pattern: &'a Regex,
) -> impl Iterator<Item = (String, String)> + 'a {
    let named = source.iter().filter(|(name, _)| pattern.is_match(name));
    named.map(|(name, value)| (name.clone(), value.clone()))
}

/// A tag template with its words about the container replaced: `{{.Name}}/{{.ID}}`.
fn expand_tag(template: &str, record: &Record) -> Result<String> {
    let image = record.image_id.strip_prefix("sha256:").unwrap_or(&record.image_id);
    let (mut tag, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("{{") {
        tag.push_str(before);
        let (word, after) = after
            .split_once("}}")
            .ok_or_else(|| Error::invalid(format!("log opt 'tag': {template:?} has no end of \"{{{{\"")))?;
        match word.trim() {
            ".ID" => tag.push_str(id::short(&record.id)),
            ".FullID" | ".ContainerID" => tag.push_str(&record.id),
            ".Name" => tag.push_str(&record.name),
            ".ContainerName" => tag.push_str(&format!("/{}", record.name)),
            ".ImageID" => tag.push_str(id::short(image)),
            ".ImageFullID" | ".ContainerImageID" => tag.push_str(&record.image_id),
            ".ImageName" | ".ContainerImageName" => tag.push_str(&record.image_name),
            ".Command" => tag.push_str(&record.spec.process.args.join(" ")),
            ".Hostname" => tag.push_str(&record.spec.hostname),
            ".DaemonName" => tag.push_str("docker"),
            _ => {
                return Err(Error::invalid(format!(
                    "log opt 'tag': {template:?} uses {word:?}, which is not known; known are .ID .FullID .Name \
                     .ImageID .ImageFullID .ImageName .Command .Hostname .DaemonName"
                )));
            }
        }
        rest = after;
    }
    tag.push_str(rest);
    Ok(tag)
}

/// `10m`, `512k`, `1g` or bytes, in powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(driver: &str, options: &[(&str, &str)]) -> LogSpec {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        LogSpec { driver: driver.to_owned(), options }
    }

    /// A driver, its options, and the refusal; empty when there is none.
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

    #[test]
    fn what_a_driver_does_not_take_is_refused() {
        let cases: &[Case] = &[
            ("json-file", &[("max-size", "1m"), ("mode", "non-blocking"), ("max-buffer-size", "4m")], ""),
            ("local", &[("max-size", "1m"), ("mode", "blocking")], ""),
            ("none", &[("anything", "goes")], ""),
            ("local", &[("labels", "a")], "unknown log opt 'labels' for local log driver"),
            ("json-file", &[("mode", "fast")], "logger: logging mode not supported: fast"),
            (
                "json-file",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "json-file",
                &[("mode", "non-blocking"), ("max-buffer-size", "much")],
                "error parsing option max-buffer-size: invalid size: 'much'",
            ),
            (
                "awslogs",
                &[],
                "logger: no log driver named 'awslogs' is registered: this engine has fluentd, gelf, journald, \
                 json-file, local, none, splunk, syslog; send the json-file logs with a collector of the provider's",
            ),
            ("splunk", &[], "splunk: splunk-url is expected"),
            ("gelf", &[("mode", "fast")], "logger: logging mode not supported: fast"),
            ("syslog", &[("max-size", "1m")], "unknown log opt 'max-size' for syslog log driver"),
            ("syslog", &[("cache-disabled", "maybe")], "invalid value for option cache-disabled: maybe"),
            ("syslog", &[("cache-max-size", "much")], "invalid size: 'much'"),
            (
                "syslog",
                &[("cache-max-file", "0")],
                "invalid value for cache-max-file: \"0\": it must be a number of at least 1",
            ),
            ("syslog", &[("cache-foo", "1")], "unknown log opt 'cache-foo' for syslog log driver"),
            ("syslog", &[("cache-disabled", "true"), ("cache-compress", "false")], ""),
            ("journald", &[("mode", "non-blocking"), ("max-buffer-size", "4k"), ("tag", "x")], ""),
            ("json-file", &[("cache-disabled", "true")], ""),
            ("asdf", &[], "logger: no log driver named 'asdf' is registered"),
        ];
        for (driver, options, words) in cases {
            let said =
                validate(&spec(driver, options)).map_or_else(|error| error.message, |()| String::new());
            assert_eq!(said, *words, "{driver} {options:?}");
        }
        let missing = check_socket(&spec("syslog", &[("syslog-address", "unix:///nope")]));
        assert_eq!(missing.unwrap_err().message, "stat /nope: no such file or directory");
    }

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        for (text, size) in
            [("10", Some(10)), ("2k", Some(2048)), ("1MiB", Some(1 << 20)), ("0", None), ("m", None)]
        {
            assert_eq!(parse_size(text).ok(), size, "{text}");
        }
    }
}
