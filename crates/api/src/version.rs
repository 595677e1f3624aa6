//! Versions of the API: `1.24` to `1.57`.

use std::fmt;
use std::str::FromStr;

/// A version of the API. All have the major number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Before the dot.
    pub major: u32,
    /// After the dot.
    pub minor: u32,
}

/// The newest that is served.
pub const MAX: ApiVersion = ApiVersion { major: 1, minor: 57 };
/// The oldest that can be served.
pub const FLOOR: ApiVersion = ApiVersion { major: 1, minor: 24 };

impl ApiVersion {
    /// Version `1.minor`.
    pub const fn v1(minor: u32) -> ApiVersion {
        ApiVersion { major: 1, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = String;
    /// Reads `1.44`; a number without a dot is a major version.
    fn from_str(text: &str) -> Result<ApiVersion, String> {
        let number = |part: &str| -> Result<u32, String> {
            let digits =
                !part.is_empty() && part.len() <= 6 && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse().map_err(|_| ()) } else { Err(()) }
                .map_err(|()| format!("invalid API version: {text}"))
        };
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        Ok(ApiVersion { major: number(major)?, minor: number(minor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let parse = |text: &str| text.parse::<ApiVersion>();
        assert!(parse("1.9").unwrap() < parse("1.24").unwrap());
        assert_eq!(parse("1.57"), Ok(MAX));
        assert_eq!(parse("2"), Ok(ApiVersion { major: 2, minor: 0 }));
        for text in ["", "1.", ".1", "1.2.3", "1.x", "1.99999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
