//! Amounts of memory: `512m`, `1.5gib`; the unit is a power of 1024.

/// Bytes, by the rules of Docker's `--memory`.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text.rfind(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == ' ');
    let last = last.ok_or_else(invalid)?;
    let (number, suffix) = match text.as_bytes()[last] {
        b' ' => (&text[..last], &text[last + 1..]),
        _ => text.split_at(last + 1),
    };
    let syntax = || format!("strconv.ParseFloat: parsing {number:?}: invalid syntax");
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let amount: f64 = number.parse().ok().filter(|_| plain).ok_or_else(syntax)?;
    if amount < 0.0 {
        return Err(invalid());
    }
    let factor = factor(&suffix.to_lowercase()).ok_or_else(|| format!("invalid suffix: '{suffix}'"))?;
    // What does not fit is the largest number; the daemon refuses it.
    Ok((amount * factor) as i64)
}

fn factor(suffix: &str) -> Option<f64> {
    let power = match suffix.strip_suffix("ib").or_else(|| suffix.strip_suffix('b')).unwrap_or(suffix) {
        "" if suffix.len() < 2 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some(1024_f64.powi(power))
}

/// As [`parse`], and `-1` for no limit (`--memory-swap`).
pub(crate) fn parse_swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { parse(text) }
}

/// For the table of flags.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

/// For the table of flags.
pub(crate) fn check_swap(text: &str) -> Result<(), String> {
    parse_swap(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("0", 0),
            ("5", 5),
            ("5b", 5),
            ("1k", 1024),
            ("1K", 1024),
            ("1kb", 1024),
            ("1kib", 1024),
            ("1.5 GiB", 1_610_612_736),
            ("64m", 64 << 20),
            ("2t", 2 << 40),
            (".5g", 1 << 29),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("x", "invalid size: 'x'"),
            ("", "invalid size: ''"),
            ("-1", "invalid size: '-1'"),
            ("1x", "invalid suffix: 'x'"),
            ("1gg", "invalid suffix: 'gg'"),
            ("1ib", "invalid suffix: 'ib'"),
            ("1.1.1", "strconv.ParseFloat: parsing \"1.1.1\": invalid syntax"),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()), "{text}");
        }
        assert_eq!(parse_swap("-1"), Ok(-1));
    }
}
