//! Client of image registries (OCI distribution specification 1.1; Docker's token authentication).
//!
//! ```text
//! Client ── repository(reference, credentials) ──► Repository        for one operation: a pull, a push
//!   │                                                ├ resolve · manifest · manifest_of · tags · referrers
//!   ├ login                                          ├ blob (from any byte on) · blob_bytes
//!   └ search                                         └ has_blob · mount · put_blob · begin_upload · put_manifest
//! ```
//!
//! Which hosts are asked is a plan over facts: `registry-mirrors`, containerd's `hosts.toml`, Podman's `registries.conf`, and
//! the registry itself, in this order; the registry has the last word. See `docs/decisions/0020-registry-client.md`.
//!
//! - **Everything from a registry is limited**: heads (256 KiB, 128 headers), documents (4 MiB), lists, messages, redirects
//!   (10, no circles, never out of TLS unless a digest pins the content), and the time for each step ([`Patience`]).
//! - **Everything is verified that can be**: manifests have their digest, size and media type before a caller sees them.
//!   Blobs come as a stream of exactly the announced length; whoever stores them hashes them.
//! - **Credentials are shown to the registry itself**, and to the token server that it names: not to mirrors, not to the
//!   hosts that it redirects to, and not in the clear on behalf of a registry that is reached over TLS.
//! - Names are resolved without NSS, and no environment variable is read here ([`Proxies::from_environment`] takes a function).
//!
//! Errors say what Docker says; [`Error::kind`] is for machines. Sizes are bytes.

mod auth;
mod blob;
mod client;
mod endpoint;
mod error;
mod follow;
#[cfg(test)]
mod fuzz;
mod list;
mod login;
mod manifest;
mod network;
mod problem;
mod proxy;
mod repository;
mod search;
mod session;
mod settings;
mod transport;
mod upload;

pub use blob::{Blob, Step};
pub use client::Client;
pub use error::{Cause, Error, ErrorKind, Result};
pub use follow::Source;
pub use manifest::{Fetched, Which};
pub use proxy::Proxies;
pub use repository::Repository;
pub use settings::{Patience, Settings};
pub use upload::Upload;
