//! Tests of the reference grammar, its defaults and its words.

use super::*;

fn show(text: &str) -> String {
    match Reference::parse(text) {
        Ok(reference) => format!("{reference} ({})", reference.familiar()),
        Err(error) => format!("error: {error}"),
    }
}

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn names_are_normalised_and_shown_the_familiar_way() {
    let cases = [
        ("debian", "docker.io/library/debian (debian)"),
        ("debian:12", "docker.io/library/debian:12 (debian:12)"),
        ("library/debian", "docker.io/library/debian (debian)"),
        ("docker.io/debian", "docker.io/library/debian (debian)"),
        ("index.docker.io/debian:12", "docker.io/library/debian:12 (debian:12)"),
        ("user/app", "docker.io/user/app (user/app)"),
        ("library/foo/bar", "docker.io/library/foo/bar (library/foo/bar)"),
        ("localhost/app", "localhost/app (localhost/app)"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1 (localhost:5000/app:v1)"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c (127.0.0.1:5000/a/b/c)"),
        ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app ([2001:db8::1]:5000/app)"),
        ("[::1]/app:1", "[::1]/app:1 ([::1]/app:1)"),
        ("ghcr.io/x/y__z.a---b", "ghcr.io/x/y__z.a---b (ghcr.io/x/y__z.a---b)"),
        ("Host/app", "Host/app (Host/app)"),
        ("a:_Tag.-1", "docker.io/library/a:_Tag.-1 (a:_Tag.-1)"),
        ("docker.io/library/localhost", "docker.io/library/localhost (library/localhost)"),
    ];
    for (text, expected) in cases {
        assert_eq!(show(text), expected, "{text:?}");
    }
}

#[test]
fn a_digest_may_follow_a_name_or_a_tag() {
    assert_eq!(show(&format!("debian@{D}")), format!("docker.io/library/debian@{D} (debian@{D})"));
    assert_eq!(show(&format!("debian:12@{D}")), format!("docker.io/library/debian:12@{D} (debian:12@{D})"));
    let reference = Reference::parse(&format!("debian:12@{D}")).unwrap();
    assert_eq!((reference.tag(), reference.digest().unwrap().to_string()), (Some("12"), D.to_owned()));
}

#[test]
fn what_does_not_match_the_grammar_is_refused_with_dockers_words() {
    let format = "error: invalid reference format";
    let cases = [
        ("", format),
        ("a:", format),
        (":12", format),
        ("a b", format),
        ("a//b", format),
        ("/a", format),
        ("a/", format),
        ("a..b", format),
        ("a___b", format),
        ("a._b", format),
        ("-a", format),
        ("a-", format),
        ("a@", format),
        ("a@sha256", format),
        ("a@sha256:abc", format),
        ("a:tag:tag", format),
        ("a:.tag", format),
        ("-host.com/a", format),
        ("host:/a", format),
        ("host:port/a", format),
        ("[::1/a", format),
        ("[::1]x/a", format),
        ("../a", format),
        ("a/../b", format),
        ("a\0b", format),
        ("a\n", format),
        ("Debian", "error: invalid reference format: repository name (library/Debian) must be lowercase"),
        ("ghcr.io/A/b:x", "error: invalid reference format: repository name (A/b) must be lowercase"),
        (
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "error: invalid repository name (e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855), \
             cannot specify 64-byte hexadecimal strings",
        ),
        ("a@md5:d41d8cd98f00b204e9800998ecf8427e", "error: unsupported digest algorithm"),
        ("a@sha256:d41d8cd98f00b204e9800998ecf8427e", "error: invalid checksum digest length"),
    ];
    for (text, expected) in cases {
        assert_eq!(show(text), expected, "{text:?}");
    }
}

#[test]
fn lengths_are_limited() {
    let path = format!("host.io/{}", "a".repeat(255));
    assert!(Reference::parse(&path).is_ok());
    assert_eq!(show(&format!("{path}a")), "error: repository name must not be more than 255 characters");
    assert!(Reference::parse(&format!("a:{}", "t".repeat(128))).is_ok());
    assert_eq!(show(&format!("a:{}", "t".repeat(129))), "error: invalid reference format");
    assert_eq!(show(&"a/".repeat(100_000)), "error: invalid reference format");
}

#[test]
fn any_reference_prefers_a_full_id() {
    let id = D.strip_prefix("sha256:").unwrap();
    assert_eq!(AnyReference::parse(id).unwrap(), AnyReference::Digest(D.parse().unwrap()));
    assert_eq!(AnyReference::parse(D).unwrap(), AnyReference::Digest(D.parse().unwrap()));
    assert_eq!(AnyReference::parse("a").unwrap(), AnyReference::Named(Reference::parse("a").unwrap()));
    assert_eq!(
        AnyReference::parse("sha256:abc").unwrap().clone(),
        AnyReference::Named(Reference::parse("sha256:abc").unwrap())
    );
}

#[test]
fn tags_and_digests_can_be_changed() {
    let reference = Reference::parse("x/y").unwrap();
    assert_eq!(reference.or_latest().to_string(), "docker.io/x/y:latest");
    assert_eq!(reference.with_tag("1").unwrap().or_latest().to_string(), "docker.io/x/y:1");
    assert_eq!(
        reference.with_digest(D.parse().unwrap()).or_latest().to_string(),
        format!("docker.io/x/y@{D}")
    );
    assert!(reference.with_tag("a b").is_err());
}

/// Whatever is parsed prints as text that parses to the same value; nothing panics.
#[test]
fn seeded_mutations_round_trip_or_are_refused() {
    let seeds =
        ["debian:12", "ghcr.io/a/b:c", "localhost:5000/x", "[::1]:5/a", D, "a@sha256:0", "x__y/z-1.2"];
    let alphabet = b"abZ09._-/:@[] \0\xffsha256";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    for _ in 0..20_000 {
        let mut bytes = seeds[next(seeds.len())].as_bytes().to_vec();
        for _ in 0..=next(4) {
            let at = next(bytes.len().max(1));
            match next(3) {
                0 if !bytes.is_empty() => drop(bytes.remove(at)),
                1 => bytes.insert(at.min(bytes.len()), alphabet[next(alphabet.len())]),
                _ if !bytes.is_empty() => bytes[at] = alphabet[next(alphabet.len())],
                _ => {}
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(reference) = Reference::parse(&text) {
            assert_eq!(Reference::parse(&reference.to_string()), Ok(reference.clone()), "{text:?}");
            assert_eq!(Reference::parse(&reference.familiar()), Ok(reference.clone()), "{text:?}");
        }
    }
}
