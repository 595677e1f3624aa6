//! Black-box checks of an engine over its API and a docker client.
//!
//! Expectations come from the original: the same suite runs against Docker's own engine. Where an old one differs from
//! today's behaviour the check says so and counts apart. Nothing here knows the inside of berth.

mod answers;
mod areas;
mod check;
mod collector;
mod command_line;
mod daemon;
mod engine;
mod faults;
mod fixture;
mod frames;
mod hosts;
mod http;
mod hung_mount;
mod leftovers;
mod nameserver;
mod program_file;
mod registry;
mod runner;
mod scope;
mod slow_registry;
mod tar;
mod terminal;

pub use daemon::{Daemon, Flavour, Setup};
pub use engine::Engine;
pub use faults::{Faults, run as run_faults};
pub use fixture::{Archives, BUSYBOX, DEBIAN};
pub use hung_mount::HungMount;
pub use leftovers::World;
pub use runner::{Options, Summary, run};
pub use slow_registry::SlowRegistry;

/// The variable by which somebody who runs the suite in a process namespace of its own tells it who it is.
pub const RUN: &str = "BERTH_XTASK_RUN";

/// What no other run on the machine has at the same time, for names that all share: files, network namespaces, control
/// groups. The number of the process would do if each saw all processes.
#[must_use]
pub fn run_number() -> String {
    std::env::var(RUN).unwrap_or_else(|_| std::process::id().to_string())
}
