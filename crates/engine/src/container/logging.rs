//! What the options of a container's log mean: files and their sizes, and what is repeated with each line.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;

use super::record::Record;
use super::spec::LogSpec;
use crate::{Error, Result, id};

/// Name of the log file in a container's directory.
pub(crate) fn file_name(container_id: &str, driver: &str) -> String {
    format!("{container_id}-{}.log", if driver == "local" { "local" } else { "json" })
}

/// Sizes that hold when nobody says: bytes of one file, files, whether old ones are compressed.
///
/// For `json-file` a limit that few programs reach, but no disk is filled; for `local` Docker's.
fn defaults(driver: &str) -> (u64, u32, bool) {
    if driver == "local" { (20 << 20, 5, true) } else { (256 << 20, 4, false) }
}

/// Options that every driver takes.
const COMMON: &[&str] = &["mode", "max-buffer-size"];

/// The options that a driver takes; `None` for a driver that is not there.
fn known(driver: &str) -> Option<&'static [&'static str]> {
    Some(match driver {
        "json-file" => {
            &["max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"]
        }
        "local" => &["max-size", "max-file", "compress"],
        "none" => &[],
        _ => return None,
    })
}

/// Drivers of Docker's that send elsewhere.
const REMOTE: &[&str] =
    &["awslogs", "fluentd", "gcplogs", "gelf", "journald", "splunk", "syslog", "etwlogs", "logentries"];

/// Refuses a driver that is not there, options that it does not take, and modes that are none.
pub(crate) fn validate(log: &LogSpec) -> Result<()> {
    let LogSpec { driver, options } = log;
    let known = known(driver).ok_or_else(|| {
        let words = format!("logger: no log driver named '{driver}' is registered");
        if REMOTE.contains(&driver.as_str()) {
            return Error::invalid(format!("{words}: this engine has json-file, local and none"));
        }
        Error::invalid(words)
    })?;
    if driver == "none" {
        return Ok(());
    }
    let foreign =
        options.keys().find(|key| !known.contains(&key.as_str()) && !COMMON.contains(&key.as_str()));
    if let Some(key) = foreign {
        return Err(Error::invalid(format!("unknown log opt '{key}' for {driver} log driver")));
    }
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

/// What the shim is told about the log.
///
/// `mode` needs nothing: the shim writes to its own file and waits for nobody, so that no mode ever blocks the program.
pub(crate) fn config(record: &Record, log: &LogSpec, data_dir: &Path) -> Result<shim::protocol::Log> {
    use shim::protocol::LogDriver;
    let driver = match log.driver.as_str() {
        "none" => LogDriver::None,
        "local" => LogDriver::Local,
        _ => LogDriver::JsonFile,
    };
    let (usual_size, usual_files, usual_compress) = defaults(&log.driver);
    let is_local = log.driver == "local";
    let option = |key: &str| log.options.get(key).map(String::as_str);
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
                "invalid value for max-file: \"{text}\": it must be a number of at least 1"
            ))
        })?,
    };
    let compress = match option("compress") {
        None => usual_compress && max_file > 1 && max_size.is_some(),
        Some("false") => false,
        Some("true") => true,
        Some(text) => return Err(Error::invalid(format!("invalid value for compress: \"{text}\""))),
    };
    if compress && (max_file < 2 || max_size.is_none()) {
        return Err(Error::invalid(
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ));
    }
    let path = data_dir.join(file_name(&record.id, &log.driver));
    Ok(shim::protocol::Log { driver, path, max_size, max_file, compress, attrs: attributes(record, log)? })
}

/// Labels, environment and tag that are repeated with every line.
fn attributes(record: &Record, log: &LogSpec) -> Result<Vec<(String, String)>> {
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
    Ok(attributes.into_iter().collect())
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
                "splunk",
                &[],
                "logger: no log driver named 'splunk' is registered: this engine has json-file, local and none",
            ),
            ("asdf", &[], "logger: no log driver named 'asdf' is registered"),
        ];
        for (driver, options, words) in cases {
            let said =
                validate(&spec(driver, options)).map_or_else(|error| error.message, |()| String::new());
            assert_eq!(said, *words, "{driver} {options:?}");
        }
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
