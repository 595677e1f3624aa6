//! What a push sends of an image: blobs first, then manifests before the indexes that name them.

use oci::image::{Descriptor, Document, media_type};
use oci::{Digest, Platform, Reference};

use crate::images::Images;
use crate::names::Found;
use crate::uses::{self, USES};
use crate::{Error, Hold, Result};

/// What goes to a registry, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Configurations and layers; those that must not be distributed are left out.
    pub blobs: Vec<Descriptor>,
    /// Manifests and indexes, what is named before what names it; the last is what the tag will point at.
    pub documents: Vec<Descriptor>,
    /// The index of which only one platform's manifest is sent, because the rest is not here.
    pub instead_of: Option<Descriptor>,
}

impl Outgoing {
    /// What the tag will point at.
    #[must_use]
    pub fn target(&self) -> Option<&Descriptor> {
        self.documents.last()
    }
}

impl Images {
    /// What a push of an image sends: all of it when all of it is here, or else the platform that is asked for, or the
    /// best for this machine. It is held until the hold goes.
    ///
    /// # Errors
    /// `NotFound` when there is no such image, or not for the platform; when its content is missing or damaged.
    pub fn outgoing(&self, hold: &Hold, name: &str, platform: Option<&Platform>) -> Result<Outgoing> {
        let found = self.resolve(name)?;
        hold.pin.add(&found.id);
        let mut outgoing = Outgoing { blobs: Vec::new(), documents: Vec::new(), instead_of: None };
        if platform.is_none() && self.is_whole(&found.target)? {
            self.add_outgoing(&found.target, &mut outgoing)?;
        } else {
            let chosen =
                self.choose(&Found { name: Some(name.to_owned()), ..found.clone() }, name, platform)?;
            self.add_outgoing(&chosen.manifest, &mut outgoing)?;
            outgoing.instead_of = Some(found.target).filter(|index| index.digest != chosen.manifest.digest);
        }
        for part in outgoing.blobs.iter().chain(&outgoing.documents) {
            hold.pin.add(&part.digest);
            if self.content.size(&part.digest)?.is_none() {
                return Err(Error::MissingContent(part.digest.clone()));
            }
        }
        Ok(outgoing)
    }

    /// Whether every manifest of an image is here with everything it names.
    fn is_whole(&self, target: &Descriptor) -> Result<bool> {
        for child in self.children(target)? {
            let Some(manifest) = child.manifest else { return Ok(false) };
            for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
                if !media_type::is_foreign_layer(&part.media_type)
                    && self.content.size(&part.digest)?.is_none()
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn add_outgoing(&self, descriptor: &Descriptor, outgoing: &mut Outgoing) -> Result<()> {
        let known = |list: &[Descriptor], digest: &Digest| list.iter().any(|one| one.digest == *digest);
        if known(&outgoing.documents, &descriptor.digest) {
            return Ok(());
        }
        match self.document(&descriptor.digest, &descriptor.media_type)? {
            Document::Index(index) => {
                for child in &index.manifests {
                    self.add_outgoing(child, outgoing)?;
                }
            }
            Document::Manifest(manifest) => {
                for part in manifest.layers.iter().chain(std::iter::once(&manifest.config)) {
                    let goes = !media_type::is_foreign_layer(&part.media_type);
                    if goes && !known(&outgoing.blobs, &part.digest) {
                        outgoing.blobs.push(part.clone());
                    }
                }
            }
        }
        outgoing.documents.push(descriptor.clone());
        Ok(())
    }

    /// The names of images that have a blob: repositories that a registry may take it from instead of an upload.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn names_with(&self, blob: &Digest) -> Result<Vec<Reference>> {
        let view = self.store.read()?;
        let mut names = Vec::new();
        let prefix = format!("{} image ", uses::blob(blob));
        for (edge, _) in view.scan_prefix(&USES, &prefix)?.records {
            let named = format!("image {} name ", &edge[prefix.len()..]);
            for (edge, _) in view.scan_prefix(&USES, &named)?.records {
                names.extend(Reference::parse(&edge[named.len()..]));
            }
        }
        Ok(names)
    }

    /// The tags of a repository, as full references.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tags_of(&self, repository: &Reference) -> Result<Vec<Reference>> {
        let names = self.names()?;
        let parsed = names.iter().filter_map(|(name, _)| Reference::parse(name).ok());
        Ok(parsed.filter(|name| name.tag().is_some() && name.name() == repository.name()).collect())
    }
}
