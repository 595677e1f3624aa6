//! Values of options, refused in the words of Go's library, which is what Docker prints.

use std::time::Duration;

use crate::{DESCRIPTION, Error, Options};

/// Refuses options that are neither the driver's own nor descriptions of lines.
pub(crate) fn known(driver: &str, options: &Options, own: &[&str]) -> Result<(), Error> {
    let foreign =
        options.keys().find(|key| !own.contains(&key.as_str()) && !DESCRIPTION.contains(&key.as_str()));
    match foreign {
        Some(key) if driver == "gelf" => {
            Err(Error::new(format!("unknown log opt {key:?} for gelf log driver")))
        }
        Some(key) => Err(Error::new(format!("unknown log opt '{key}' for {driver} log driver"))),
        None => Ok(()),
    }
}

/// A value that is there and not empty.
pub(crate) fn given<'a>(options: &'a Options, key: &str) -> Option<&'a str> {
    options.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// A truth value; `None` when it is not there.
pub(crate) fn boolean(options: &Options, key: &str) -> Result<Option<bool>, Error> {
    given(options, key).map(parse_bool).transpose()
}

fn parse_bool(text: &str) -> Result<bool, Error> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::new(format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))),
    }
}

/// A number that is not negative.
pub(crate) fn number(options: &Options, key: &str) -> Result<Option<u64>, Error> {
    let parse = |text: &str| {
        text.parse().map_err(|_| Error::new(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")))
    };
    given(options, key).map(parse).transpose()
}

/// Go's duration: `1.5s`, `300ms`, `1h2m`.
pub(crate) fn duration(options: &Options, key: &str) -> Result<Option<Duration>, Error> {
    let parse = |text: &str| {
        parse_duration(text).ok_or_else(|| Error::new(format!("time: invalid duration {text:?}")))
    };
    given(options, key).map(parse).transpose()
}

/// No longer than a day: what waits longer has been forgotten.
fn parse_duration(text: &str) -> Option<Duration> {
    const LONGEST: f64 = 86_400.0;
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text.strip_prefix('+').unwrap_or(text), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, scale) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        seconds += value * scale;
    }
    Duration::try_from_secs_f64(seconds.min(LONGEST)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let cases = [
            ("300ms", Some(0.3)),
            ("1h2m", Some(3720.0)),
            ("1.5s", Some(1.5)),
            ("0", Some(0.0)),
            ("100000h", Some(86_400.0)),
            ("foo", None),
            ("-1s", None),
            ("5", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_duration(text).map(|value| value.as_secs_f64()), seconds, "{text}");
        }
    }
}
