//! What can go wrong between a command and a daemon, in Docker's words.

use std::io;

use thiserror::Error;

use crate::{Address, InvalidFrame};

/// The result of a call to a daemon.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call that did not work.
#[derive(Debug, Error)]
pub enum Error {
    /// The daemon answered with an error status; `message` is its own text.
    #[error("Error response from daemon: {message}")]
    Daemon {
        /// The HTTP status.
        status: u16,
        /// The `message` of the error body.
        message: String,
    },
    /// Nothing listens at the address.
    #[error("Cannot connect to the Docker daemon at {address}. Is the docker daemon running?")]
    Unreachable {
        /// Where the connection was tried.
        address: Address,
        /// The error of connect(2).
        source: io::Error,
    },
    /// The socket is there, and this user may not open it.
    #[error("permission denied while trying to connect to the docker API at {address}")]
    Permission {
        /// Where the connection was tried.
        address: Address,
    },
    /// A host name that could not be turned into an address.
    #[error("error during connect: lookup {host}: {reason}")]
    Lookup {
        /// The host name.
        host: String,
        /// Why there is no address.
        reason: String,
    },
    /// The two sides could not agree on encryption.
    #[error("error during connect: {address}: tls: {source}")]
    Tls {
        /// The daemon's address.
        address: Address,
        /// What rustls says about it.
        source: io::Error,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("error during connect: {address}: {source}")]
    Http {
        /// The daemon's address.
        address: Address,
        /// What hyper says about it.
        source: hyper::Error,
    },
    /// A request that cannot be put into HTTP words.
    #[error("cannot send {what}: {source}")]
    Request {
        /// The method and path.
        what: String,
        /// What the http crate says about it.
        source: http::Error,
    },
    /// The daemon's answer is not the JSON it should be.
    #[error("cannot decode the daemon's answer to {what}: {source}")]
    Decode {
        /// The path that was asked.
        what: String,
        /// Where the text stops making sense.
        source: serde_json::Error,
    },
    /// The daemon's answer is larger than any honest one.
    #[error("the daemon's answer to {what} is larger than {limit} bytes")]
    TooLarge {
        /// The path that was asked.
        what: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// A stream of frames that is none.
    #[error(transparent)]
    Frame(#[from] InvalidFrame),
    /// Reading or writing a stream failed.
    #[error("{what}: {source}")]
    Stream {
        /// What was read or written.
        what: &'static str,
        /// The error of the system.
        source: io::Error,
    },
}

impl Error {
    /// The daemon's HTTP status, when it answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Daemon { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The daemon has no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Nobody listens at the address: starting a daemon there could help.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
