//! The path of a request: unescaped, cleaned, and its version prefix taken off.

use super::failure::Failure;

/// A path without its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `1.44` of `/v1.44/info`; `None` for an unversioned path.
    pub version: Option<String>,
    /// `["containers", "json"]`, unescaped.
    pub segments: Vec<String>,
}

impl Target {
    /// Reads the path of a URL. Like Docker's router, escapes are undone before the path is cut into segments, so
    /// that `%2F` in an image's name separates as `/` does; empty segments are dropped.
    pub fn parse(path: &str) -> Result<Target, Failure> {
        let path = percent_decode(path)?;
        let mut segments: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(String::from).collect();
        let version =
            segments.first().and_then(|first| first.strip_prefix('v')).filter(|rest| is_version(rest));
        let version = version.filter(|_| segments.len() > 1).map(String::from);
        if version.is_some() {
            segments.remove(0);
        }
        Ok(Target { version, segments })
    }
}

/// Docker's router takes any digits and dots for a version.
fn is_version(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Undoes `%41`. Bytes that are not UTF-8 are refused: no name in the API has them.
pub fn percent_decode(text: &str) -> Result<String, Failure> {
    if !text.contains('%') {
        return Ok(text.to_string());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).and_then(|pair| Some(hex(pair[0])? << 4 | hex(pair[1])?));
        let Some(byte) = digits else {
            let shown = String::from_utf8_lossy(&rest[..rest.len().min(3)]);
            return Err(Failure::invalid(format!("invalid URL escape \"{shown}\"")));
        };
        bytes.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| Failure::invalid("the URL is not UTF-8"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let printed = match Target::parse(path) {
            Ok(target) => {
                format!("{} {}", target.version.as_deref().unwrap_or("-"), target.segments.join("|"))
            }
            Err(failure) => failure.message,
        };
        assert_eq!(printed, expected, "{path}");
    }

    #[test]
    fn paths_are_taken_apart() {
        check("/_ping", "- _ping");
        check("/v1.44/info", "1.44 info");
        check("/v1.44/", "- v1.44");
        check("/v1.44", "- v1.44");
        check("/v1/info", "1 info");
        check("/version", "- version");
        check("/volumes/v1.2", "- volumes|v1.2");
        check("/images/a%2Fb%3a1/json", "- images|a|b:1|json");
        check("//containers//x/json/", "- containers|x|json");
        check("/a%2", "invalid URL escape \"%2\"");
        check("/a%ff", "the URL is not UTF-8");
        check("/", "- ");
    }
}
