//! API versions and what `/_ping` tells about a daemon.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A version of the Engine API, `1.41`. Ordered by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// The part before the dot: 1.
    pub major: u16,
    /// The part after the dot.
    pub minor: u16,
}

/// A text that is not `MAJOR.MINOR`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid API version {0:?}: expected MAJOR.MINOR, for example 1.41")]
pub struct InvalidVersion(pub String);

/// The version a daemon is taken to speak when it does not name one (moby client: `negotiateAPIVersion`).
const OLDEST_NAMELESS: ApiVersion = ApiVersion { major: 1, minor: 24 };

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion(text.to_owned());
        let (major, minor) = text.trim_start_matches('v').split_once('.').ok_or_else(invalid)?;
        let number = |word: &str| word.parse::<u16>().map_err(|_| invalid());
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What the headers of `/_ping` say about a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// The newest API version of the daemon, if it names one.
    pub api_version: Option<ApiVersion>,
    /// The daemon has experimental features switched on.
    pub experimental: bool,
    /// `linux` or `windows`; empty when the daemon does not say.
    pub os_type: String,
}

impl Ping {
    pub(crate) fn from_headers(headers: &http::HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            api_version: text("api-version").parse().ok(),
            experimental: text("docker-experimental") == "true",
            os_type: text("ostype").to_owned(),
        }
    }

    /// The version to speak: the newest that both sides know.
    pub(crate) fn negotiated(&self, own: ApiVersion) -> ApiVersion {
        self.api_version.unwrap_or(OLDEST_NAMELESS).min(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_spoken() {
        let own = ApiVersion { major: 1, minor: 57 };
        let check = |named: Option<&str>, expected: &str| {
            let api_version = named.map(|text| text.parse().expect("a version"));
            let ping = Ping { api_version, experimental: false, os_type: String::new() };
            assert_eq!(ping.negotiated(own).to_string(), expected);
        };
        check(Some("1.41"), "1.41");
        check(Some("1.9"), "1.9");
        check(Some("1.99"), "1.57");
        check(None, "1.24");
    }

    #[test]
    fn a_version_is_two_numbers() {
        assert_eq!("v1.41".parse(), Ok(ApiVersion { major: 1, minor: 41 }));
        for text in ["", "1", "1.", "1.x", "1.2.3", "-1.2"] {
            assert_eq!(text.parse::<ApiVersion>(), Err(InvalidVersion(text.to_owned())));
        }
    }
}
