//! One pull, step by step.

use std::sync::Arc;

use api::registry::AuthConfig;
use image::Hold;
use oci::image::{Descriptor, Document, ImageConfig, Manifest, media_type};
use oci::{Digest, Platform, Reference};
use registry::{Fetched, Repository, Which};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::choose::choose;
use super::fetch::Fetcher;
use crate::engine::Engine;
use crate::image_use::error;
use crate::images::remote_error;
use crate::images::transfer::{Ender, Lines, Watcher};
use crate::{Error, Result};

/// Indexes inside indexes are followed this deep.
const MAX_DEPTH: usize = 4;
/// Manifests about one image that are fetched with it.
const MAX_ATTESTATIONS: usize = 16;
/// Streams beside the first one of each blob, in one pull.
const MAX_FURTHER_STREAMS: usize = 6;
/// Bytes of a configuration.
const MAX_CONFIG: u64 = 8 << 20;

/// A pull under way.
pub(super) struct Pull {
    engine: Engine,
    reference: Reference,
    wanted: Option<Platform>,
    remote: Repository,
    hold: Arc<Hold>,
    lines: Lines,
    ender: Ender,
}

/// What a pull did.
#[derive(Debug)]
pub(super) struct Done {
    /// What the name points at now.
    pub(super) digest: Digest,
    /// Whether there was something to fetch.
    pub(super) brought: bool,
}

/// What was chosen of an image.
struct Chosen {
    target: Descriptor,
    /// The manifest of one platform.
    manifest: Manifest,
    /// It, the indexes above it, and manifests about it.
    documents: Vec<Fetched>,
    /// What the manifests about it name.
    attached: Vec<Descriptor>,
}

impl Pull {
    /// Asks nobody yet.
    pub(super) async fn begin(
        engine: &Engine,
        reference: &Reference,
        wanted: Option<Platform>,
        auth: &AuthConfig,
        lines: &Lines,
    ) -> Result<Self> {
        let remote = engine.registries()?.repository(reference, auth).await.map_err(remote_error)?;
        let platform = wanted.as_ref().map(ToString::to_string).unwrap_or_default();
        let (owned, name) = (engine.clone(), format!("pull {reference} {platform}"));
        let hold = crate::blocking(move || owned.images.lease(name.trim_end()).map_err(error)).await?;
        Ok(Self {
            engine: engine.clone(),
            reference: reference.clone(),
            wanted,
            remote,
            hold: Arc::new(hold),
            lines: lines.clone(),
            ender: Ender::default(),
        })
    }

    pub(super) async fn run(self) -> Result<Done> {
        let which = Which::of(&self.reference);
        let target = self.remote.manifest(&which).await.map_err(remote_error)?;
        self.lines.say(&which.to_string(), format!("Pulling from {}", self.reference.path())).await;
        let chosen = self.choose(target).await?;
        let config = self.fetch_config(&chosen).await?;
        self.keep(&chosen, config.as_ref()).await?;
        let brought = self.fetch_content(&chosen, config.as_ref()).await?;
        self.admit(chosen.target.clone()).await?;
        Ok(Done { digest: chosen.target.digest, brought })
    }

    /// Follows indexes to the manifest of the platform, and fetches what attests it.
    async fn choose(&self, target: Fetched) -> Result<Chosen> {
        let wanted = self.wanted.clone().unwrap_or_else(Platform::host);
        let descriptor = target.descriptor.clone();
        let (mut documents, mut attached) = (Vec::new(), Vec::new());
        let mut next = target;
        for _ in 0..MAX_DEPTH {
            let index = match next.document.clone() {
                Document::Manifest(manifest) => {
                    documents.push(next);
                    return Ok(Chosen { target: descriptor, manifest: *manifest, documents, attached });
                }
                Document::Index(index) => index,
            };
            documents.push(next);
            let choice = choose(&index, &wanted).ok_or_else(|| {
                Error::not_found(format!("no matching manifest for {wanted} in the manifest list entries"))
            })?;
            for about in choice.attestations.into_iter().take(MAX_ATTESTATIONS) {
                let attestation = self.remote.manifest_of(about).await.map_err(remote_error)?;
                if let Document::Manifest(manifest) = &attestation.document {
                    attached.extend(manifest.layers.iter().cloned());
                    attached.push(manifest.config.clone());
                }
                documents.push(attestation);
            }
            next = self.remote.manifest_of(choice.image).await.map_err(remote_error)?;
        }
        Err(Error::invalid(format!("{}: too many indexes inside each other", descriptor.digest)))
    }

