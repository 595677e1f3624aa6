//! Platforms in queries of images: a JSON document, `{"os":"linux","architecture":"arm64"}`.

use api::descriptor::Platform;

use super::Request;
use crate::server::failure::Failure;

/// The platform of a query as `os/arch[/variant]`; `None` when there is none, or the client's version has none.
pub(super) fn one(call: &Request, since_minor: u32) -> Result<Option<String>, Failure> {
    let text = call.query.get("platform");
    if text.is_empty() || !call.is_at_least(since_minor) {
        return Ok(None);
    }
    decode(text).map(Some)
}

/// The platforms of a query that may name several since 1.52, and one since 1.48.
pub(super) fn several(call: &Request) -> Result<Vec<String>, Failure> {
    let texts = call.query.all("platform");
    if !call.is_at_least(48) {
        return Ok(Vec::new());
    }
    if texts.len() > 1 && !call.is_at_least(52) {
        return Err(Failure::invalid(
            "multiple platform parameters are not supported in this API version; use API version 1.52 or later",
        ));
    }
    texts.iter().map(|text| decode(text)).collect()
}

/// The platforms of which content is to be removed, since 1.50.
pub(super) fn to_remove(call: &Request) -> Result<Vec<String>, Failure> {
    if !call.is_at_least(50) {
        return Ok(Vec::new());
    }
    call.query.all("platforms").iter().map(|text| decode(text)).collect()
}

fn decode(text: &str) -> Result<String, Failure> {
    let platform: Platform = api::json::from_slice(text.as_bytes())
        .map_err(|error| Failure::invalid(format!("failed to parse platform: {error}")))?;
    let has_more =
        !platform.variant.is_empty() || !platform.os_version.is_empty() || !platform.os_features.is_empty();
    if platform.os.is_empty() && platform.architecture.is_empty() && has_more {
        return Err(Failure::invalid(
            "optional platform fields provided, but OS and Architecture are missing",
        ));
    }
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(Failure::invalid("both OS and Architecture must be provided"));
    }
    let mut words = vec![platform.os, platform.architecture];
    words.extend(Some(platform.variant).filter(|variant| !variant.is_empty()));
    Ok(words.join("/"))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn documents_become_words() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = decode(text).map_err(|failure| failure.message);
            assert_eq!(found, expected.map(String::from).map_err(String::from), "{text}");
        };
        check(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#, Ok("linux/arm64/v8"));
        check(r#"{"OS":"linux","Architecture":"amd64"}"#, Ok("linux/amd64"));
        check(r#"{"os":"linux"}"#, Err("both OS and Architecture must be provided"));
        check(
            r#"{"variant":"v8"}"#,
            Err("optional platform fields provided, but OS and Architecture are missing"),
        );
        check("linux/amd64", Err("failed to parse platform: expected value at line 1 column 1"));
    }
}
