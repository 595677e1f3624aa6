//! Words of settings as values: numbers, sizes, paths, addresses; refused with the name of the flag.

use std::net::IpAddr;
use std::path::PathBuf;

use super::ConfigError;
use super::settings::Settings;

/// A whole number.
pub(super) fn number<T: std::str::FromStr>(
    settings: &Settings,
    name: &str,
    default: T,
) -> Result<T, ConfigError> {
    match settings.last(name) {
        None => Ok(default),
        Some(word) => word.parse().map_err(|_| refused(name, word, "it must be a whole number")),
    }
}

/// A whole number; what zero means is up to whoever asks.
pub(super) fn positive(settings: &Settings, name: &str, default: u32, zero: u32) -> Result<u32, ConfigError> {
    match number::<i64>(settings, name, i64::from(default))? {
        0 => Ok(zero),
        1.. => number(settings, name, default),
        other => Err(ConfigError::Invalid(format!("invalid {}: {other}", name.replace('-', " ")))),
    }
}

/// A size in bytes, above zero.
pub(super) fn bytes(settings: &Settings, name: &str, default: i64) -> Result<i64, ConfigError> {
    match settings.last(name) {
        None => Ok(default),
        Some(word) => size(word).ok_or_else(|| refused(name, word, "it must be a size such as 64m")),
    }
}

/// An absolute path.
pub(super) fn absolute(settings: &Settings, name: &str, default: &str) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(settings.last(name).unwrap_or(default));
    if path.is_absolute() {
        Ok(path)
    } else {
        let shown = path.display().to_string();
        Err(ConfigError::Invalid(format!("--{name} must be an absolute path: {shown:?}")))
    }
}

/// One of a few words; `None` when nothing is said.
pub(super) fn one_of(
    settings: &Settings,
    name: &str,
    allowed: &[&str],
) -> Result<Option<String>, ConfigError> {
    match settings.last(name) {
        None | Some("") => Ok(None),
        Some(word) if allowed.contains(&word) => Ok(Some(word.to_owned())),
        Some(word) => Err(refused(name, word, &format!("it must be {}", allowed.join(" or ")))),
    }
}

/// IP addresses, each in a word of its own.
pub(super) fn addresses(settings: &Settings, name: &str) -> Result<Vec<IpAddr>, ConfigError> {
    let read =
        |word: &String| word.trim().parse().map_err(|_| refused(name, word, "it must be an IP address"));
    settings.all(name).iter().map(read).collect()
}

/// `name=value` words.
pub(super) fn pairs(settings: &Settings, name: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let read = |word: &String| {
        let pair = word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| refused(name, word, "it must be name=value"))
    };
    settings.all(name).iter().map(read).collect()
}

/// What is wrong with the word of a flag.
pub(super) fn refused(name: &str, word: &str, why: &str) -> ConfigError {
    ConfigError::Invalid(format!("--{name} {word:?}: {why}"))
}

/// `64m`, `1g`, `65536`: bytes in powers of 1024.
pub(super) fn size(word: &str) -> Option<i64> {
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
