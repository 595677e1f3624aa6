//! `docker import`: a root file system's tar becomes an image of one layer.

use std::io::Read;

use oci::image::{Descriptor, History, ImageConfig, Manifest, RootFs, media_type};
use oci::{Digest, Platform, Reference};

use crate::compression::Compression;
use crate::images::Images;
use crate::layers::{LayerKey, Wanted};
use crate::platform::Runnable;
use crate::progress::{Meter, Progress};
use crate::{Result, change};

/// What becomes of an imported archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The image's name; without one it is dangling.
    pub reference: Option<Reference>,
    /// The comment in its history.
    pub message: String,
    /// Dockerfile instructions that change its configuration.
    pub changes: Vec<String>,
    /// Its platform; this machine's when not given.
    pub platform: Option<Platform>,
}

impl Images {
    /// Imports a root file system; the new image's ID.
    ///
    /// # Errors
    /// When the archive or a change is wrong, or the disk is full; then nothing of it is visible.
    pub fn import(
        &self,
        source: impl Read + Send,
        options: &ImportOptions,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let mut config = oci::image::Config::default();
        change::apply(&mut config, &options.changes)?;
        let pin = self.pins.operation();
        let mut ingest = self.content.ingest_new()?;
        let mut meter = Meter::new(progress, "", "Importing", None);
        let tap = |bytes: &[u8]| {
            meter.add(bytes.len())?;
            ingest.write(bytes)
        };
        let (draft, passed) = self.layers.unpack_stream(source, tap, "import")?;
        // Pinned before it has a name: from then on a collector could take it.
        let blob = ingest.commit_pinned(None, &pin)?;
        let diff_id = passed.diff_id.clone().unwrap_or_else(|| blob.digest.clone());
        let key = LayerKey::Alone(diff_id.clone());
        pin.add(key.text());
        let media_type = match passed.compression {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        let layer = Descriptor::new(media_type, blob.digest, blob.size);
        if passed.value.needs.parents {
            // There is nothing below: what the layer needs is looked for in the layer itself.
            drop(draft);
            let wanted = Wanted { diff_id: diff_id.clone(), blob: layer.clone() };
            pin.add(LayerKey::Chain(diff_id.clone()).text());
            self.layers.ensure(&self.content, &[wanted], progress)?;
        } else {
            self.layers.publish(draft, &key, &diff_id, &passed.value)?;
        }
        let created = crate::time::now_text();
        let platform = options.platform.clone().unwrap_or_else(|| self.options.platform.clone());
        let comment = options.message.clone();
        let history =
            History { created: Some(created.clone()), comment: comment.clone(), ..History::default() };
        let config = ImageConfig {
            created: Some(created),
            architecture: platform.architecture,
            os: platform.os,
            os_version: platform.os_version,
            variant: platform.variant,
            config,
            rootfs: RootFs { diff_ids: vec![diff_id], ..RootFs::default() },
            history: vec![history],
            comment,
            ..ImageConfig::default()
        };
        let image = self.write_image(&config, vec![layer], &pin)?;
        match &options.reference {
            Some(reference) => self.set_name(&reference.or_latest(), &image.manifest, false)?,
            None => self.set_dangling(&image.manifest)?,
        }
        self.settle_soon();
        Ok(image.id)
    }

    /// Writes the configuration and the manifest of an image of one platform.
    pub(crate) fn write_image(
        &self,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        pin: &crate::pins::Pin,
    ) -> Result<Runnable> {
        let config_descriptor = self.write_json(media_type::OCI_CONFIG, config, pin)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            artifact_type: None,
            config: config_descriptor,
            layers: layers.clone(),
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        let descriptor = self.write_json(media_type::OCI_MANIFEST, &manifest, pin)?;
        let id = descriptor.digest.clone();
        let (config, platform) = (config.clone(), config.platform());
        Ok(Runnable { id, manifest: descriptor, config, platform, layers })
    }

    /// Writes a document as a pinned blob.
    pub(crate) fn write_json(
        &self,
        media_type: &str,
        document: &impl serde::Serialize,
        pin: &crate::pins::Pin,
    ) -> Result<Descriptor> {
        let bytes = serde_json::to_vec(document)
            .map_err(|error| crate::Error::Invalid(format!("a document cannot be written: {error}")))?;
        let digest = crate::hash::digest_of(&bytes);
        pin.add(&digest);
        let blob = self.content.put(&bytes)?;
        Ok(Descriptor::new(media_type, blob.digest, blob.size))
    }
}
