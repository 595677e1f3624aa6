//! `docker load`: images from a tar that is an OCI layout, a docker-archive, or both.
//!
//! The tar is read once, in whatever order it comes: every file that may be content goes into the store as it passes,
//! verified when its name says what it is; the small files that say what belongs together are read at the end. No
//! image has a name before all its content is there and its layers are unpacked.

use std::collections::HashMap;
use std::io::Read;
use std::sync::mpsc::{SyncSender, sync_channel};

use oci::image::{
    ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME, Descriptor, Document, ImageConfig, Index, Manifest,
    media_type,
};
use oci::{Digest, Platform, Reference};
use serde::Deserialize;

use crate::ahead::Ahead;
use crate::compression::Compression;
use crate::content::Blob;
use crate::images::Images;
use crate::ingest::Ingest;
use crate::names::Found;
use crate::pins::Pin;
use crate::pipeline::{self, Pump};
use crate::progress::{Meter, Progress};
use crate::tar::{EntryKind, Reader};
use crate::unpack::clean;
use crate::{Error, Result};

/// How images are loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The platforms that must be among what is loaded; none asks for nothing in particular.
    pub platforms: Vec<Platform>,
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its ID.
    pub id: Digest,
    /// The name the archive gives it, as people write it.
    pub name: Option<String>,
}

/// What a tar contained.
#[derive(Default)]
struct Archive {
    /// Files that went into the store, by path.
    files: HashMap<Vec<u8>, Blob>,
    /// Links to other files of the archive, by path.
    links: HashMap<Vec<u8>, Vec<u8>>,
    index: Option<Vec<u8>>,
    manifest: Option<Vec<u8>>,
}

/// One image of a docker-archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArchiveImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// A file of the archive that has been read, and what its name says that it is.
struct Arrived<'a> {
    ingest: Ingest<'a>,
    expected: Option<Blob>,
}

const NAME: &str = "image archive";
/// Files that may wait for the disk.
const COMMITS: usize = 4;
/// Bytes of `index.json` and `manifest.json`.
const MAX_LIST: u64 = 16 << 20;
/// Images of one archive.
const MAX_IMAGES: usize = 10_000;

impl Images {
    /// Loads the images of a tar, which may be compressed as a whole.
    ///
    /// # Errors
    /// When the archive or something in it is wrong, or the disk is full. The images before the wrong one stay.
    pub fn load(
        &self,
        source: impl Read + Send,
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let pin = self.pins.operation();
        let loaded = self.load_pinned(source, options, &pin, progress);
        drop(pin);
        self.settle_soon();
        // What came along and belongs to no image goes again, above all when nothing became one.
        let collected = self.collect();
        let loaded = loaded?;
        collected.map(|_| loaded)
    }

