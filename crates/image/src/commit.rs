//! Making images of layers: what `docker commit` and a build end with.

use std::io::{Read, Write};

use oci::image::{Config, Descriptor, History, ImageConfig, media_type};
use oci::{Digest, Reference};

use crate::compression::Compression;
use crate::images::Images;
use crate::layers::LayerKey;
use crate::pins::Pin;
use crate::progress::{Meter, Progress};
use crate::record::PARENTS;
use crate::{Error, Hold, Result, Runnable, change};

/// A layer that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedLayer {
    /// Its blob.
    pub descriptor: Descriptor,
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
}

/// What becomes of a container's changes.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// The image's name; without one it is dangling.
    pub reference: Option<Reference>,
    /// The comment in its history.
    pub comment: String,
    /// Who made it.
    pub author: String,
    /// The configuration of the container, which the image's containers start from.
    pub config: Config,
    /// Dockerfile instructions that change that configuration.
    pub changes: Vec<String>,
    /// The command that the history shows.
    pub created_by: String,
}

impl Images {
    /// Takes in a layer: stored as it comes, and unpacked unless it needs the layers below it.
    ///
    /// # Errors
    /// When the archive is wrong or the disk is full.
    pub fn add_layer(
        &self,
        hold: &Hold,
        source: impl Read + Send,
        progress: &dyn Progress,
    ) -> Result<AddedLayer> {
        self.add_layer_pinned(&hold.pin, source, "Loading layer", progress)
    }

    pub(crate) fn add_layer_pinned(
        &self,
        pin: &Pin,
        source: impl Read + Send,
        status: &'static str,
        progress: &dyn Progress,
    ) -> Result<AddedLayer> {
        let mut ingest = self.content.ingest_new()?;
        let mut meter = Meter::new(progress, "", status, None);
        let tap = |bytes: &[u8]| {
            meter.add(bytes.len())?;
            ingest.write(bytes)
        };
        let (draft, passed) = self.layers.unpack_stream(source, tap, "layer")?;
        // Pinned before it has a name: from then on a collector could take it.
        let blob = ingest.commit_pinned(None, pin)?;
        let diff_id = passed.diff_id.clone().unwrap_or_else(|| blob.digest.clone());
        let media_type = match passed.compression {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        let descriptor = Descriptor::new(media_type, blob.digest, blob.size);
        // A layer that needs the ones below it is unpacked with the image it becomes a part of.
        if !passed.value.needs.parents {
            let key = LayerKey::Alone(diff_id.clone());
            pin.add(key.text());
            self.layers.publish(draft, &key, &diff_id, &passed.value)?;
        }
        Ok(AddedLayer { descriptor, diff_id })
    }

    /// Makes an image of a configuration and layers that are in the store (the lowest first), and names it.
    ///
    /// # Errors
    /// When layers and configuration do not fit together, or the disk is full.
    pub fn add_image(
        &self,
        hold: &Hold,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        name: Option<&Reference>,
        progress: &dyn Progress,
    ) -> Result<Runnable> {
        self.add_image_pinned(&hold.pin, config, layers, name, progress)
    }

    pub(crate) fn add_image_pinned(
        &self,
        pin: &Pin,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        name: Option<&Reference>,
        progress: &dyn Progress,
    ) -> Result<Runnable> {
        let image = self.write_image(config, layers, pin)?;
        self.unpack(&image, progress)?;
        match name {
            Some(name) => self.set_name(&name.or_latest(), &image.manifest, false)?,
            None => self.set_dangling(&image.manifest)?,
        }
        self.settle_soon();
        Ok(image)
    }

    /// Makes an image of a container's changes on top of the image it was made of. The container should be paused.
    ///
    /// # Errors
    /// `NotFound` when it has no snapshot; `Invalid` for a wrong change.
    pub fn commit(&self, id: &str, options: &CommitOptions, progress: &dyn Progress) -> Result<Digest> {
        let mut config = options.config.clone();
        change::apply(&mut config, &options.changes)?;
        let base = self.snapshot_image(id)?;
        let pin = self.pins.operation();
        // What changed nothing has no layer.
        let layer =
            if self.changes(id)?.is_empty() { None } else { Some(self.changes_layer(id, &pin, progress)?) };
        let created = crate::time::now_text();
        let own_author = options.author.clone();
        let author = match (own_author.is_empty(), &base) {
            (true, Some(base)) => base.config.author.clone(),
            _ => own_author,
        };
        let mut image = base.as_ref().map(|base| base.config.clone()).unwrap_or_else(|| {
            let platform = self.options.platform.clone();
            ImageConfig {
                architecture: platform.architecture,
                os: platform.os,
                variant: platform.variant,
                ..ImageConfig::default()
            }
        });
        image.history.push(History {
            created: Some(created.clone()),
            created_by: options.created_by.clone(),
            author: author.clone(),
            comment: options.comment.clone(),
            empty_layer: layer.is_none(),
        });
        (image.created, image.author, image.config) = (Some(created), author, config);
        image.comment.clone_from(&options.comment);
        let mut layers = base.map(|base| base.layers).unwrap_or_default();
        if let Some(layer) = layer {
            image.rootfs.diff_ids.push(layer.diff_id);
            layers.push(layer.descriptor);
        }
        let made = self.add_image_pinned(&pin, &image, layers, options.reference.as_ref(), progress)?.id;
        let snapshot = self.store.read()?.get(&crate::record::SNAPSHOTS, &id.to_owned())?;
        if let Some(parent) = snapshot.and_then(|snapshot| snapshot.image) {
            self.store.write(|transaction| transaction.put(&PARENTS, &made.to_string(), &parent))?;
        }
        Ok(made)
    }

    /// The image that a committed image was made of.
    pub(crate) fn parent_of(&self, id: &Digest) -> Result<Option<Digest>> {
        Ok(self.store.read()?.get(&PARENTS, &id.to_string())?)
    }

    /// A container's changes as a layer of the store.
    fn changes_layer(&self, id: &str, pin: &Pin, progress: &dyn Progress) -> Result<AddedLayer> {
        let (mut reader, mut writer) = std::io::pipe().map_err(crate::error::stream("make a pipe"))?;
        std::thread::scope(|scope| {
            let changes = scope.spawn(move || {
                let result = self.write_changes(id, &mut writer);
                // A reader that has failed says why itself.
                result.and_then(|()| writer.flush().map_err(crate::error::stream("write the changes")))
            });
            let added = self.add_layer_pinned(pin, &mut reader, "Committing", progress);
            drop(reader);
            match (changes.join(), added) {
                (_, Err(error)) | (Ok(Err(error)), Ok(_)) => Err(error),
                (Ok(Ok(())), Ok(layer)) => Ok(layer),
                (Err(panic), Ok(_)) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// The image a container's snapshot was made of; `None` when it was made of none.
    fn snapshot_image(&self, id: &str) -> Result<Option<Runnable>> {
        let record = self.store.read()?.get(&crate::record::SNAPSHOTS, &id.to_owned())?;
        let record = record.ok_or_else(|| Error::NoSuchSnapshot(id.to_owned()))?;
        record.manifest.map(|manifest| self.by_manifest(&manifest)).transpose()
    }
}
