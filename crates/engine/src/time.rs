//! Moments: nanoseconds since the epoch inside, RFC 3339 with nanoseconds outside.

use std::time::{SystemTime, UNIX_EPOCH};

use api::time::Timestamp;

use crate::container::state::Nanos;

pub(crate) use api::time::ZERO as NEVER;

/// Now, in nanoseconds since the Unix epoch.
#[must_use]
pub(crate) fn now() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with up to nine digits of fraction, trailing zeros trimmed; [`NEVER`] for 0.
#[must_use]
pub(crate) fn rfc3339(nanos: Nanos) -> String {
    if nanos == 0 { NEVER.to_owned() } else { Timestamp::from_unix_nanos(i128::from(nanos)).to_string() }
}

/// A duration as Go prints it: `500ms`, `1.5s`, `1m30s`, `1h0m0s`.
#[must_use]
pub(crate) fn go_duration(nanos: Nanos) -> String {
    let trimmed = |value: Nanos, unit: Nanos| {
        let (whole, digits) = (value / unit, unit.ilog10() as usize);
        let fraction = format!("{:0digits$}", value % unit);
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            some => format!("{whole}.{some}"),
        }
    };
    match nanos {
        ..0 => format!("-{}", go_duration(nanos.saturating_neg())),
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", trimmed(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", trimmed(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = trimmed(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1_500, "1.5µs"),
            (500_000_000, "500ms"),
            (30_000_000_000, "30s"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (-1_000_000, "-1ms"),
        ] {
            assert_eq!(go_duration(nanos), text);
        }
    }

    #[test]
    fn moments_print_as_docker_prints_them() {
        for (nanos, text) in [
            (0, NEVER),
            (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
            (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
        ] {
            assert_eq!(rfc3339(nanos), text);
        }
    }
}
