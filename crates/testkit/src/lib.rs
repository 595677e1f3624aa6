//! For tests: a registry of images on loopback that does what the distribution specification says, or misbehaves on purpose.
//!
//! ```text
//! let registry = Registry::start();
//! let digest = registry.image("app", "1", &[layer]);
//! registry.misbehave("GET", "/blobs/", 1, Fault::CutAfter(1000));      the first download of a blob is cut
//! … pull from registry.host() …
//! assert_eq!(registry.count("GET", "/blobs/"), 3);
//! ```
//! It speaks HTTP/1.1 over plain sockets, one thread for each connection, so that it can break every rule. It ends when it
//! is dropped. Not for anything but tests: it panics where it cannot go on.

mod fault;
mod http;
mod routes;
mod store;
mod volume_plugin;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use fault::Fault;
pub use http::Seen;
pub use store::digest_of;
pub use volume_plugin::{Lie, VolumePlugin};

use fault::Rule;
use store::Store;

/// Media types of what [`Registry::image`] makes.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// See [`MANIFEST`].
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// See [`MANIFEST`].
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// See [`MANIFEST`].
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// What the threads of a registry share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) is_over: AtomicBool,
}

/// What a registry has, wants, has seen and does wrong.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) rules: Vec<Rule>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) access: Access,
    pub(crate) host: String,
    connections: Vec<TcpStream>,
    /// Methods and paths that are being answered.
    pub(crate) busy: Vec<(String, String)>,
    /// What was being answered at the same time, each time that something was added to it.
    pub(crate) at_once: Vec<Vec<(String, String)>>,
}

/// What a registry wants to see before it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    #[default]
    Open,
    /// Name and secret.
    Basic(String, String),
    /// A token of the realm `/token` on the same host, which gives one out for name and secret, or for nothing with an
    /// empty name. It also takes the refresh token `refresh`.
    Token(String, String),
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Starts an empty registry on a free port of 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port of 127.0.0.1");
        let address = listener.local_addr().expect("the port");
        let shared = Arc::new(Shared::default());
        shared.state().host = address.to_string();
        let inside = shared.clone();
        let accept = move || {
            for stream in listener.incoming() {
                if inside.is_over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let Ok(second) = stream.try_clone() else { return };
                inside.state().connections.push(second);
                let shared = inside.clone();
                std::thread::spawn(move || http::serve(stream, &shared));
            }
        };
        Self { address, shared, listener: Some(std::thread::spawn(accept)) }
    }

    /// `127.0.0.1:41234`: what stands in front of an image's name.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it wants to see from now on.
    pub fn require(&self, access: Access) {
        self.shared.state().access = access;
    }

    /// Does `fault` to the next `times` requests with this method (any, when empty) whose path and query contain `part`.
    pub fn misbehave(&self, method: &str, part: &str, times: u32, fault: Fault) {
        let rule = Rule { method: method.to_owned(), part: part.to_owned(), times, fault };
        self.shared.state().rules.push(rule);
    }

    /// Does nothing wrong any more.
    pub fn behave(&self) {
        self.shared.state().rules.clear();
    }

    /// How many requests with this method (any, when empty) and `part` in their path and query were being answered at the
    /// same time, at most.
    #[must_use]
    pub fn most_at_once(&self, method: &str, part: &str) -> usize {
        let counts = |busy: &Vec<(String, String)>| {
            let matches = |(known, target): &&(String, String)| {
                (method.is_empty() || known == method) && target.contains(part)
            };
            busy.iter().filter(matches).count()
        };
        self.shared.state().at_once.iter().map(counts).max().unwrap_or_default()
    }

    /// Adds a blob to a repository; its digest.
    pub fn blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> String {
        self.shared.state().store.add_blob(repository, bytes.into())
    }

    /// Adds a manifest or index, also under a tag unless that is empty; its digest.
    pub fn manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: impl Into<Vec<u8>>,
    ) -> String {
        self.shared.state().store.add_manifest(repository, tag, media_type, bytes.into())
    }

    /// Adds an image for linux on this machine's architecture, of layers that are plain tar; its manifest's digest.
    pub fn image(&self, repository: &str, tag: &str, layers: &[Vec<u8>]) -> String {
        self.shared.state().store.add_image(repository, tag, layers)
    }

    /// Forgets a repository with all that it has.
    pub fn forget(&self, repository: &str) {
        self.shared.state().store.forget(repository);
    }

    /// A blob that was pushed, or put there.
    #[must_use]
    pub fn stored_blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        self.shared.state().store.blob(repository, digest).cloned()
    }

    /// A manifest by tag or digest: media type and bytes.
    #[must_use]
    pub fn stored_manifest(&self, repository: &str, which: &str) -> Option<(String, Vec<u8>)> {
        self.shared.state().store.manifest(repository, which).cloned()
    }

    /// Every request so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// How many requests with this method (any, when empty) had `part` in their path and query.
    #[must_use]
    pub fn count(&self, method: &str, part: &str) -> usize {
        let matches =
            |seen: &&Seen| (method.is_empty() || seen.method == method) && seen.target.contains(part);
        self.shared.state().seen.iter().filter(matches).count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // Wakes the listener, then whoever waits for a request or stalls in an answer.
        drop(TcpStream::connect(self.address));
        if let Some(listener) = self.listener.take() {
            let _ended = listener.join();
        }
        for connection in self.shared.state().connections.drain(..) {
            let _closed = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}
