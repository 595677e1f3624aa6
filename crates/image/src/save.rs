//! `docker save`: images as one tar that is an OCI layout and a docker-archive at once, as today's Docker writes it.
//!
//! Content goes out byte for byte as it came in, so that the same image loads with the same ID anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use linux::file::Time;
use oci::image::{ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME, Descriptor, Document, Index, media_type};
use oci::{Digest, Platform, Reference};
use serde::Serialize;

use crate::error::stream;
use crate::hash::Hasher;
use crate::images::Images;
use crate::names::Found;
use crate::tar::{EntryKind, Header, Writer};
use crate::{Error, Result};

/// One image of `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ArchiveImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What goes into the tar.
#[derive(Default)]
struct Selection {
    blobs: BTreeSet<Digest>,
    index: Vec<Descriptor>,
    images: Vec<ArchiveImage>,
}

impl Images {
    /// Writes images to `sink`, those of some platforms only when platforms are given. What is not here (other
    /// platforms of an index, foreign layers) is left out.
    ///
    /// # Errors
    /// `NotFound` when there is no such image or nothing of it for the platforms; before anything is written.
    pub fn save(&self, names: &[String], platforms: &[Platform], sink: &mut dyn Write) -> Result<()> {
        let pin = self.pins.operation();
        let selection = self.select(names, platforms)?;
        for digest in &selection.blobs {
            pin.add(digest);
        }
        let mut tar = Writer::new(sink);
        for directory in ["blobs/", "blobs/sha256/", "blobs/sha512/"] {
            let needed = |digest: &Digest| directory.ends_with(&format!("/{}/", digest.algorithm().name()));
            if directory == "blobs/" || selection.blobs.iter().any(needed) {
                let kind = EntryKind::Dir;
                tar.begin(&header(directory.as_bytes(), &kind, 0o755, 0)).map_err(stream(WRITING))?;
            }
        }
        for digest in &selection.blobs {
            self.write_blob(&mut tar, digest)?;
        }
        let index = Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.to_owned(),
            artifact_type: None,
            manifests: selection.index,
            subject: None,
            annotations: BTreeMap::new(),
        };
        write_json(&mut tar, "index.json", &index)?;
        write_json(&mut tar, "manifest.json", &selection.images)?;
        write_json(&mut tar, "oci-layout", &BTreeMap::from([("imageLayoutVersion", "1.0.0")]))?;
        tar.finish().map_err(stream(WRITING))?;
        Ok(())
    }

    fn select(&self, names: &[String], platforms: &[Platform]) -> Result<Selection> {
        let all = self.names()?;
        let mut selection = Selection::default();
        for name in names {
            let found = self.resolve(name)?;
            let keys = self.saved_names(&all, name, &found);
            self.select_content(&found, platforms, &mut selection)?;
            let chosen = match platforms.first() {
                Some(platform) => Some(self.choose(&found, name, Some(platform))?),
                None => self.choose(&found, name, None).ok(),
            };
            if let Some(image) = chosen {
                let config = match self.document(&image.manifest.digest, &image.manifest.media_type)? {
                    Document::Manifest(manifest) => manifest.config.digest,
                    Document::Index(_) => continue,
                };
                let tags: Vec<String> = keys.iter().map(Reference::familiar).collect();
                let here = image.layers.iter().filter(|layer| selection.blobs.contains(&layer.digest));
                selection.images.push(ArchiveImage {
                    config: blob_path(&config),
                    repo_tags: (!tags.is_empty()).then_some(tags),
                    layers: here.map(|layer| blob_path(&layer.digest)).collect(),
                });
            }
            let base = Descriptor { annotations: BTreeMap::new(), ..found.target.clone() };
            if keys.is_empty() {
                selection.index.push(base);
                continue;
            }
            for key in keys {
                let mut descriptor = base.clone();
                descriptor.annotations.insert(ANNOTATION_IMAGE_NAME.to_owned(), key.to_string());
                if let Some(tag) = key.tag() {
                    descriptor.annotations.insert(ANNOTATION_REF_NAME.to_owned(), tag.to_owned());
                }
                selection.index.push(descriptor);
            }
        }
        Ok(selection)
    }

    /// The names that go with an image: the one that was typed, all tags of a repository that was typed without one, none
    /// for an ID.
    fn saved_names(&self, all: &[crate::names::Named], typed: &str, found: &Found) -> Vec<Reference> {
        let Ok(reference) = Reference::parse(typed) else { return Vec::new() };
        let key = reference.or_latest().to_string();
        let known = all.iter().any(|(name, record)| *name == key && record.target.digest == found.id);
        if known { vec![reference.or_latest()] } else { Vec::new() }
    }

    /// The blobs of an image that are here.
    fn select_content(&self, found: &Found, platforms: &[Platform], selection: &mut Selection) -> Result<()> {
        let wanted = |candidate: Option<Platform>| {
            platforms.is_empty()
                || candidate.is_some_and(|candidate| platforms.iter().any(|p| p.rank(&candidate).is_some()))
        };
        let mut documents = vec![found.target.clone()];
        while let Some(descriptor) = documents.pop() {
            let document = match self.document(&descriptor.digest, &descriptor.media_type) {
                Ok(document) => document,
                Err(Error::MissingContent(_)) if descriptor.digest != found.id => continue,
                Err(error) => return Err(error),
            };
            if !selection.blobs.insert(descriptor.digest.clone()) {
                continue;
            }
            match document {
                Document::Index(index) => {
                    let children = index.manifests.into_iter();
                    documents.extend(children.filter(|child| {
                        child.platform.is_none() || child.is_attestation() || wanted(child.platform.clone())
                    }));
                }
                Document::Manifest(manifest) => {
                    for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
                        if media_type::is_foreign_layer(&part.media_type) {
                            continue;
                        }
                        if self.content.size(&part.digest)?.is_none() {
                            return Err(Error::MissingContent(part.digest.clone()));
                        }
                        selection.blobs.insert(part.digest.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes a blob and verifies it on the way out: a damaged one ends the archive with an error.
    fn write_blob(&self, tar: &mut Writer<&mut dyn Write>, digest: &Digest) -> Result<()> {
        let mut file = self.content.open_blob(digest)?;
        let size = file.metadata().map_err(stream("look at a blob"))?.len();
        let kind = EntryKind::File { sparse: None };
        tar.begin(&header(blob_path(digest).as_bytes(), &kind, 0o644, size)).map_err(stream(WRITING))?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; 256 << 10];
        loop {
            let length = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(stream("read a blob")(error)),
            };
            hasher.update(&buffer[..length]);
            tar.write(&buffer[..length]).map_err(stream(WRITING))?;
        }
        if hasher.finish() == *digest { Ok(()) } else { Err(Error::DamagedContent(digest.clone())) }
    }
}

const WRITING: &str = "write the image archive";

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn header<'a>(path: &'a [u8], kind: &'a EntryKind, mode: u32, size: u64) -> Header<'a> {
    Header { path, kind, mode, uid: 0, gid: 0, modified: Time::default(), size, xattrs: &[] }
}

fn write_json(tar: &mut Writer<&mut dyn Write>, name: &str, document: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(document).map_err(|error| Error::Invalid(format!("{name}: {error}")))?;
    let kind = EntryKind::File { sparse: None };
    tar.begin(&header(name.as_bytes(), &kind, 0o644, bytes.len() as u64)).map_err(stream(WRITING))?;
    tar.write(&bytes).map_err(stream(WRITING))
}
