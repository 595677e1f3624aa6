//! Points in time as the API prints and reads them.

pub use timestamp::Timestamp;

/// What Docker prints for a time that never came.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// What a time that is not told in full lacks at its end: down to the second, in UTC.
const ENDS: &[&str] = &["", "Z", ":00Z", ":00:00Z", "T00:00:00Z"];

/// Reads `1136073600`, `1136073600.000000001` as the parameters `since` and `until` have it, and RFC 3339, of which the
/// end may be missing: `2006-01-02`, `2006-01-02T15:04`.
pub fn parse_parameter(text: &str) -> Result<Timestamp, String> {
    let is_date = text.get(4..5) == Some("-");
    let whole = |end: &&str| format!("{text}{end}").parse().ok();
    if let Some(time) = ENDS.iter().filter(|_| is_date).find_map(whole) {
        return Ok(time);
    }
    let invalid = || format!("failed to parse value as time or duration: {text:?}");
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| invalid())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let nanos = format!("{:0<9}", fraction.get(..9).unwrap_or(fraction)).parse().map_err(|_| invalid())?;
    Ok(Timestamp::new(seconds, nanos))
}

/// How long, in Docker's words: `Less than a second`, `About a minute`, `3 weeks`.
pub fn human_duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds as f64 / 3600.0).round() as i64;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_roughly() {
        const HOUR: i64 = 3600;
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR * 3 / 2 - 1, "About an hour"),
            (HOUR * 3 / 2, "2 hours"),
            (HOUR * 47, "47 hours"),
            (HOUR * 48, "2 days"),
            (HOUR * 24 * 14, "2 weeks"),
            (HOUR * 24 * 60, "2 months"),
            (HOUR * 24 * 365 * 2, "2 years"),
        ] {
            assert_eq!(human_duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn parameters_are_seconds_with_a_fraction() {
        let check = |text: &str, seconds, nanos| {
            assert_eq!(parse_parameter(text), Ok(Timestamp::new(seconds, nanos)), "{text}");
        };
        check("1136073600", 1_136_073_600, 0);
        check("2006-01-01", 1_136_073_600, 0);
        check("2006-01-01T00", 1_136_073_600, 0);
        check("2006-01-01T00:00", 1_136_073_600, 0);
        check("2006-01-01T00:00:00.5", 1_136_073_600, 500_000_000);
        check("1136073600.000000001", 1_136_073_600, 1);
        check("1136073600.5", 1_136_073_600, 500_000_000);
        check("1136073600.1234567891", 1_136_073_600, 123_456_789);
        check("2006-01-01T00:00:00Z", 1_136_073_600, 0);
        assert!(parse_parameter("10m").is_err());
        assert!(parse_parameter("1.-5").is_err());
    }

    #[test]
    fn never_is_the_first_moment() {
        assert_eq!(Timestamp::MIN.to_string(), ZERO);
    }
}
