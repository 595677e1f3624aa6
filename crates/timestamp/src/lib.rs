//! A moment in UTC with nanoseconds, printed and parsed as RFC 3339, as logs, records, image documents and the API hold it.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const SECONDS_PER_DAY: i64 = 86_400;

/// A moment: nanoseconds of UTC. Ordered by time.
///
/// `Display` prints RFC 3339 with as many fraction digits as are needed (Go's `RFC3339Nano`): `2026-11-21T03:43:07.5Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time as in 2026-11-21T03:43:07.123456789Z (RFC 3339)")]
pub struct InvalidTimestamp(String);

impl Timestamp {
    /// The first moment that can be printed: year 1.
    pub const MIN: Self = Self { seconds: -62_135_596_800, nanoseconds: 0 };
    /// The last moment that can be printed: the end of year 9999.
    pub const MAX: Self = Self { seconds: 253_402_300_799, nanoseconds: 999_999_999 };

    /// The time of this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Self::new(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                let seconds = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Self::new(seconds, 0),
                    nanoseconds => Self::new(seconds - 1, 1_000_000_000 - nanoseconds),
                }
            }
        }
    }

    /// A moment from seconds since 1970 and nanoseconds (below one second); what is out of range is clamped.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        let moment = Self { seconds, nanoseconds: nanoseconds.min(999_999_999) };
        moment.clamp(Self::MIN, Self::MAX)
    }

    /// From nanoseconds since 1970; what is out of range is clamped.
    #[must_use]
    pub fn from_unix_nanos(nanos: i128) -> Self {
        let nanos = nanos.clamp(Self::MIN.unix_nanos(), Self::MAX.unix_nanos());
        Self::new(nanos.div_euclid(1_000_000_000) as i64, nanos.rem_euclid(1_000_000_000) as u32)
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn unix_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }

    /// Seconds since 1970, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`Self::seconds`].
    #[must_use]
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// RFC 3339 with all nine digits of the fraction: `2026-11-21T03:43:07.500000000Z`, what `docker logs -t` prints.
    #[must_use]
    pub fn to_fixed(self) -> String {
        let mut text = Vec::with_capacity(30);
        self.append_seconds(&mut text);
        text.extend_from_slice(format!(".{:09}Z", self.nanoseconds).as_bytes());
        String::from_utf8_lossy(&text).into_owned()
    }

    /// RFC 3339 without a fraction: `2026-11-21T03:43:07Z`.
    #[must_use]
    pub fn to_seconds(self) -> String {
        let whole = Self { nanoseconds: 0, ..self };
        whole.to_string()
    }

    /// Appends the printed form.
    pub fn append(self, text: &mut Vec<u8>) {
        self.append_seconds(text);
        self.append_fraction(text);
    }

    /// Appends `2026-11-21T03:43:07`.
    pub fn append_seconds(self, text: &mut Vec<u8>) {
        let days = self.seconds.div_euclid(SECONDS_PER_DAY);
        let second = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        for place in [1000, 100, 10, 1] {
            text.push(b'0' + u8::try_from(year / place % 10).unwrap_or(0));
        }
        let parts = [
            (b'-', month),
            (b'-', day),
            (b'T', second / 3600),
            (b':', second / 60 % 60),
            (b':', second % 60),
        ];
        for (separator, value) in parts {
            text.push(separator);
            for digit in [value / 10, value % 10] {
                text.push(b'0' + u8::try_from(digit).unwrap_or(0));
            }
        }
    }

    /// Appends the fraction without trailing zeros, and `Z`.
    pub fn append_fraction(self, text: &mut Vec<u8>) {
        if self.nanoseconds != 0 {
            let mut digits = [b'0'; 9];
            let mut rest = self.nanoseconds;
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
            let length = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
            text.push(b'.');
            text.extend_from_slice(&digits[..length]);
        }
        text.push(b'Z');
    }

    /// Parses RFC 3339, any offset from UTC, up to nine digits of a fraction (more are cut).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            text.get(range)?
                .iter()
                .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
        };
        let separators = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
        if separators.iter().any(|(at, separator)| text.get(*at..at + 1) != Some(separator.as_slice()))
            || !matches!(text.get(10), Some(b'T' | b't' | b' '))
        {
            return None;
        }
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (nanoseconds, offset_at) = parse_fraction(text)?;
        let offset = parse_offset(text.get(offset_at..)?)?;
        let seconds =
            days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
        let moment = Self { seconds, nanoseconds };
        (Self::MIN..=Self::MAX).contains(&moment).then_some(moment)
    }
}

