//! Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`, parsed strictly.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A hash algorithm that content may be addressed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, what every registry and engine writes.
    Sha256,
    /// SHA-512, which the image specification allows.
    Sha512,
}

impl Algorithm {
    /// The name before the colon, for example `sha256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits a digest of this algorithm has.
    #[must_use]
    pub fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// Why a text is not a digest; the words are those of Docker's digest library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No colon, or not lower-case hexadecimal digits behind it.
    #[error("invalid checksum digest format")]
    Format,
    /// An algorithm other than sha256 and sha512.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// The wrong number of digits for the algorithm.
    #[error("invalid checksum digest length")]
    Length,
}

/// The address of a piece of content. Only ever holds a known algorithm and the right number of lower-case digits,
/// so its parts are safe in file names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// A digest from an algorithm and its digits.
    ///
    /// # Errors
    /// When the digits are not lower-case hexadecimal, or too many or too few.
    pub fn new(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        if !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Format);
        }
        if hex.len() != algorithm.hex_length() {
            return Err(DigestError::Length);
        }
        Ok(Self { algorithm, hex: hex.into() })
    }

    /// A digest from the raw output of SHA-256.
    #[must_use]
    pub fn from_sha256(bytes: &[u8; 32]) -> Self {
        Self { algorithm: Algorithm::Sha256, hex: hex(bytes) }
    }

    /// A digest from the raw output of SHA-512.
    #[must_use]
    pub fn from_sha512(bytes: &[u8; 64]) -> Self {
        Self { algorithm: Algorithm::Sha512, hex: hex(bytes) }
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits behind the colon.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits, what tables show.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

fn hex(bytes: &[u8]) -> Box<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.into()
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::Format)?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            "" => return Err(DigestError::Format),
            _ => return Err(DigestError::Algorithm),
        };
        Self::new(algorithm, hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format_args!("{error}: {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_prints_as_it_was_written() {
        assert_eq!(EMPTY.parse::<Digest>().unwrap().to_string(), EMPTY);
        let long = format!("sha512:{}", "0a".repeat(64));
        assert_eq!(long.parse::<Digest>().unwrap().to_string(), long);
    }

    #[test]
    fn what_is_not_a_digest_is_refused_with_dockers_words() {
        let cases = [
            ("", "invalid checksum digest format"),
            ("sha256", "invalid checksum digest format"),
            (":abc", "invalid checksum digest format"),
            ("sha256:", "invalid checksum digest length"),
            ("sha256:abcd", "invalid checksum digest length"),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", "unsupported digest algorithm"),
            (
                "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "unsupported digest algorithm",
            ),
            (
                "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
                "invalid checksum digest format",
            ),
            ("sha256:../../../../etc/passwd", "invalid checksum digest format"),
            (
                "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85/",
                "invalid checksum digest format",
            ),
            (
                "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
                "invalid checksum digest format",
            ),
        ];
        for (text, words) in cases {
            assert_eq!(text.parse::<Digest>().unwrap_err().to_string(), words, "{text:?}");
        }
    }

    #[test]
    fn raw_hash_output_becomes_lower_case_digits() {
        let digest = Digest::from_sha256(&[0xab; 32]);
        assert_eq!(digest.to_string(), format!("sha256:{}", "ab".repeat(32)));
        assert_eq!(digest.short(), "abababababab");
    }

    #[test]
    fn json_carries_the_digest_as_text_and_refuses_another_text() {
        let digest: Digest = serde_json::from_str(&format!("\"{EMPTY}\"")).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{EMPTY}\""));
        assert!(serde_json::from_str::<Digest>("\"sha256:../x\"").is_err());
    }
}
