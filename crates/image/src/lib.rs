//! Images: content store, layers, snapshots, import, load and save.

pub mod change;
mod collect;
mod compression;
mod content;
mod error;
mod hash;
pub mod hello;
mod images;
mod import;
mod layers;
mod limits;
mod names;
mod pins;
mod pipeline;
mod platform;
mod progress;
mod record;
mod recover;
mod snapshot;
mod steps;
mod tar;
#[cfg(test)]
mod testing;
mod time;
mod unpack;
mod usage;

pub use collect::Collected;
pub use error::{Error, Kind, Result};
pub use hash::digest_of;
pub use images::{Images, Options};
pub use import::ImportOptions;
pub use limits::Limits;
pub use names::{Found, NoUsers, RemoveOptions, Removed, User, Users};
pub use platform::Runnable;
pub use progress::{Event, Progress, Silent};
pub use recover::Recovery;
pub use snapshot::Snapshot;
pub use steps::Steps;
pub use usage::Usage;
