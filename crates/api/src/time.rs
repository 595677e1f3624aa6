//! Points in time as the API prints and reads them.

pub use timestamp::Timestamp;

/// What Docker prints for a time that never came.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// Reads `1136073600`, `1136073600.000000001` as the parameters `since` and `until` have it, and RFC 3339.
pub fn parse_parameter(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_seconds_with_a_fraction() {
        let check = |text: &str, seconds, nanos| {
            assert_eq!(parse_parameter(text), Ok(Timestamp::new(seconds, nanos)), "{text}");
        };
        check("1136073600", 1_136_073_600, 0);
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
