//! Registries: credentials, login, and what info says about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::descriptor::{Descriptor, Platform};
use crate::json::is_zero;

/// Credentials: the body of `POST /auth`, and `X-Registry-Auth` in base64.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// User.
    #[serde(skip_serializing_if = "is_zero")]
    pub username: String,
    /// Secret.
    #[serde(skip_serializing_if = "is_zero")]
    pub password: String,
    /// Base64 of `user:secret`.
    #[serde(skip_serializing_if = "is_zero")]
    pub auth: String,
    /// `https://index.docker.io/v1/` when empty.
    #[serde(rename = "serveraddress", skip_serializing_if = "is_zero")]
    pub server_address: String,
    /// Refresh token.
    #[serde(rename = "identitytoken", skip_serializing_if = "is_zero")]
    pub identity_token: String,
    /// Bearer token.
    #[serde(rename = "registrytoken", skip_serializing_if = "is_zero")]
    pub registry_token: String,
}

/// Secrets are not printed.
impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// The header that carries credentials.
    pub const HEADER: &'static str = "X-Registry-Auth";

    /// Reads the header's value. Like Docker's daemon, takes what cannot be read for no credentials.
    pub fn from_header(value: &str) -> AuthConfig {
        base64_decode(value).and_then(|text| crate::json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// The header's value: base64 with the alphabet for URLs.
    pub fn to_header(&self) -> Result<String, serde_json::Error> {
        Ok(base64_encode(&serde_json::to_vec(self)?).replace('+', "-").replace('/', "_"))
    }
}

/// The answer of `POST /auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AuthResponse {
    /// To be used instead of the secret.
    #[serde(skip_serializing_if = "is_zero")]
    pub identity_token: String,
    /// `Login Succeeded`.
    pub status: String,
}

/// Registries, part of info.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceConfig {
    /// Networks whose registries need no TLS.
    #[serde(rename = "InsecureRegistryCIDRs")]
    pub insecure_registry_cidrs: Vec<String>,
    /// By host.
    #[serde(rename = "IndexConfigs")]
    pub index_configs: BTreeMap<String, IndexInfo>,
    /// Of docker.io; `null` when there are none.
    #[serde(rename = "Mirrors")]
    pub mirrors: Option<Vec<String>>,
}

/// One registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IndexInfo {
    /// `docker.io`.
    pub name: String,
    /// URLs.
    pub mirrors: Vec<String>,
    /// Needs TLS.
    pub secure: bool,
    /// It is docker.io.
    pub official: bool,
}

/// The answer of `GET /distribution/{name}/json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DistributionInspect {
    /// What the name points to.
    pub descriptor: Descriptor,
    /// What it runs on; never `null`.
    pub platforms: Vec<Platform>,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with the standard alphabet and padding (RFC 4648).
pub fn base64_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().enumerate().fold(0u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let sextet = (word >> (18 - 6 * at)) & 0x3f;
            text.push(if at <= chunk.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

/// Reads base64 with either alphabet, with or without padding. `None` when it is not base64.
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut word = 0u32;
        for (at, letter) in chunk.iter().enumerate() {
            let letter = match letter {
                b'-' => b'+',
                b'_' => b'/',
                other => *other,
            };
            let sextet = ALPHABET.iter().position(|known| *known == letter)?;
            word |= (sextet as u32) << (18 - 6 * at);
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_there_and_back() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64_encode(bytes.as_bytes()), text);
            assert_eq!(base64_decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(base64_decode("-_8"), base64_decode("+/8="));
        assert_eq!(base64_decode("a"), None);
        assert_eq!(base64_decode("a b="), None);
    }

    #[test]
    fn unreadable_credentials_are_no_credentials() {
        assert_eq!(AuthConfig::from_header("%%%"), AuthConfig::default());
        let auth = AuthConfig { username: "me".into(), password: "?>".into(), ..AuthConfig::default() };
        assert_eq!(AuthConfig::from_header(&auth.to_header().unwrap()), auth);
        assert!(!format!("{auth:?}").contains("?>"));
    }
}
