//! Use cases: owns the state of containers, images and networks, and orders effects.
//!
//! `engine` never sees HTTP. [`Engine`] is a struct of handles without behaviour; a use case is a free function in its
//! own file.

mod apparmor;
mod boot;
mod cdi;
mod config;
pub mod container;
mod descriptor;
pub mod engine;
mod error;
pub mod event;
mod file_work;
mod forward;
mod host;
mod id;
mod image_use;
pub mod images;
mod memory;
pub mod network;
mod pattern;
mod records;
mod salvage;
mod shim_link;
mod shim_process;
pub mod system;
mod time;
pub mod told;
pub mod userns;
pub mod volume;

pub use ::network::ipam::AddressPool;
pub use boot::{close, open as boot};
pub use config::{
    Bridge, Config, OWN_RUNTIMES, OciRuntime, Proxies, PublishPolicy, SeccompProfile, address_pool,
};
pub use engine::Engine;
pub use error::{Error, Kind, Outcome, Result};
pub use system::VERSION;

/// Who makes control groups.
pub use config::CgroupDriver;

/// Runs blocking work on a thread that may block, and waits for it. The work is done even when the caller leaves.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::system(format!("an internal task failed: {error}")))?
}
