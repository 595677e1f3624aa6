//! Which API version a request speaks, and the refusals of versions outside the range.

use api::version::{ApiVersion, FLOOR, MAX};

use super::failure::Failure;

/// The versions that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub min: ApiVersion,
    /// The newest; also what an unversioned path means.
    pub max: ApiVersion,
}

impl Default for Versions {
    fn default() -> Versions {
        Versions { min: FLOOR, max: MAX }
    }
}

impl Versions {
    /// The version of a request from the digits of its path.
    pub fn negotiate(&self, requested: Option<&str>) -> Result<ApiVersion, Failure> {
        let Some(text) = requested else { return Ok(self.max) };
        let version: ApiVersion = text.parse().map_err(Failure::invalid)?;
        if version < self.min {
            let min = self.min;
            return Err(Failure::invalid(format!(
                "client version {text} is too old. Minimum supported API version is {min}, please upgrade your \
                 client to a newer version"
            )));
        }
        if version > self.max {
            let max = self.max;
            return Err(Failure::invalid(format!(
                "client version {text} is too new. Maximum supported API version is {max}"
            )));
        }
        Ok(version)
    }

    /// Whether a request is so old that it expects errors as plain text.
    pub fn expects_plain_errors(requested: Option<&str>) -> bool {
        requested
            .and_then(|text| text.parse::<ApiVersion>().ok())
            .is_some_and(|version| version < ApiVersion::v1(24))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(requested: Option<&str>, expected: &str) {
        let versions = Versions { min: ApiVersion::v1(40), max: ApiVersion::v1(57) };
        let printed = match versions.negotiate(requested) {
            Ok(version) => version.to_string(),
            Err(failure) => format!("{}: {}", failure.status.as_u16(), failure.message),
        };
        assert_eq!(printed, expected);
    }

    #[test]
    fn versions_are_negotiated() {
        check(None, "1.57");
        check(Some("1.57"), "1.57");
        check(Some("1.40"), "1.40");
        check(
            Some("1.39"),
            "400: client version 1.39 is too old. Minimum supported API version is 1.40, please upgrade your client \
             to a newer version",
        );
        check(
            Some("1"),
            "400: client version 1 is too old. Minimum supported API version is 1.40, please upgrade \
             your client to a newer version",
        );
        check(Some("1.58"), "400: client version 1.58 is too new. Maximum supported API version is 1.57");
        check(Some("2.0"), "400: client version 2.0 is too new. Maximum supported API version is 1.57");
        check(Some("1..2"), "400: invalid API version: 1..2");
        assert!(
            Versions::expects_plain_errors(Some("1.23")) && !Versions::expects_plain_errors(Some("1.24"))
        );
    }
}
