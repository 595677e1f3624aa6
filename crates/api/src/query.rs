//! Values of query parameters, and durations, as Go reads them.

/// Docker's rule for flags in a query: empty, `0`, `no`, `false` and `none` are false, anything else is true.
pub fn bool_value(text: &str) -> bool {
    !matches!(text.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
}

/// Go's `strconv.ParseBool`, which is strict.
pub fn strict_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `time.ParseDuration`: `1h30m`, `1.5s`, `-100ms`, `0`. Nanoseconds; `None` when it is not one or too long.
pub fn duration_nanos(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let unit = rest[number..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |at| number + at);
        let scale: i128 = match &rest[number..unit] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(scaled(&rest[..number], scale)?)?;
        rest = &rest[unit..];
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// `number` with an optional fraction, times `scale`, cut off below one.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 20 {
        return None;
    }
    let mut value = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()?.checked_mul(scale)? };
    let mut unit = scale;
    for digit in fraction.bytes().take(18) {
        value += i128::from(digit - b'0') * unit / 10;
        unit /= 10;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_lenient() {
        for text in ["", "0", "no", "false", "None", " FALSE ", " "] {
            assert!(!bool_value(text), "{text:?}");
        }
        for text in ["1", "True", "yes", "2", "x"] {
            assert!(bool_value(text), "{text:?}");
        }
        assert_eq!(strict_bool("yes"), None);
        assert_eq!(strict_bool("T"), Some(true));
    }

    #[test]
    fn durations_are_go_durations() {
        let check = |text, nanos| assert_eq!(duration_nanos(text), nanos, "{text:?}");
        check("0", Some(0));
        check("1h30m", Some(5_400_000_000_000));
        check("1.5s", Some(1_500_000_000));
        check("-100ms", Some(-100_000_000));
        check(".5s", Some(500_000_000));
        check("3µs", Some(3_000));
        check("10", None);
        check("", None);
        check("-", None);
        check("s", None);
        check("1.s", Some(1_000_000_000));
        check("1.2.3s", None);
        check("1d", None);
        check("99999999999h", None);
    }
}
