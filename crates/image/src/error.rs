//! Why an image operation failed: a kind for programs, words for people (Docker's, where its clients match on them).

use std::io;

use oci::Digest;
use oci::digest::DigestError;
use oci::image::DocumentError;
use oci::reference::ReferenceError;

/// What kind of failure it is; decides the status an API answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was named does not exist.
    NotFound,
    /// It cannot be done because of what else exists.
    Conflict,
    /// What was given is wrong: a name, an archive, a manifest.
    Invalid,
    /// It is right, and berth does not support it.
    Unsupported,
    /// The disk is full, or would be.
    Full,
    /// The caller asked to stop.
    Cancelled,
    /// Stored content is damaged.
    Corrupt,
    /// A system call or the database failed.
    System,
}

/// A failure of an image operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image has this name or ID.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// The image is there, but not for the platform that is asked for.
    #[error("image with reference {name} was found but does not provide the specified platform ({platform})")]
    NoSuchPlatform {
        /// The image's name as people write it.
        name: String,
        /// The platform asked for.
        platform: String,
    },
    /// No container has a snapshot with this ID.
    #[error("No such container: {0}")]
    NoSuchSnapshot(String),
    /// There is nothing at a path in a container.
    #[error("Could not find the file {0} in container")]
    NoSuchPath(String),
    /// A prefix that several images' IDs start with.
    #[error("ambiguous reference")]
    Ambiguous,
    /// The image cannot be removed.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A name is not a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A text is not a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A manifest or an index is wrong.
    #[error("{digest}: {error}")]
    Document {
        /// Which one.
        digest: Digest,
        /// What is wrong with it.
        error: DocumentError,
    },
    /// What was given is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A tar archive is wrong, or asks for what is not allowed.
    #[error("{archive}: {reason}")]
    Archive {
        /// Which archive, for people.
        archive: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is right, and berth does not support it.
    #[error("{0}")]
    Unsupported(String),
    /// Content does not have the digest it was announced with.
    #[error("unexpected digest: expected {expected}, the content has {found}")]
    WrongDigest {
        /// The digest announced.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// Content does not have the length it was announced with.
    #[error("unexpected length of {digest}: expected {expected} bytes, got {found}")]
    WrongLength {
        /// The digest announced.
        digest: Digest,
        /// The length announced.
        expected: u64,
        /// The length of what came.
        found: u64,
    },
    /// Content that a record or a manifest names is not in the store.
    #[error("content {0} is not in the store")]
    MissingContent(Digest),
    /// Stored content no longer has its digest.
    #[error("content {0} is damaged on disk: run `berth system check --repair`")]
    DamagedContent(Digest),
    /// The disk is full, or would be.
    #[error("no space left on device: {0}")]
    Full(String),
    /// The caller asked to stop.
    #[error("the operation was cancelled")]
    Cancelled,
    /// A system call failed.
    #[error(transparent)]
    System(#[from] linux::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Reading or writing a stream failed.
    #[error("{doing}: {error}")]
    Stream {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

/// The result of an image operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The kind of the failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSuchImage(_)
            | Self::NoSuchPlatform { .. }
            | Self::NoSuchSnapshot(_)
            | Self::NoSuchPath(_)
            | Self::Ambiguous
            | Self::MissingContent(_) => Kind::NotFound,
            Self::Conflict(_) => Kind::Conflict,
            Self::Reference(_)
            | Self::Digest(_)
            | Self::Document { .. }
            | Self::Invalid(_)
            | Self::Archive { .. }
            | Self::WrongDigest { .. }
            | Self::WrongLength { .. } => Kind::Invalid,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::Full(_) => Kind::Full,
            Self::Cancelled => Kind::Cancelled,
            Self::DamagedContent(_) => Kind::Corrupt,
            Self::System(error) if error.kind() == io::ErrorKind::StorageFull => Kind::Full,
            Self::Stream { error, .. } if error.kind() == io::ErrorKind::StorageFull => Kind::Full,
            Self::System(_) | Self::Store(_) | Self::Stream { .. } => Kind::System,
        }
    }

    /// Whether the database itself is damaged, so that nothing in it can be relied on.
    #[must_use]
    pub fn is_of_database(&self) -> bool {
        matches!(self, Self::Store(failure) if failure.kind() == store::Kind::Corrupt)
    }

    pub(crate) fn archive(archive: &str, reason: impl Into<String>) -> Self {
        Self::Archive { archive: archive.to_owned(), reason: reason.into() }
    }
}

/// Names what was being done with a stream when it failed.
pub(crate) fn stream(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| match error.downcast::<Error>() {
        // One of ours that travelled through a `Read` of the standard library.
        Ok(ours) => ours,
        Err(error) => Error::Stream { doing, error },
    }
}