    fn load_pinned(
        &self,
        source: impl Read + Send,
        options: &LoadOptions,
        pin: &Pin,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let tap = |_: &[u8]| if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) };
        let passed = pipeline::run(source, tap, Pump::Along, &self.options.limits, |reader| {
            self.take_in(&mut Reader::new(reader, NAME, &self.options.limits), pin, progress)
        })?;
        let archive = passed.value;
        match (&archive.index, &archive.manifest) {
            (Some(index), _) => self.load_layout(index, options, pin, progress),
            (None, Some(manifest)) => self.load_docker_archive(manifest, &archive, options, pin, progress),
            (None, None) => {
                let words = "it is neither an OCI layout (index.json) nor a docker-archive (manifest.json)";
                Err(Error::archive(NAME, words))
            }
        }
    }

    /// Takes the files of the tar into the store. While one is read, the one before it gets onto the disk.
    fn take_in(&self, reader: &mut Reader<impl Read>, pin: &Pin, progress: &dyn Progress) -> Result<Archive> {
        std::thread::scope(|scope| {
            let (commits, waiting) = sync_channel::<Arrived<'_>>(COMMITS);
            let committer = scope.spawn(move || {
                waiting.iter().try_for_each(|Arrived { ingest, expected }| {
                    ingest.commit_layer(expected.as_ref(), pin).map(drop)
                })
            });
            let archive = self.take_files(reader, pin, &commits, progress);
            drop(commits);
            match committer.join() {
                // Why there is nobody who commits any more comes first.
                Ok(committed) => committed.and(archive),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn take_files<'a>(
        &'a self,
        reader: &mut Reader<impl Read>,
        pin: &Pin,
        commits: &SyncSender<Arrived<'a>>,
        progress: &dyn Progress,
    ) -> Result<Archive> {
        let mut archive = Archive::default();
        while let Some(entry) = reader.next()? {
            let show = String::from_utf8_lossy(&entry.path).into_owned();
            let Some(path) = clean(&entry.path) else {
                return Err(Error::archive(NAME, format!("the path {show:?} leads out of it")));
            };
            match entry.kind {
                EntryKind::File { sparse: Some(_) } => {
                    return Err(Error::archive(NAME, format!("the file {show:?} has holes")));
                }
                EntryKind::File { sparse: None } => {
                    let list = match path.as_slice() {
                        b"index.json" => &mut archive.index,
                        b"manifest.json" => &mut archive.manifest,
                        b"oci-layout" | b"repositories" => continue,
                        path if path.ends_with(b"/VERSION") || path.ends_with(b"/json") => continue,
                        _ => {
                            let expected =
                                blob_of_path(&path).map(|digest| Blob { digest, size: entry.size });
                            let arrival = self.take_blob(expected, entry.size, reader, pin, progress)?;
                            let (blob, arrived) = arrival;
                            archive.files.insert(path, blob);
                            // Nobody commits any more: the committer knows why.
                            if arrived.is_some_and(|arrived| commits.send(arrived).is_err()) {
                                break;
                            }
                            continue;
                        }
                    };
                    *list = Some(reader.read_all(MAX_LIST)?);
                }
                EntryKind::Symlink(target) => {
                    let directory = path.rsplitn(2, |byte| *byte == b'/').nth(1).unwrap_or_default();
                    if let Some(target) = clean(&[directory, &target].join(&b'/')) {
                        archive.links.insert(path, target);
                    }
                }
                EntryKind::HardLink(target) => {
                    if let Some(target) = clean(&target) {
                        archive.links.insert(path, target);
                    }
                }
                // Directories say nothing, and what else may be in a tar is not content.
                _ => {}
            }
        }
        Ok(archive)
    }

    /// Takes in one file; what is there already is skipped. What may be a layer is unpacked while it is read.
    fn take_blob<'a>(
        &'a self,
        expected: Option<Blob>,
        size: u64,
        reader: &mut Reader<impl Read>,
        pin: &Pin,
        progress: &dyn Progress,
    ) -> Result<(Blob, Option<Arrived<'a>>)> {
        if let Some(expected) = &expected {
            pin.add(&expected.digest);
            if self.content.size(&expected.digest)? == Some(expected.size) {
                return Ok((expected.clone(), None));
            }
        }
        let mut ingest = match &expected {
            Some(expected) => self.content.ingest_as(expected.digest.algorithm())?,
            None => self.content.ingest_new()?,
        };
        let id = expected.as_ref().map_or("", |blob| blob.digest.short()).to_owned();
        let mut meter = Meter::new(progress, &id, "Loading layer", Some(size));
        let mut is_begun = false;
        loop {
            let bytes = reader.take(usize::MAX)?;
            if bytes.is_empty() {
                break;
            }
            if !std::mem::replace(&mut is_begun, true) && Ahead::is_for(bytes) {
                ingest.unpack_ahead(&self.layers);
            }
            meter.add(bytes.len())?;
            ingest.write(bytes)?;
        }
        if size > self.options.limits.max_document {
            meter.report();
        }
        let found = ingest.found();
        pin.add(&found.digest);
        Ok((found, Some(Arrived { ingest, expected })))
    }

    /// Loads the images that an OCI layout's index names.
    fn load_layout(
        &self,
        index: &[u8],
        options: &LoadOptions,
        pin: &Pin,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let index: Index = serde_json::from_slice(index)
            .map_err(|error| Error::archive(NAME, format!("index.json is malformed: {error}")))?;
        if index.manifests.is_empty() || index.manifests.len() > MAX_IMAGES {
            return Err(Error::archive(NAME, "index.json names no image, or too many"));
        }
        let mut loaded = Vec::new();
        for mut descriptor in index.manifests {
            let kind = descriptor.media_type.clone();
            if !media_type::is_manifest(&kind) && !media_type::is_index(&kind) {
                return Err(Error::archive(NAME, format!("index.json names something of type {kind:?}")));
            }
            let size = self.content.size(&descriptor.digest)?;
            if size.is_none_or(|size| size != descriptor.size) {
                return Err(Error::MissingContent(descriptor.digest));
            }
            let annotations = std::mem::take(&mut descriptor.annotations);
            let name =
                annotations.get(ANNOTATION_IMAGE_NAME).or_else(|| annotations.get(ANNOTATION_REF_NAME));
            let name = name.and_then(|name| Reference::parse(name).ok());
            let names: Vec<Reference> = name.into_iter().collect();
            loaded.extend(self.admit_as(&descriptor, &names, options, pin, progress, None)?);
        }
        Ok(loaded)
    }

    /// Unpacks an image and gives it its names.
    pub(crate) fn admit_as(
        &self,
        target: &Descriptor,
        names: &[Reference],
        options: &LoadOptions,
        pin: &Pin,
        progress: &dyn Progress,
        lease: Option<&String>,
    ) -> Result<Vec<Loaded>> {
        pin.add(&target.digest);
        let shown = names.first().map_or_else(|| target.digest.to_string(), Reference::familiar);
        let found = Found { id: target.digest.clone(), target: target.clone(), name: Some(shown.clone()) };
        let children = self.children(target)?;
        for child in &children {
            // Complete or absent: a manifest whose parts are missing is of no use to anybody.
            if let (Some(manifest), true) = (&child.manifest, child.config.is_some()) {
                self.check_parts(manifest)?;
            }
        }
        if let Some(absent) =
            children.first().filter(|_| children.iter().all(|child| child.manifest.is_none()))
        {
            return Err(Error::MissingContent(absent.descriptor.digest.clone()));
        }
        for platform in &options.platforms {
            self.choose(&found, &shown, Some(platform))?;
        }
        let wanted = options.platforms.first();
        if children.iter().any(|child| child.config.is_some() && !child.attestation) {
            self.unpack(&self.choose(&found, &shown, wanted)?, progress)?;
        }
        self.options.steps.reached("image unpacked");
        if let Some(lease) = lease {
            // Becomes durable together with the name that holds the content from then on.
            self.store.write_relaxed(|transaction| transaction.delete(&crate::lease::LEASES, lease))?;
        }
        if names.is_empty() {
            self.set_dangling(target)?;
            return Ok(vec![Loaded { id: target.digest.clone(), name: None }]);
        }
        names
            .iter()
            .map(|name| {
                let name = name.or_latest();
                self.set_name(&name, target, false)?;
                Ok(Loaded { id: target.digest.clone(), name: Some(name.familiar()) })
            })
            .collect()
    }

    fn check_parts(&self, manifest: &Manifest) -> Result<()> {
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if media_type::is_foreign_layer(&part.media_type) {
                continue;
            }
            match self.content.size(&part.digest)? {
                Some(size) if size == part.size => {}
                Some(found) => {
                    let digest = part.digest.clone();
                    return Err(Error::WrongLength { digest, expected: part.size, found });
                }
                None => return Err(Error::MissingContent(part.digest.clone())),
            }
        }
        Ok(())
    }

    /// Loads the images that a docker-archive's `manifest.json` names; each gets a manifest of Docker's schema 2.
    fn load_docker_archive(
        &self,
        list: &[u8],
        archive: &Archive,
        options: &LoadOptions,
        pin: &Pin,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let list: Vec<ArchiveImage> = serde_json::from_slice(list)
            .map_err(|error| Error::archive(NAME, format!("manifest.json is malformed: {error}")))?;
        if list.is_empty() || list.len() > MAX_IMAGES {
            return Err(Error::archive(NAME, "manifest.json names no image, or too many"));
        }
        let mut loaded = Vec::new();
        for image in list {
            let target = self.docker_manifest(&image, archive, pin)?;
            let tags = image.repo_tags.unwrap_or_default();
            let names: Vec<Reference> =
                tags.iter().map(|tag| Reference::parse(tag)).collect::<std::result::Result<_, _>>()?;
            loaded.extend(self.admit_as(&target, &names, options, pin, progress, None)?);
        }
        Ok(loaded)
    }

    /// Makes the manifest that an image of a docker-archive does not have.
    fn docker_manifest(&self, image: &ArchiveImage, archive: &Archive, pin: &Pin) -> Result<Descriptor> {
        let config = archive.find(&image.config)?;
        let parsed: ImageConfig = self.read_json(&config.digest)?;
        let paths = image.layers.as_deref().unwrap_or_default();
        let diff_ids = parsed.rootfs.diff_ids.len();
        if paths.len() != diff_ids {
            let count = paths.len();
            let words = format!("{} has {diff_ids} layers and manifest.json names {count}", image.config);
            return Err(Error::archive(NAME, words));
        }
        let mut layers = Vec::new();
        for path in paths {
            let blob = archive.find(path)?;
            let mut head = Vec::new();
            let file = self.content.open_blob(&blob.digest)?;
            file.take(8).read_to_end(&mut head).map_err(crate::error::stream("read a layer"))?;
            let media_type = match Compression::detect(&head)? {
                Compression::None => media_type::DOCKER_LAYER,
                Compression::Gzip => media_type::DOCKER_LAYER_GZIP,
                Compression::Zstd => media_type::OCI_LAYER_ZSTD,
            };
            layers.push(Descriptor::new(media_type, blob.digest, blob.size));
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::DOCKER_MANIFEST.to_owned(),
            artifact_type: None,
            config: Descriptor::new(media_type::DOCKER_CONFIG, config.digest, config.size),
            layers,
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        let descriptor = self.write_json(media_type::DOCKER_MANIFEST, &manifest, pin)?;
        debug_assert!(matches!(self.document(&descriptor.digest, ""), Ok(Document::Manifest(_))));
        Ok(descriptor)
    }
}

impl Archive {
    /// The content of a path that `manifest.json` names, through the archive's own links.
    fn find(&self, path: &str) -> Result<Blob> {
        let missing = || Error::archive(NAME, format!("manifest.json names {path:?}, which is not in it"));
        let mut at = clean(path.as_bytes()).ok_or_else(missing)?;
        for _ in 0..8 {
            if let Some(blob) = self.files.get(&at) {
                return Ok(blob.clone());
            }
            at = self.links.get(&at).ok_or_else(missing)?.clone();
        }
        Err(missing())
    }
}

/// The digest that `blobs/<algorithm>/<hex>` promises.
fn blob_of_path(path: &[u8]) -> Option<Digest> {
    let path = std::str::from_utf8(path).ok()?;
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}
