//! Image references: `[domain/]path[:tag][@digest]`, with Docker's defaults and words.
//!
//! The grammar is that of the distribution project's `reference` package, which every Docker client agrees on.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, DigestError};

/// The registry that a name without one means.
pub const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
/// The tag that a name without one means.
pub const DEFAULT_TAG: &str = "latest";
const MAX_PATH_LENGTH: usize = 255;
const MAX_TAG_LENGTH: usize = 128;
/// No valid reference is longer; longer texts are refused before they are looked at.
const MAX_REFERENCE_LENGTH: usize = 1024;

/// Why a text is not a reference; the words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text does not match the grammar.
    #[error("invalid reference format")]
    Format,
    /// A repository name with an upper-case letter.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// The path of the repository is longer than 255 bytes.
    #[error("repository name must not be more than {MAX_PATH_LENGTH} characters")]
    TooLong,
    /// A name of 64 hexadecimal digits, which would be taken for an image ID.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// The part behind `@` is not a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A normalised image reference: the domain is always there, the path of an official image starts with `library/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What a text that names an image may be: a reference, or an image ID in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyReference {
    /// A full ID: 64 hexadecimal digits, or a digest without a name.
    Digest(Digest),
    /// A reference by name.
    Named(Reference),
}

impl AnyReference {
    /// Parses a full ID or a reference (`ParseAnyReference` of the distribution project).
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_hex_id(text) {
            return Ok(Self::Digest(Digest::new(crate::digest::Algorithm::Sha256, text)?));
        }
        if let Ok(digest) = text.parse() {
            return Ok(Self::Digest(digest));
        }
        Reference::parse(text).map(Self::Named)
    }
}

impl Reference {
    /// Parses what a user types: `debian`, `debian:12`, `ghcr.io/x/y@sha256:…`, and fills in Docker's defaults
    /// for domain and path. No tag is added.
    ///
    /// # Errors
    /// When the text does not match the grammar, with Docker's words.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.len() > MAX_REFERENCE_LENGTH {
            return Err(ReferenceError::Format);
        }
        if is_hex_id(text) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(remote.to_owned()));
        }
        Self::from_parts(&domain, &remainder)
    }

    /// Splits `path[:tag][@digest]` and checks every part.
    fn from_parts(domain: &str, remainder: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match remainder.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (remainder, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if !is_domain(domain) || !is_path(path) || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        if path.len() > MAX_PATH_LENGTH {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain: domain.to_owned(), path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }

    /// The registry, for example `docker.io` or `localhost:5000`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository inside the registry, for example `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, when one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when one was given.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path without tag and digest, for example `docker.io/library/debian`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name as people write it: `debian` for `docker.io/library/debian`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            // "localhost" alone would be read back as the domain of a longer name: it keeps its prefix.
            Some(name) if !name.contains('/') && name != "localhost" => name.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The reference as people write it: `debian:12`, `ghcr.io/x/y@sha256:…`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The same reference, with the tag `latest` when it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(&self) -> Self {
        match (&self.tag, &self.digest) {
            (None, None) => Self { tag: Some(DEFAULT_TAG.to_owned()), ..self.clone() },
            _ => self.clone(),
        }
    }

    /// Whether it is a bare name, without tag and digest.
    #[must_use]
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// The same repository with another tag and no digest.
    ///
    /// # Errors
    /// When the tag does not match the grammar.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository at a digest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same reference without its digest.
    #[must_use]
    pub fn without_digest(&self) -> Self {
        Self { digest: None, ..self.clone() }
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    /// The full form, for example `docker.io/library/debian:12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Whether a text is 64 lower-case hexadecimal digits, the form of an image ID.
fn is_hex_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Splits what is typed into a domain and the rest, with Docker's defaults.
fn split_domain(text: &str) -> (String, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN.to_owned(), format!("{OFFICIAL_PREFIX}{text}"));
    };
    let (domain, remainder) = match first {
        LEGACY_DEFAULT_DOMAIN => (DEFAULT_DOMAIN, rest),
        "localhost" => (first, rest),
        _ if first.contains(['.', ':']) || first.chars().any(char::is_uppercase) => (first, rest),
        _ => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL_PREFIX}{remainder}"));
    }
    (domain.to_owned(), remainder.to_owned())
}

/// `domain-name[:port]` or `[ipv6][:port]`.
fn is_domain(domain: &str) -> bool {
    let (host, port) = if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
            return false;
        }
        (None, port.strip_prefix(':').or(if port.is_empty() { None } else { Some("") }))
    } else {
        match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        }
    };
    let component = |part: &str| {
        let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = part.as_bytes();
        alphanumeric(bytes.first())
            && alphanumeric(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    host.is_none_or(|host| host.split('.').all(component))
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Runs of lower-case letters and digits, joined by one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut position = 0;
    loop {
        let start = position;
        while position < bytes.len() && is_word(bytes[position]) {
            position += 1;
        }
        if position == start {
            return false;
        }
        if position == bytes.len() {
            return true;
        }
        let separator = position;
        while position < bytes.len() && !is_word(bytes[position]) {
            position += 1;
        }
        let separator = &bytes[separator..position];
        if !matches!(separator, b"." | b"_" | b"__") && !separator.iter().all(|byte| *byte == b'-') {
            return false;
        }
    }
}

fn is_tag(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !bytes.is_empty()
        && bytes.len() <= MAX_TAG_LENGTH
        && is_word(bytes[0])
        && bytes.iter().all(|byte| is_word(*byte) || matches!(byte, b'.' | b'-'))
}

/// A digest behind `@`: what does not even look like one is a format error, as in Docker.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let looks_like_one = text.split_once(':').is_some_and(|(algorithm, hex)| {
        let component = |part: &str| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        algorithm.split(['-', '_', '+', '.']).all(component)
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    });
    if !looks_like_one {
        return Err(ReferenceError::Format);
    }
    Ok(text.parse()?)
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
