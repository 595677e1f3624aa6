//! What registries have of a list, and the way of a list to them.

use oci::image::Descriptor;
use oci::{Digest, Platform, Reference};
use registry::{Client, Fetched, Proxies, Repository, Settings, Which};
use serde_json::Value;

use super::store::Stored;
use crate::credentials;
use crate::failure::Failure;
use crate::output::write;
use crate::session::Session;

/// The longest configuration of an image that is read.
const LONGEST_CONFIG: u64 = 8 << 20;
/// The most images of a list that are asked for.
const MOST: usize = 1000;

/// The registries, as this user sees them.
pub(super) struct Registries<'a> {
    session: &'a Session,
    insecure: bool,
}

fn failed(error: registry::Error) -> Failure {
    Failure::text(error.to_string())
}

impl<'a> Registries<'a> {
    /// `insecure`: any certificate is as good as none.
    pub(super) fn new(session: &'a Session, insecure: bool) -> Self {
        Self { session, insecure }
    }

    async fn repository(&self, name: &Reference) -> Result<Repository, Failure> {
        let insecure = if self.insecure { vec![name.domain().to_owned()] } else { Vec::new() };
        let proxies = Proxies::from_environment(|name| std::env::var(name).ok()).map_err(failed)?;
        let client = Client::new(Settings { insecure, proxies, ..Settings::default() }).map_err(failed)?;
        let auth = credentials::look_up(self.session, super::super::pull::registry_of(&name.name()));
        client.repository(name, &auth).await.map_err(failed)
    }

    /// The image of a name, or all of a list.
    pub(super) async fn find(&self, name: &Reference) -> Result<Vec<Stored>, Failure> {
        let repository = self.repository(name).await?;
        let found = repository.manifest(&Which::of(name)).await.map_err(failed)?;
        let Some(children) = children(&found)? else {
            return Ok(vec![image(&repository, name.clone(), found, None).await?]);
        };
        let mut all = Vec::new();
        for child in children.into_iter().take(MOST) {
            let found = repository.manifest_of(&child).await.map_err(failed)?;
            let reference = name.with_digest(child.digest.clone());
            let stored = image(&repository, reference, found, child.platform).await?;
            all.push(Stored { is_listed: true, ..stored });
        }
        Ok(all)
    }

    /// The image of a name; a list is refused.
    pub(super) async fn image(&self, name: &Reference) -> Result<Stored, Failure> {
        let repository = self.repository(name).await?;
        let found = repository.manifest(&Which::of(name)).await.map_err(failed)?;
        if children(&found)?.is_some() {
            return Err(Failure::text(format!("{name} is a manifest list")));
        }
        image(&repository, name.clone(), found, None).await
    }

    /// Puts the images where the list goes, and then the list. All are in the same registry.
    pub(super) async fn push(
        &self,
        list: &Reference,
        images: &[Stored],
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Digest, Failure> {
        let repository = self.repository(list).await?;
        for stored in images.iter().filter(|stored| stored.reference.path() != list.path()) {
            for blob in blobs(stored)? {
                if repository.has_blob(&blob).await.map_err(failed)?.is_some() {
                    continue;
                }
                let from = stored.reference.path();
                if let Some(upload) = repository.mount(&blob, from).await.map_err(failed)? {
                    upload.cancel().await.map_err(failed)?;
                    return Err(Failure::text(format!("the registry does not take {blob} over from {from}")));
                }
            }
            let digest = stored.descriptor.digest.clone();
            let which = Which::Digest(digest.clone());
            let content = stored.bytes.clone().into();
            repository.put_manifest(&which, &stored.descriptor.media_type, content).await.map_err(failed)?;
            write(&format!(
                "Pushed ref {} with digest: {digest}\n",
                list.without_digest().with_digest(digest.clone())
            ))?;
        }
        let pushed =
            repository.put_manifest(&Which::of(list), media_type, bytes.into()).await.map_err(failed)?;
        Ok(pushed.digest)
    }
}

fn parsed(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::text(format!("the manifest is no JSON: {error}")))
}

/// What a list names; `None` when it is an image.
fn children(found: &Fetched) -> Result<Option<Vec<Descriptor>>, Failure> {
    let Some(manifests) = parsed(&found.bytes)?.get("manifests").cloned() else { return Ok(None) };
    let children = serde_json::from_value(manifests);
    children.map(Some).map_err(|error| Failure::text(format!("the manifest list cannot be read: {error}")))
}

/// Digests of what an image consists of.
fn blobs(stored: &Stored) -> Result<Vec<Digest>, Failure> {
    let manifest = parsed(&stored.bytes)?;
    let mut all = vec![manifest["config"]["digest"].clone()];
    all.extend(manifest["layers"].as_array().into_iter().flatten().map(|layer| layer["digest"].clone()));
    let digests = all.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
    digests.map_err(|error| {
        Failure::text(format!("the manifest of {} cannot be read: {error}", stored.reference))
    })
}

/// An image with its platform: that of the list it is in, else that of its configuration.
async fn image(
    repository: &Repository,
    reference: Reference,
    found: Fetched,
    listed: Option<Platform>,
) -> Result<Stored, Failure> {
    let mut descriptor = found.descriptor;
    descriptor.platform = match listed {
        Some(platform) => Some(platform),
        None => {
            let config: Descriptor = serde_json::from_value(parsed(&found.bytes)?["config"].clone())
                .map_err(|error| {
                    Failure::text(format!("the manifest of {reference} has no configuration: {error}"))
                })?;
            let config = repository.blob_bytes(&config, LONGEST_CONFIG).await.map_err(failed)?;
            serde_json::from_slice(&config).ok()
        }
    };
    Ok(Stored { reference, descriptor, bytes: found.bytes.to_vec(), is_listed: false })
}
