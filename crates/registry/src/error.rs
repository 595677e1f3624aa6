//! What can go wrong between an engine and a registry, in the words that Docker's clients know.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use oci::Digest;

/// The result of a call to a registry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The registry has no such manifest, blob or repository, or does not show it to this user.
    NotFound,
    /// The credentials are missing or wrong.
    Unauthorized,
    /// The credentials are good and not enough.
    Forbidden,
    /// What was asked for cannot be asked for: a broken setting, a blocked registry.
    InvalidParameter,
    /// The registry cannot be reached, or fails, or wants fewer requests.
    Unavailable,
    /// What the registry sent is not what it was asked for: wrong digest, wrong length, no JSON.
    Corrupt,
}

/// A call that did not work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No such tag or digest. `reference` is as users write it.
    #[error("manifest for {reference} not found: manifest unknown: {message}")]
    ManifestUnknown {
        /// Which manifest.
        reference: String,
        /// What the registry says, `manifest unknown` when it says nothing.
        message: String,
    },
    /// The repository does not exist, or is hidden from this user.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login'{}",
        tail(message)
    )]
    PullDenied {
        /// Which repository, as users write it.
        repository: String,
        /// What the registry says, or nothing.
        message: String,
    },
    /// The registry has no such repository.
    #[error("repository {repository} not found: {message}")]
    RepositoryUnknown {
        /// Which repository, as users write it.
        repository: String,
        /// What the registry says.
        message: String,
    },
    /// No such blob.
    #[error("blob unknown to registry: {digest}")]
    BlobUnknown {
        /// Which blob.
        digest: Digest,
    },
    /// The credentials are missing or wrong.
    #[error("unauthorized: {message}")]
    Unauthorized {
        /// What the registry says.
        message: String,
    },
    /// The credentials are good and not enough.
    #[error("denied: {message}")]
    Denied {
        /// What the registry says.
        message: String,
    },
    /// A login that was refused with a bare status.
    #[error("login attempt to {url} failed with status: {status}")]
    LoginRefused {
        /// What was asked.
        url: String,
        /// Status and phrase, `401 Unauthorized`.
        status: String,
    },
    /// The registry wants fewer requests.
    #[error("toomanyrequests: {message}{}", again(*again_at))]
    TooManyRequests {
        /// What the registry says.
        message: String,
        /// In how long it will answer again, when it says so.
        retry_after: Option<Duration>,
        /// When that is.
        again_at: Option<Timestamp>,
    },
    /// The registry answered with an error that has no meaning of its own here.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the registry says, or `received unexpected HTTP status: …`.
        message: String,
    },
    /// No answer: the connection could not be made, or broke.
    #[error("{method} \"{url}\": {cause}")]
    Transport {
        /// As Docker writes it: `Get`, `Head`, `Put`.
        method: String,
        /// What was asked, without credentials.
        url: String,
        /// Why there is no answer.
        cause: Cause,
    },
    /// An answer that breaks the protocol.
    #[error("{url}: {reason}")]
    Protocol {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Content that does not have its digest.
    #[error(
        "{what} has digest {found}, expected {expected}: the registry or something on the way to it is broken"
    )]
    Digest {
        /// Which content.
        what: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// Content that does not have its length.
    #[error("{what} has {found} bytes, expected {expected}")]
    Length {
        /// Which content.
        what: String,
        /// How many bytes were announced.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// More than is read from a registry.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A registry that the settings forbid.
    #[error("registry {host} is blocked in {file}")]
    Blocked {
        /// The registry.
        host: String,
        /// Where that is said.
        file: PathBuf,
    },
    /// A setting that cannot be used.
    #[error("{place}: {reason}")]
    Settings {
        /// The file, or the name of the setting.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was to be sent could not be read.
    #[error("cannot read what is to be sent: {reason}")]
    Source {
        /// The error of the reader.
        reason: String,
    },
}

/// Why there is no answer, in the words of Go's network library where clients look for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The name has no address.
    #[error("dial tcp: lookup {host}: {reason}")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// Nobody listens, or nobody can be reached.
    #[error("dial tcp {address}: {reason}")]
    Connect {
        /// Address and port.
        address: String,
        /// Why.
        reason: String,
    },
    /// A plain server where TLS was spoken.
    #[error("http: server gave HTTP response to HTTPS client")]
    PlainServer,
    /// TLS failed.
    #[error("tls: {0}")]
    Tls(String),
    /// The proxy would not.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
    /// The registry wants name and secret, and there are none.
    #[error("no basic auth credentials")]
    NoCredentials,
    /// The other side does not finish a TLS handshake; not worth another try.
    #[error("net/http: TLS handshake timeout")]
    HandshakeTimedOut,
    /// It took too long.
    #[error("{0}")]
    TimedOut(&'static str),
    /// Too many redirects, or one that must not be followed.
    #[error("{0}")]
    Redirect(String),
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
}

fn tail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn again(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| format!(" (the registry answers again at {at:.0})"))
}

impl Error {
    /// What a caller may do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ManifestUnknown { .. }
            | Self::PullDenied { .. }
            | Self::RepositoryUnknown { .. }
            | Self::BlobUnknown { .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. }
            | Self::LoginRefused { .. }
            | Self::Transport { cause: Cause::NoCredentials, .. } => ErrorKind::Unauthorized,
            Self::Denied { .. } => ErrorKind::Forbidden,
            Self::Blocked { .. } | Self::Settings { .. } => ErrorKind::InvalidParameter,
            Self::Refused { status: 400..=499, .. } => ErrorKind::InvalidParameter,
            Self::Refused { .. }
            | Self::TooManyRequests { .. }
            | Self::Transport { .. }
            | Self::Source { .. } => ErrorKind::Unavailable,
            Self::Protocol { .. } | Self::Digest { .. } | Self::Length { .. } | Self::TooLarge { .. } => {
                ErrorKind::Corrupt
            }
        }
    }

    /// Whether the connection broke, or stood still, on the way: the same request may well succeed at once.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Transport { cause: Cause::TimedOut(_) | Cause::Broken(_), .. })
    }

    /// Whether nobody answers at the address, or what answers is broken: another host may do better.
    #[must_use]
    pub fn is_of_this_host(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Protocol { .. } | Self::TooManyRequests { .. } => true,
            Self::Digest { .. } | Self::Length { .. } | Self::TooLarge { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            _ => false,
        }
    }
}