/// The nanoseconds of a fraction that starts at byte 19, and where the offset starts.
fn parse_fraction(text: &[u8]) -> Option<(u32, usize)> {
    if text.get(19) != Some(&b'.') {
        return Some((0, 19));
    }
    let digits = text.get(20..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let value = (0..9).fold(0, |value, place| {
        let digit = if place < digits { text[20 + place] - b'0' } else { 0 };
        value * 10 + u32::from(digit)
    });
    Some((value, 20 + digits))
}

/// Seconds east of UTC of `Z`, `+hh:mm` or `-hh:mm`.
fn parse_offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) =>
        {
            let two = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
            let (hours, minutes) = (two(*h1, *h2), two(*m1, *m2));
            let seconds = hours * 3600 + minutes * 60;
            (hours <= 23 && minutes <= 59).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of a day number (0 is 1970-01-01) in the proleptic Gregorian calendar.
///
/// Counts in 400-year eras that start on 1 March, so that the leap day is the last one of its year.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// The day number of a date; the inverse of [`civil_from_days`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(30);
        self.append(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes()).ok_or_else(|| InvalidTimestamp(text.chars().take(64).collect()))
    }
}

impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> Self {
        moment.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_as_go_prints_them() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_795_232_587, 500_000_000, "2026-11-21T03:43:07.5Z"),
            (1_795_232_587, 1, "2026-11-21T03:43:07.000000001Z"),
            (1_795_232_587, 123_456_780, "2026-11-21T03:43:07.12345678Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59Z"),
        ];
        for (seconds, nanoseconds, text) in cases {
            let moment = Timestamp::new(seconds, nanoseconds);
            assert_eq!(moment.to_string(), text);
            assert_eq!(text.parse(), Ok(moment));
        }
        assert_eq!(Timestamp::new(0, 5).to_fixed(), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(Timestamp::new(0, 5).to_seconds(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_unix_nanos(-1), Timestamp::new(-1, 999_999_999));
        assert_eq!(Timestamp::from_unix_nanos(i128::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::new(-1, 5).unix_nanos(), -999_999_995);
    }

    #[test]
    fn every_day_of_eight_centuries_survives_a_round_trip() {
        let mut previous = (0, 0, 0);
        for days in -146_097..146_097 {
            let date = civil_from_days(days);
            assert!(date > previous || days == -146_097, "{previous:?} then {date:?}");
            assert_eq!(days_from_civil(date.0, date.1, date.2), days);
            previous = date;
        }
    }

    #[test]
    fn offsets_and_long_fractions_are_understood_and_nonsense_is_not() {
        let expected = Timestamp::new(1_795_232_587, 123_456_789);
        for text in ["2026-11-21T05:43:07.1234567891+02:00", "2026-11-20t22:13:07.123456789-05:30"] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-11-21T03:43:07",
            "2026-11-21T03:43:07.Z",
            "2026-13-21T03:43:07Z",
            "2026-02-29T03:43:07Z",
            "2026-11-21T24:43:07Z",
            "2026-11-21T03:43:07+2:0",
            "2026-11-21T03:43:07+24:00",
            "ééééééééééééééééééé",
            "a026-11-21T03:43:07Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
