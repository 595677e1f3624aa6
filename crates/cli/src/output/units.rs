//! Sizes and times in words: `1.23MB`, `2 hours ago`, `About a minute`.

/// A size in powers of 1000 with three significant digits: `1.23MB`.
pub(crate) fn human_size(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], 3)
}

/// A size in powers of 1000 with four significant digits: `1.234MB`.
pub(crate) fn human_size_precise(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], 4)
}

/// A size in powers of 1024: `1.5GiB`.
pub(crate) fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"], 4)
}

fn scaled(mut amount: f64, base: f64, units: &[&str], digits: i32) -> String {
    let mut unit = 0;
    while amount >= base && unit + 1 < units.len() {
        amount /= base;
        unit += 1;
    }
    format!("{}{}", significant(amount, digits), units[unit])
}

/// Go's `%.Ng`: so many significant digits, no zeros at the end, an exponent for the very large and small.
fn significant(amount: f64, digits: i32) -> String {
    if amount == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:.*e}", usize::try_from(digits - 1).unwrap_or_default(), amount);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(digits - 1 - exponent).unwrap_or_default();
    trim(&format!("{amount:.decimals$}"))
}

/// The first twelve digits of an identifier; a digest loses the name of its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// At most `width` characters, the last of them an ellipsis if something is missing.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    if width <= 1 { text.chars().take(width).collect() } else { kept.chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_few_digits_and_a_unit() {
        for (bytes, three, four) in [
            (0.0, "0B", "0B"),
            (999.0, "999B", "999B"),
            (1000.0, "1kB", "1kB"),
            (1234.0, "1.23kB", "1.234kB"),
            (4_261_550.0, "4.26MB", "4.262MB"),
            (77_800_000.0, "77.8MB", "77.8MB"),
            (999_999.0, "1e+03kB", "1000kB"),
        ] {
            assert_eq!(human_size(bytes), three);
            assert_eq!(human_size_precise(bytes), four);
        }
        assert_eq!(binary_size(1536.0), "1.5KiB");
        assert_eq!(binary_size(24_696_061_952.0), "23GiB");
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("abcdefg", 6), "abcde…");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("abc"), "abc");
    }
}
