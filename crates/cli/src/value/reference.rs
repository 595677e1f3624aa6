//! The name of an image as it is typed: what must be refused before any daemon is asked, and its parts.

/// The parts of an image name, `[registry/]path[:tag][@digest]`, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// The registry and path, as typed.
    pub(crate) name: &'a str,
    /// The tag; empty when there is none.
    pub(crate) tag: &'a str,
    /// The digest, `sha256:…`; empty when there is none.
    pub(crate) digest: &'a str,
}

const INVALID: &str = "invalid reference format";

/// Takes an image name apart, or says in Docker's words why it is none.
pub(crate) fn parse(text: &str) -> Result<Reference<'_>, String> {
    let (rest, digest) = text.split_once('@').unwrap_or((text, ""));
    if text.contains('@') && !is_digest(digest) {
        return Err(INVALID.to_owned());
    }
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], &rest[slash + colon + 1..]),
        None => (rest, ""),
    };
    if name.len() < rest.len() && !is_tag(tag) {
        return Err(INVALID.to_owned());
    }
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(format!("invalid repository name ({name}), cannot specify 64-byte hexadecimal strings"));
    }
    check_name(name)?;
    Ok(Reference { name, tag, digest })
}

fn check_name(name: &str) -> Result<(), String> {
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first, path),
        _ => ("", name),
    };
    let domain_fits = domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte));
    let component = |part: &str, upper: bool| {
        let letter = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || (upper && byte.is_ascii_uppercase())
        };
        let ends = part.bytes().next().is_some_and(letter) && part.bytes().last().is_some_and(letter);
        ends && part.bytes().all(|byte| letter(byte) || b"._-".contains(&byte))
    };
    if !domain_fits || name.len() > 255 || !path.split('/').all(|part| component(part, true)) {
        return Err(INVALID.to_owned());
    }
    if !path.split('/').all(|part| component(part, false)) {
        let shown = if name.contains('/') { name.to_owned() } else { format!("library/{name}") };
        return Err(format!("{INVALID}: repository name ({shown}) must be lowercase"));
    }
    Ok(())
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.bytes().next().is_some_and(word)
        && tag.len() <= 128
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_tag_or_a_digest() {
        let check = |text: &str, expected: (&str, &str, &str)| {
            let found = parse(text).expect(text);
            assert_eq!((found.name, found.tag, found.digest), expected, "{text}");
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        check("busybox", ("busybox", "", ""));
        check("busybox:1.36", ("busybox", "1.36", ""));
        check("localhost:5000/a/b", ("localhost:5000/a/b", "", ""));
        check("localhost:5000/a/b:c", ("localhost:5000/a/b", "c", ""));
        check(&format!("a@{digest}"), ("a", "", &digest));
        check(&format!("a:b@{digest}"), ("a", "b", &digest));
    }

    #[test]
    fn what_is_no_name_is_refused_in_dockers_words() {
        for text in ["", ":::", "a b", "a:b:c", "a@b", "http://a", "a:.b", "-a", "a/", "a/b@sha256:12", "a#b"]
        {
            assert_eq!(parse(text), Err(INVALID.to_owned()), "{text}");
        }
        let words = |text: &str| parse(text).unwrap_err();
        assert_eq!(words("B"), "invalid reference format: repository name (library/B) must be lowercase");
        assert_eq!(words("a/B"), "invalid reference format: repository name (a/B) must be lowercase");
        assert!(words(&"0".repeat(64)).contains("64-byte hexadecimal"));
    }
}