    /// The configuration, which says how the layers are called; `None` for what is not an image.
    async fn fetch_config(&self, chosen: &Chosen) -> Result<Option<ImageConfig>> {
        let descriptor = &chosen.manifest.config;
        if !media_type::is_config(&descriptor.media_type) {
            return Ok(None);
        }
        let bytes = self.remote.blob_bytes(descriptor, MAX_CONFIG).await.map_err(remote_error)?;
        let config: ImageConfig = serde_json::from_slice(&bytes).map_err(|error| {
            Error::invalid(format!("{}: malformed configuration: {error}", descriptor.digest))
        })?;
        if let Some(wanted) = self.wanted.as_ref().filter(|wanted| wanted.rank(&config.platform()).is_none())
        {
            return Err(Error::not_found(format!(
                "image with reference {} was found but does not provide the specified platform ({wanted})",
                self.reference.familiar()
            )));
        }
        let layers = chosen.manifest.layers.iter().filter(|layer| media_type::is_layer(&layer.media_type));
        if layers.count() != config.rootfs.diff_ids.len() {
            return Err(Error::invalid(format!(
                "{}: the manifest and the configuration have different numbers of layers",
                descriptor.digest
            )));
        }
        Ok(Some(config))
    }

    /// Lets everything that is about to arrive outlive a kill.
    async fn keep(&self, chosen: &Chosen, config: Option<&ImageConfig>) -> Result<()> {
        let mut digests: Vec<Digest> =
            chosen.documents.iter().map(|document| document.descriptor.digest.clone()).collect();
        let parts = chosen.manifest.layers.iter().chain([&chosen.manifest.config]).chain(&chosen.attached);
        digests.extend(parts.map(|part| part.digest.clone()));
        digests.extend(config.iter().flat_map(|config| config.rootfs.diff_ids.iter().cloned()));
        let (engine, hold) = (self.engine.clone(), Arc::clone(&self.hold));
        crate::blocking(move || engine.images.keep(&hold, &digests).map_err(error)).await
    }

    /// Fetches everything that is not here; whether there was anything.
    async fn fetch_content(&self, chosen: &Chosen, config: Option<&ImageConfig>) -> Result<bool> {
        let downloads = usize::try_from(self.engine.current().max_concurrent_downloads).unwrap_or(3).max(1);
        let fetcher = Arc::new(Fetcher {
            engine: self.engine.clone(),
            remote: self.remote.clone(),
            hold: Arc::clone(&self.hold),
            lines: self.lines.clone(),
            end: self.ender.end(),
            downloads: Semaphore::new(downloads),
            further: Semaphore::new(MAX_FURTHER_STREAMS),
            unpacking: Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)),
        });
        let mut tasks = JoinSet::new();
        let mut diff_ids = config.iter().flat_map(|config| config.rootfs.diff_ids.iter().cloned());
        let mut layers: Vec<(Descriptor, Option<Digest>)> = Vec::new();
        for layer in &chosen.manifest.layers {
            let diff_id = if media_type::is_layer(&layer.media_type) { diff_ids.next() } else { None };
            // The same layer may come twice; once is enough.
            if !layers.iter().any(|known| *known == (layer.clone(), diff_id.clone())) {
                layers.push((layer.clone(), diff_id));
            }
        }
        let mut brought = false;
        for (layer, diff_id) in layers {
            if fetcher.is_here(&layer, diff_id.as_ref()).await? {
                self.lines.say(layer.digest.short(), "Already exists").await;
                continue;
            }
            brought = true;
            self.lines.say(layer.digest.short(), "Pulling fs layer").await;
            tasks.spawn(Arc::clone(&fetcher).layer(layer, diff_id));
        }
        for part in [&chosen.manifest.config].into_iter().chain(&chosen.attached) {
            tasks.spawn(Arc::clone(&fetcher).quietly(part.clone()));
        }
        for document in &chosen.documents {
            tasks.spawn(Arc::clone(&fetcher).document(document.clone()));
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(|error| Error::system(format!("a task of the pull failed: {error}")))??;
        }
        Ok(brought)
    }

    /// Checks what came, unpacks what needed the layers below it, and names it.
    async fn admit(self, target: Descriptor) -> Result<()> {
        let (engine, lines, end) = (self.engine, self.lines, self.ender.end());
        let (hold, reference, wanted) = (self.hold, self.reference, self.wanted);
        // Not before this point, so that a client that leaves ends the work.
        let _ender = self.ender;
        crate::blocking(move || {
            let watcher = Watcher { lines: &lines, end: &end };
            engine
                .images
                .admit(&hold, &target, Some(&reference), wanted.as_ref(), &watcher)
                .map_err(error)?;
            match Arc::try_unwrap(hold) {
                Ok(hold) => engine.images.end(hold).map_err(error),
                // A thread that is about to end still has it: the lease ends by itself.
                Err(_) => Ok(()),
            }
        })
        .await
    }
}
