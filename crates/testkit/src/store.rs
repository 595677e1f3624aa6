//! What a registry has: blobs, manifests, tags and uploads, by repository.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{CONFIG, LAYER, MANIFEST};

/// The contents of a registry.
#[derive(Debug, Default)]
pub(crate) struct Store {
    repositories: BTreeMap<String, Repository>,
    uploads: BTreeMap<u64, Vec<u8>>,
    last_upload: u64,
}

#[derive(Debug, Default)]
struct Repository {
    blobs: BTreeMap<String, Vec<u8>>,
    /// By digest: media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    tags: BTreeMap<String, String>,
}

/// `sha256:<digits>` of bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

impl Store {
    pub(crate) fn add_blob(&mut self, repository: &str, bytes: Vec<u8>) -> String {
        let digest = digest_of(&bytes);
        self.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest.clone(), bytes);
        digest
    }

    pub(crate) fn add_manifest(
        &mut self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> String {
        let digest = digest_of(&bytes);
        let repository = self.repositories.entry(repository.to_owned()).or_default();
        repository.manifests.insert(digest.clone(), (media_type.to_owned(), bytes));
        if !tag.is_empty() {
            repository.tags.insert(tag.to_owned(), digest.clone());
        }
        digest
    }

    pub(crate) fn forget(&mut self, repository: &str) {
        self.repositories.remove(repository);
    }

    pub(crate) fn add_image(&mut self, repository: &str, tag: &str, layers: &[Vec<u8>]) -> String {
        let digests: Vec<_> = layers.iter().map(|layer| self.add_blob(repository, layer.clone())).collect();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": digests },
        });
        let config = config.to_string().into_bytes();
        let described = |media: &str, digest: &str, size: usize| json!({ "mediaType": media, "digest": digest, "size": size });
        let config_digest = self.add_blob(repository, config.clone());
        let layers: Vec<_> =
            digests.iter().zip(layers).map(|(digest, layer)| described(LAYER, digest, layer.len())).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(CONFIG, &config_digest, config.len()),
            "layers": layers,
        });
        self.add_manifest(repository, tag, MANIFEST, manifest.to_string().into_bytes())
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str) -> Option<&Vec<u8>> {
        self.repositories.get(repository)?.blobs.get(digest)
    }

    pub(crate) fn manifest(&self, repository: &str, which: &str) -> Option<&(String, Vec<u8>)> {
        let repository = self.repositories.get(repository)?;
        let digest = repository.tags.get(which).map_or(which, String::as_str);
        repository.manifests.get(digest)
    }

    pub(crate) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.repositories.get(repository)?.tags.keys().cloned().collect())
    }

    /// Descriptors of the manifests whose subject has this digest.
    pub(crate) fn referrers(&self, repository: &str, subject: &str) -> Vec<serde_json::Value> {
        let Some(repository) = self.repositories.get(repository) else { return Vec::new() };
        let refers = |(digest, (media, bytes)): (&String, &(String, Vec<u8>))| {
            let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            (document["subject"]["digest"] == subject).then(|| {
                json!({ "mediaType": media, "digest": digest, "size": bytes.len(), "artifactType": document["artifactType"] })
            })
        };
        repository.manifests.iter().filter_map(refers).collect()
    }

    pub(crate) fn begin_upload(&mut self) -> u64 {
        self.last_upload += 1;
        self.uploads.insert(self.last_upload, Vec::new());
        self.last_upload
    }

    /// Adds to an upload; how long it is now, or `None` when there is no such upload.
    pub(crate) fn append(&mut self, upload: u64, bytes: &[u8]) -> Option<usize> {
        let content = self.uploads.get_mut(&upload)?;
        content.extend_from_slice(bytes);
        Some(content.len())
    }

    /// Ends an upload. `Some(false)` when its content has another digest.
    pub(crate) fn finish(&mut self, repository: &str, upload: u64, digest: &str) -> Option<bool> {
        let content = self.uploads.remove(&upload)?;
        let fits = digest_of(&content) == digest;
        if fits {
            self.add_blob(repository, content);
        }
        Some(fits)
    }

    pub(crate) fn cancel(&mut self, upload: u64) -> bool {
        self.uploads.remove(&upload).is_some()
    }

    pub(crate) fn mount(&mut self, repository: &str, digest: &str, from: &str) -> bool {
        match self.blob(from, digest).cloned() {
            Some(bytes) => {
                self.add_blob(repository, bytes);
                true
            }
            None => false,
        }
    }
}
