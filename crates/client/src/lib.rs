//! Engine API client over a unix or TCP socket, with hijacked streams.
//!
//! `client` knows the wire: sockets, HTTP/1.1, the negotiated version, Docker's error body, the 8-byte stream frames. It
//! knows no command, prints nothing and reads no environment variable.

mod address;
mod body;
mod connection;
mod error;
#[cfg(test)]
mod fuzz;
mod json_lines;
mod mux;
mod request;
mod tls;
mod transport;
mod version;

pub use address::{Address, InvalidAddress, Ssh};
pub use body::Outgoing;
pub use connection::{Client, Hijacked, HijackedReader, HijackedWriter, Response};
pub use error::{Error, Result};
pub use json_lines::JsonLines;
pub use mux::{Demux, InvalidFrame, Stream};
pub use request::{Query, Request};
pub use tls::{InvalidTls, TlsFiles};
pub use version::{ApiVersion, InvalidVersion, Ping};

/// The newest API version this client speaks.
pub const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 57 };
