//! `--since` and `--until`: a moment, or how long ago.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::duration;

/// Seconds since 1970 with nanoseconds after the dot, as the API takes them. A time without a zone is local time.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<String, String> {
    if text == "0" || text.is_empty() {
        return Ok(text.to_owned());
    }
    if let Ok(ago) = duration::parse(text) {
        let seconds =
            (i128::from(now.as_second()) * 1_000_000_000 - i128::from(ago)).div_euclid(1_000_000_000);
        return Ok(seconds.to_string());
    }
    if let Some(moment) = moment(text) {
        return Ok(format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond()));
    }
    let (seconds, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    if digits(seconds) && digits(part) && seconds.parse::<i64>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("failed to parse value as time or duration: {text:?}"))
}

fn moment(text: &str) -> Option<Timestamp> {
    if text.contains('T') && (text.ends_with('Z') || text.rfind(['+', '-']) > text.find('T')) {
        return text.parse().ok();
    }
    let local = match text.split_once('T') {
        Some((_, time)) if !time.contains(':') => format!("{text}:00").parse::<DateTime>().ok()?,
        Some(_) => text.parse::<DateTime>().ok()?,
        None if text.contains('-') => text.parse::<Date>().ok()?.at(0, 0, 0, 0),
        None => return None,
    };
    Some(local.to_zoned(TimeZone::system()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_given_or_counted_back() {
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let check =
            |text: &str, expected: &str| assert_eq!(parse(text, now), Ok(expected.to_owned()), "{text}");
        check("10m", "999400");
        check("1970-01-02T00:00:00Z", "86400.000000000");
        check("1970-01-02T01:00:00.5+01:00", "86400.500000000");
        check("1234", "1234");
        check("1234.5", "1234.5");
        check("0", "0");
        assert_eq!(parse("x", now), Err("failed to parse value as time or duration: \"x\"".to_owned()));
        assert!(parse("2020-13-01", now).is_err());
    }
}
