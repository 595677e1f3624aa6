//! Points in time as the API prints and reads them. UTC, and no clock.

/// What Docker prints for a time that never came.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// Seconds and nanoseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// From nanoseconds since 1970.
    pub fn from_unix_nanos(nanos: i128) -> Timestamp {
        let seconds = nanos.div_euclid(1_000_000_000);
        Timestamp { seconds: seconds as i64, nanos: nanos.rem_euclid(1_000_000_000) as u32 }
    }

    /// Nanoseconds since 1970.
    pub fn unix_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }

    /// Go's `RFC3339Nano`: no fraction when it is zero, and none of its trailing zeros.
    pub fn rfc3339_nano(self) -> String {
        let mut text = self.date_time();
        if self.nanos != 0 {
            text.push_str(format!(".{:09}", self.nanos).trim_end_matches('0'));
        }
        text.push('Z');
        text
    }

    /// With exactly nine digits, as lines of logs have it.
    pub fn rfc3339_nano_fixed(self) -> String {
        format!("{}.{:09}Z", self.date_time(), self.nanos)
    }

    /// Whole seconds: `2026-11-21T03:28:00Z`.
    pub fn rfc3339(self) -> String {
        format!("{}Z", self.date_time())
    }

    fn date_time(self) -> String {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(86_400));
        let second = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }

    /// Reads RFC 3339 with any fraction (to nanoseconds) and any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let part = text.get(from..to)?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let at = |index: usize, wanted: &[u8]| bytes.get(index).is_some_and(|byte| wanted.contains(byte));
        if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":")) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut nanos = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction.len() - fraction.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 0 {
                return None;
            }
            nanos = format!("{:0<9}", &fraction[..digits.min(9)]).parse().ok()?;
            rest = &fraction[digits..];
        }
        let offset = parse_offset(rest)?;
        let seconds =
            days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
        Some(Timestamp { seconds, nanos })
    }

    /// Reads `1136073600`, `1136073600.000000001` as the parameters `since` and `until` have it, and RFC 3339.
    pub fn parse_parameter(text: &str) -> Result<Timestamp, String> {
        if let Some(time) = Timestamp::parse_rfc3339(text) {
            return Ok(time);
        }
        let invalid = || format!("failed to parse value as time or duration: {text:?}");
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds: i64 = seconds.parse().map_err(|_| invalid())?;
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let nanos =
            format!("{:0<9}", fraction.get(..9).unwrap_or(fraction)).parse().map_err(|_| invalid())?;
        Ok(Timestamp { seconds, nanos })
    }
}

/// Seconds east of UTC from `Z`, `+02:00`.
fn parse_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2
        || minutes.len() != 2
        || !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
    {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; years counted from March make leap days the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads() {
        let check = |seconds, nanos, printed: &str| {
            let time = Timestamp { seconds, nanos };
            assert_eq!(time.rfc3339_nano(), printed);
            assert_eq!(Timestamp::parse_rfc3339(printed), Some(time));
        };
        check(0, 0, "1970-01-01T00:00:00Z");
        check(-1, 999_999_999, "1969-12-31T23:59:59.999999999Z");
        check(951_782_400, 120_000_000, "2000-02-29T00:00:00.12Z");
        check(1_795_231_680, 1, "2026-11-21T03:28:00.000000001Z");
        check(-62_135_596_800, 0, ZERO);
        check(4_107_542_399, 500, "2100-02-28T23:59:59.0000005Z");
    }

    #[test]
    fn offsets_are_taken_off() {
        let time = Timestamp::parse_rfc3339("2026-11-21T05:28:00.5+02:00").unwrap();
        assert_eq!(time.rfc3339_nano(), "2026-11-21T03:28:00.5Z");
        assert_eq!(time.rfc3339_nano_fixed(), "2026-11-21T03:28:00.500000000Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-21",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T03:28:00",
            "2026-11-21T24:00:00Z",
            "2026-11-21T03:28:00.Z",
            "2026-11-21T03:28:00+2:0",
            "ééééééééééééééééééé",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn parameters_are_seconds_with_a_fraction() {
        let check = |text: &str, seconds, nanos| {
            assert_eq!(Timestamp::parse_parameter(text), Ok(Timestamp { seconds, nanos }), "{text}");
        };
        check("1136073600", 1_136_073_600, 0);
        check("1136073600.000000001", 1_136_073_600, 1);
        check("1136073600.5", 1_136_073_600, 500_000_000);
        check("1136073600.1234567891", 1_136_073_600, 123_456_789);
        check("2006-01-01T00:00:00Z", 1_136_073_600, 0);
        assert!(Timestamp::parse_parameter("10m").is_err());
        assert!(Timestamp::parse_parameter("1.-5").is_err());
    }
}
