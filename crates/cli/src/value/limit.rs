//! Limits: processors, `--ulimit`, rates and weights of block devices.

use serde_json::{Value, json};

use super::bytes;
use crate::grammar::{parse_int, parse_uint};

/// Processors as billionths (`--cpus`): a decimal, a fraction `3/2`, or with an exponent.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, String> {
    let failed = || format!("failed to parse {text} as a rational number");
    let (top, bottom) = match text.split_once('/') {
        Some((top, bottom)) => {
            (top, bottom.parse::<u32>().ok().filter(|bottom| *bottom > 0).ok_or_else(failed)?)
        }
        None => (text, 1),
    };
    let (mantissa, exponent) = match top.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| failed())?),
        None => (top, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let joined = format!("{whole}{part}");
    if joined.is_empty() || joined.len() > 30 || !joined.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(failed());
    }
    let number: i128 = joined.parse().map_err(|_| failed())?;
    let shift = 9 + exponent - i32::try_from(part.len()).map_err(|_| failed())?;
    let power = 10_i128.checked_pow(shift.unsigned_abs()).ok_or_else(failed)?;
    let (top, bottom) = if shift >= 0 {
        (number.checked_mul(power).ok_or_else(failed)?, i128::from(bottom))
    } else {
        (number, power.checked_mul(i128::from(bottom)).ok_or_else(failed)?)
    };
    if top % bottom != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(sign * (top / bottom)).map_err(|_| failed())
}

/// For the table of flags.
pub(crate) fn check_cpus(text: &str) -> Result<(), String> {
    nano_cpus(text).map(drop)
}

/// For the table of flags: `--blkio-weight`.
pub(crate) fn check_uint16(text: &str) -> Result<(), String> {
    parse_uint(text, 16).map(drop)
}

/// For the table of flags: unsigned, 64 bits.
pub(crate) fn check_uint64(text: &str) -> Result<(), String> {
    parse_uint(text, 64).map(drop)
}

/// Bits of modes (`--umask`): octal, with or without zeros before it.
pub(crate) fn umask(text: &str) -> Result<u32, String> {
    let failed = |why: &str| format!("strconv.ParseUint: parsing {text:?}: {why}");
    if text.is_empty() || !text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return Err(failed("invalid syntax"));
    }
    u32::from_str_radix(text, 8).map_err(|_| failed("value out of range"))
}

/// For the table of flags.
pub(crate) fn check_umask(text: &str) -> Result<(), String> {
    umask(text).map(drop)
}

/// `name=soft[:hard]` → `{Name, Hard, Soft}`.
pub(crate) fn ulimit(text: &str) -> Result<Value, String> {
    let (name, limits) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !api::host_config::ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let mut parts = limits.split(':');
    let soft = parse_int(parts.next().unwrap_or_default())?;
    let hard = parts.next().map(parse_int).transpose()?.unwrap_or(soft);
    if parts.next().is_some() {
        return Err(format!(
            "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        ));
    }
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(json!({ "Name": name, "Hard": hard, "Soft": soft }))
}

/// For the table of flags.
pub(crate) fn check_ulimit(text: &str) -> Result<(), String> {
    ulimit(text).map(drop)
}

fn device_and_value(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text.split_once(':').ok_or_else(|| format!("bad format: {text}"))?;
    if path.starts_with("/dev/") {
        Ok((path, value))
    } else {
        Err(format!("bad format for device path: {text}"))
    }
}

/// `/dev/x:1mb` → `{Path, Rate}` in bytes per second.
pub(crate) fn bytes_per_second(text: &str) -> Result<Value, String> {
    let (path, rate) = device_and_value(text)?;
    let rate = bytes::parse(rate).map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. \
             Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok(json!({ "Path": path, "Rate": rate }))
}

/// `/dev/x:1000` → `{Path, Rate}` in operations per second.
pub(crate) fn operations_per_second(text: &str) -> Result<Value, String> {
    let (path, rate) = device_and_value(text)?;
    let rate: u64 = rate.parse().map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. \
             Number must be a positive integer"
        )
    })?;
    Ok(json!({ "Path": path, "Rate": rate }))
}

/// `/dev/x:500` → `{Path, Weight}`.
pub(crate) fn weight(text: &str) -> Result<Value, String> {
    let (path, weight) = device_and_value(text)?;
    let fits = |weight: &u16| *weight == 0 || (10..=1000).contains(weight);
    let weight: u16 =
        weight.parse().ok().filter(fits).ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(json!({ "Path": path, "Weight": weight }))
}

/// For the table of flags.
pub(crate) fn check_bytes_per_second(text: &str) -> Result<(), String> {
    bytes_per_second(text).map(drop)
}

/// For the table of flags.
pub(crate) fn check_operations_per_second(text: &str) -> Result<(), String> {
    operations_per_second(text).map(drop)
}

/// For the table of flags.
pub(crate) fn check_weight(text: &str) -> Result<(), String> {
    weight(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_billionths() {
        for (text, expected) in [
            ("1", 1_000_000_000),
            ("0.5", 500_000_000),
            ("1.5e-3", 1_500_000),
            ("3/2", 1_500_000_000),
            ("-1", -1_000_000_000),
        ] {
            assert_eq!(nano_cpus(text), Ok(expected), "{text}");
        }
        assert_eq!(nano_cpus("x"), Err("failed to parse x as a rational number".to_owned()));
        assert_eq!(nano_cpus(""), Err("failed to parse  as a rational number".to_owned()));
        assert_eq!(nano_cpus("0.0000000001"), Err("value is too precise".to_owned()));
        assert!(nano_cpus("1e99").is_err());
        assert!(nano_cpus("1/0").is_err());
    }
}
