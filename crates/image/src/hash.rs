//! Hashing content while it passes by.

use oci::Digest;
use oci::digest::Algorithm;
use sha2::{Digest as _, Sha256, Sha512};

/// A hash under construction.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::new(Sha512::new())),
        }
    }

    /// Another one of the same kind.
    pub(crate) fn anew(&self) -> Self {
        match self {
            Self::Sha256(_) => Self::new(Algorithm::Sha256),
            Self::Sha512(_) => Self::new(Algorithm::Sha512),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_sha256(&hash.finalize().into()),
            Self::Sha512(hash) => Digest::from_sha512(&hash.finalize().into()),
        }
    }
}

/// The SHA-256 digest of some bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

/// The chain ID of a list of diff IDs, the lowest first (image specification, `config.md`); `None` for an empty list.
pub(crate) fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (first, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(first.clone(), |chain, diff_id| digest_of(format!("{chain} {diff_id}").as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_starts_with_its_lowest_layer() {
        let (a, b) = (digest_of(b"a"), digest_of(b"b"));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(std::slice::from_ref(&a)), Some(a.clone()));
        assert_eq!(chain_id(&[a.clone(), b.clone()]), Some(digest_of(format!("{a} {b}").as_bytes())));
    }
}
