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
    if nanos == 0 { NEVER.to_owned() } else { Timestamp::from_unix_nanos(i128::from(nanos)).rfc3339_nano() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
