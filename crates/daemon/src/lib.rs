//! The HTTP door: listeners, routes, API versions, hijacked streams.
//!
//! `daemon` never sees a mount, a pid or a rule: a route extracts, calls one function of the engine, encodes.

mod authorization;
pub mod check;
pub mod config;
mod dump;
pub mod host;
mod logging;
mod metrics;
mod routes;
mod run;
pub mod server;
pub mod shape;
mod signals;

pub use run::main;
