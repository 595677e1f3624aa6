//! Contexts: named daemons, in the files that Docker's command line keeps them in.
//!
//! ```text
//! ~/.docker/contexts/meta/<sha256 of the name>/meta.json
//! ~/.docker/contexts/tls/<sha256 of the name>/docker/{ca.pem, cert.pem, key.pem}
//! ```

mod choose;
mod store;

pub(crate) use choose::{Chosen, Endpoint, TlsWishes, Wishes, choose};
pub(crate) use store::{Context, Store, TLS_FILES, check_name};

/// The context that needs no files: `DOCKER_HOST`, or the socket of this machine.
pub(crate) const DEFAULT: &str = "default";
