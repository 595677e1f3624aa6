//! Moments as text: RFC 3339 in UTC, as image documents and Docker's API have them.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present as seconds since 1970 and nanoseconds.
pub(crate) fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or_default(), since.subsec_nanos())
}

/// The present in whole seconds since 1970.
pub(crate) fn now_seconds() -> i64 {
    now().0
}

/// The present as text.
pub(crate) fn now_text() -> String {
    let (seconds, nanoseconds) = now();
    format(seconds, nanoseconds)
}

/// A moment as Go prints it (RFC 3339 with as many digits of the fraction as are needed).
pub(crate) fn format(seconds: i64, nanoseconds: u32) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let fraction = match nanoseconds {
        0 => String::new(),
        nanoseconds => format!(".{}", format!("{nanoseconds:09}").trim_end_matches('0')),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// The seconds since 1970 of an RFC 3339 text; `None` when it is none.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let separator =
        |at: usize, allowed: &[u8]| text.as_bytes().get(at).is_some_and(|byte| allowed.contains(byte));
    if !(separator(4, b"-")
        && separator(7, b"-")
        && separator(10, b"Tt ")
        && separator(13, b":")
        && separator(16, b":"))
    {
        return None;
    }
    let days = days_of(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match rest {
        "Z" | "z" => 0,
        rest => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60)
        }
    };
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days since 1970-01-01 as a date of the Gregorian calendar.
fn date_of(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01 in eras of 400 years, so that the leap day is the last of a year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = (month + 9) % 12;
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_printed_as_go_prints_them() {
        assert_eq!(format(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(format(1_700_000_000, 120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(format(-62_135_596_800, 0), "0001-01-01T00:00:00Z");
        assert_eq!(format(951_782_399, 1), "2000-02-28T23:59:59.000000001Z");
    }

    #[test]
    fn what_is_printed_is_parsed() {
        for seconds in [0, 1, 951_782_400, 1_709_164_800, 4_102_444_800, -86_400, -62_135_596_800] {
            assert_eq!(parse(&format(seconds, 5)), Some(seconds));
        }
        assert_eq!(parse("2023-11-14T23:13:20+01:00"), Some(1_700_000_000));
        assert_eq!(parse("2023-11-14T21:13:20.5-01:00"), Some(1_700_000_000));
        for text in ["", "yesterday", "2023-13-01T00:00:00Z", "2023-11-14T22:13:20", "2023-1-1T0:0:0Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
