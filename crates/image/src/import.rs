//! `docker import`: a root file system's tar becomes an image of one layer.

use std::io::Read;

use oci::image::{Descriptor, History, ImageConfig, Manifest, RootFs, media_type};
use oci::{Digest, Platform, Reference};

use crate::images::Images;
use crate::platform::Runnable;
use crate::progress::Progress;
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
        let layer = self.add_layer_pinned(&pin, source, "Importing", progress)?;
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
            rootfs: RootFs { diff_ids: vec![layer.diff_id], ..RootFs::default() },
            history: vec![history],
            comment,
            ..ImageConfig::default()
        };
        let name = options.reference.as_ref();
        let image = self.add_image_pinned(&pin, &config, vec![layer.descriptor], name, progress)?;
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
