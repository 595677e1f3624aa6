//! Moments as text: RFC 3339 in UTC, as image documents and Docker's API have them.

use timestamp::Timestamp;

/// The present in whole seconds since 1970.
pub(crate) fn now_seconds() -> i64 {
    Timestamp::now().seconds()
}

/// The present as text.
pub(crate) fn now_text() -> String {
    Timestamp::now().to_string()
}

/// A moment as Go prints it (RFC 3339 with as many digits of the fraction as are needed).
pub(crate) fn format(seconds: i64, nanoseconds: u32) -> String {
    Timestamp::new(seconds, nanoseconds).to_string()
}

/// The seconds since 1970 of an RFC 3339 text; `None` when it is none.
pub(crate) fn parse(text: &str) -> Option<i64> {
    Timestamp::parse(text.as_bytes()).map(Timestamp::seconds)
}

/// The nanoseconds since 1970 of an RFC 3339 text; `None` when it is none.
pub(crate) fn parse_nanos(text: &str) -> Option<i128> {
    Timestamp::parse(text.as_bytes()).map(Timestamp::unix_nanos)
}
