//! Black-box checks of an engine over its API and a docker client.
//!
//! Expectations come from the original: the same suite runs against Docker's own engine. Where an old one differs from
//! today's behaviour the check says so and counts apart. Nothing here knows the inside of berth.

mod answers;
mod areas;
mod check;
mod command_line;
mod daemon;
mod engine;
mod faults;
mod fixture;
mod frames;
mod http;
mod hung_mount;
mod leftovers;
mod registry;
mod runner;
mod scope;
mod tar;
mod terminal;

pub use daemon::{Daemon, Flavour, Setup};
pub use engine::Engine;
pub use faults::{Faults, run as run_faults};
pub use fixture::{Archives, BUSYBOX, DEBIAN};
pub use leftovers::World;
pub use runner::{Options, Summary, run};
