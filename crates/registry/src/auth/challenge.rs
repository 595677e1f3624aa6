//! `WWW-Authenticate`: what a registry wants to see (RFC 9110, section 11; distribution, "token authentication"). Pure.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// The longest header value that is looked at, in bytes.
const LONGEST: usize = 8 << 10;
/// More challenges or parameters than anybody sends.
const MOST: usize = 32;

/// A way to authenticate that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and secret with every request.
    Basic,
    /// A token that somebody else gives out.
    Bearer(Bearer),
}

/// Where tokens are given out, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// A URL.
    pub(crate) realm: String,
    /// To be repeated to it; may be empty.
    pub(crate) service: String,
    /// What the registry would want the token to allow; may be empty.
    pub(crate) scope: String,
}

/// The challenge to answer: bearer before basic, as every client has it. `None` when there is none that we know.
pub(crate) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().take(MOST);
    let texts = values.filter_map(|value| value.to_str().ok()).filter(|text| text.len() <= LONGEST);
    let all: Vec<_> = texts.flat_map(parse).collect();
    let is_bearer = |challenge: &&Challenge| matches!(challenge, Challenge::Bearer(_));
    all.iter().find(is_bearer).or_else(|| all.first()).cloned()
}

/// Every challenge of one header value that we know. Stops at what is no challenge.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = text;
    for _ in 0..MOST {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((scheme, behind)) = token(rest) else { break };
        let (parameters, behind) = parameters(behind);
        rest = behind;
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer") {
            let value = |name: &str| {
                let known = parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                known.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let bearer = Bearer { realm: value("realm"), service: value("service"), scope: value("scope") };
            if !bearer.realm.is_empty() {
                found.push(Challenge::Bearer(bearer));
            }
        }
    }
    found
}

/// `name=value` pairs up to the next scheme, which is a token without `=` behind it.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    for _ in 0..MOST {
        let start = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, behind)) = token(start) else { return (found, start) };
        let Some(value) = behind.trim_start().strip_prefix('=') else { return (found, start) };
        let Some((value, behind)) = quoted_or_token(value.trim_start()) else { return (found, "") };
        found.push((name.to_owned(), value));
        rest = behind;
    }
    (found, "")
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token, also with the `:/` of a URL that somebody forgot to quote; or a quoted text with `\` before what is meant.
fn quoted_or_token(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, letter) in quoted.char_indices() {
        match letter {
            _ if escaped => {
                value.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, &quoted[at + 1..])),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Option<Challenge> {
        Some(Challenge::Bearer(Bearer { realm: realm.into(), service: service.into(), scope: scope.into() }))
    }

    fn check(values: &[&str], expected: Option<Challenge>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().expect("a value"));
        }
        assert_eq!(choose(&headers), expected, "{values:?}");
    }

    #[test]
    fn the_forms_that_registries_use_are_read() {
        check(&[r#"Basic realm="basic-realm""#], Some(Challenge::Basic));
        check(&["basic"], Some(Challenge::Basic));
        check(
            &[
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            ],
            bearer("https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull,push"),
        );
        check(&[r#"bearer  Realm = "https://a" , Service=x"#], bearer("https://a", "x", ""));
        check(&["Bearer realm=https://a/token,service=x"], bearer("https://a/token", "x", ""));
        check(&[r#"Bearer realm="https://a\"b\\""#], bearer("https://a\"b\\", "", ""));
    }

    #[test]
    fn of_several_challenges_bearer_is_taken() {
        check(&[r#"Basic realm="x", Bearer realm="https://a""#], bearer("https://a", "", ""));
        check(&[r#"Basic realm="x""#, r#"Bearer realm="https://a""#], bearer("https://a", "", ""));
        check(&[r#"Negotiate, Digest realm="d", nonce="n", Basic realm="x""#], Some(Challenge::Basic));
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for value in [
            "",
            ",,,",
            "=",
            "Bearer",
            "Bearer realm=",
            "Bearer realm=\"",
            "Bearer service=\"x\"",
            "\"\"\"",
            "Digest x",
        ] {
            check(&[value], None);
        }
        check(&[&format!("Bearer realm=\"{}\"", "x".repeat(LONGEST))], None);
        check(&[&"a=b,".repeat(1000)], None);
    }

    #[test]
    fn no_cut_or_change_of_a_challenge_makes_the_parser_fail() {
        let whole = r#"Basic realm="x", Bearer realm="https://a\"",service="s", scope="repository:a:pull""#;
        let mut seed = 0x2545_f491_u32;
        for end in 0..whole.len() {
            parse(&whole[..end]);
            let mut changed = whole.as_bytes().to_vec();
            for _ in 0..8 {
                seed ^= seed << 13;
                seed ^= seed >> 17;
                seed ^= seed << 5;
                let at = usize::try_from(seed).expect("small") % changed.len();
                changed[at] = u8::try_from(seed >> 24).expect("a byte") & 0x7f;
            }
            parse(&String::from_utf8_lossy(&changed));
        }
    }
}
