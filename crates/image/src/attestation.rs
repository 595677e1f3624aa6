//! What is attested of an image: in-toto statements that were built or pulled with it.

use oci::Platform;
use oci::image::{ANNOTATION_REFERENCE_DIGEST, Descriptor};

use crate::images::Images;
use crate::{Error, Result};

/// Media type of a statement (github.com/in-toto/attestation, `spec/v1/bundle.md`).
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The annotation of a statement that says what is stated.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// Bytes of a statement that is read: a list of software can be long.
const MAX_STATEMENT: u64 = 64 << 20;

/// A statement about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Where it is, as the manifest about the image has it.
    pub descriptor: Descriptor,
    /// What is stated, a URI; nothing when the manifest does not say.
    pub predicate_type: String,
}

impl Images {
    /// The statements about one platform of an image.
    ///
    /// # Errors
    /// `NotFound` when there is no such image, or it is not here for the platform.
    pub fn attestations(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<Statement>> {
        let found = self.resolve(name)?;
        let subject = self.choose(&found, name, platform)?.manifest.digest.to_string();
        let about_it = |descriptor: &Descriptor| {
            descriptor.annotations.get(ANNOTATION_REFERENCE_DIGEST).is_some_and(|about| *about == subject)
        };
        let mut statements = Vec::new();
        for child in self.children(&found.target)? {
            let Some(manifest) = child.manifest.filter(|_| child.attestation && about_it(&child.descriptor))
            else {
                continue;
            };
            for descriptor in manifest.layers.into_iter().filter(|layer| layer.media_type == STATEMENT) {
                let predicate_type = descriptor.annotations.get(PREDICATE_TYPE).cloned().unwrap_or_default();
                statements.push(Statement { descriptor, predicate_type });
            }
        }
        Ok(statements)
    }

    /// A statement word for word: JSON.
    ///
    /// # Errors
    /// When it is not here or damaged.
    pub fn statement(&self, statement: &Statement) -> Result<String> {
        let digest = &statement.descriptor.digest;
        String::from_utf8(self.content.read(digest, MAX_STATEMENT)?)
            .map_err(|_| Error::Invalid(format!("{digest}: a statement that is not text")))
    }
}
