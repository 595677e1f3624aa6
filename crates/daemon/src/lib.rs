//! The HTTP door: listeners, routes, API versions, hijacked streams.

pub mod config;
pub mod host;
pub mod server;
pub mod shape;
