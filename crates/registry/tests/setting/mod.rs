//! What the tests of the client have in common: clients that touch no file of the host, and content.

#![allow(dead_code, reason = "each test program uses its part")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api::registry::AuthConfig;
use oci::image::Descriptor;
use registry::{Client, Patience, Repository, Result, Settings};
use testkit::{Registry, digest_of};

/// A client that knows nothing of the host and gives up soon.
pub(crate) fn client() -> Client {
    client_with(|_| {})
}

pub(crate) fn client_with(change: impl FnOnce(&mut Settings)) -> Client {
    let mut settings = Settings {
        certs_dirs: Vec::new(),
        registries_conf: None,
        system_roots: Vec::new(),
        patience: Patience {
            answer: Duration::from_secs(20),
            idle: Duration::from_millis(500),
            pause: Duration::from_millis(1),
            ..Patience::default()
        },
        ..Settings::default()
    };
    change(&mut settings);
    Client::new(settings).expect("a client")
}

pub(crate) fn reference(registry: &Registry, name: &str) -> oci::Reference {
    oci::Reference::parse(&format!("{}/{name}", registry.host())).expect("a reference")
}

pub(crate) async fn repository(registry: &Registry, name: &str) -> Repository {
    client().repository(&reference(registry, name), &AuthConfig::default()).await.expect("a repository")
}

pub(crate) fn auth(user: &str, secret: &str) -> AuthConfig {
    AuthConfig { username: user.into(), password: secret.into(), ..AuthConfig::default() }
}

/// Bytes that differ everywhere.
pub(crate) fn layer(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    let size = u64::try_from(bytes.len()).expect("a length");
    Descriptor::new(media_type, digest_of(bytes).parse().expect("a digest"), size)
}

/// A part of a blob in one piece.
pub(crate) async fn read_all(
    repository: &Repository,
    descriptor: &Descriptor,
    range: Range<u64>,
) -> Result<Vec<u8>> {
    let mut blob = repository.blob(descriptor, range).await?;
    let mut whole = Vec::new();
    while let Some(piece) = blob.next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// A directory of a test's own, removed at its end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("berth-registry-{}-{name}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("a file")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        std::fs::write(&file, text).expect("a file");
        file
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
