//! Why the store cannot do what was asked.

use std::path::PathBuf;

/// What kind of failure it is, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Another process has the store open.
    Locked,
    /// The database was written by a newer version of berth.
    TooNew,
    /// The database is damaged.
    Corrupt,
    /// A record cannot be decoded.
    Undecodable,
    /// Something else is in the way now and will be gone (a reader during an integrity check).
    Busy,
    /// The disk, a permission, or another failure of the system.
    System,
}

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the store open.
    #[error(
        "{directory:?} is in use by another daemon{holder}: stop it, or give this one another --data-root"
    )]
    Locked {
        /// The store's directory.
        directory: PathBuf,
        /// ` (process <pid>)`, or nothing when it could not be read.
        holder: String,
    },
    /// The database was written by a newer version of berth.
    #[error(
        "{path:?} was written by a newer version of berth (schema {found}; this one knows up to {known}): use that version"
    )]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// The schema version in the file.
        found: u64,
        /// The newest schema version this binary knows.
        known: u64,
    },
    /// The database file is damaged.
    #[error(
        "the database {path:?} is damaged ({reason}): run `berth system check --repair`, or, where no daemon runs, the same with \
         `--data-root DIR`, where DIR is its data root"
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What the database found.
        reason: String,
    },
    /// A record cannot be decoded.
    #[error("record {key:?} of table {table} cannot be read: {reason}")]
    Undecodable {
        /// The table.
        table: &'static str,
        /// The record's key.
        key: String,
        /// What the decoder found.
        reason: String,
    },
    /// A record cannot be encoded.
    #[error("record {key:?} of table {table} cannot be written: {reason}")]
    Unencodable {
        /// The table.
        table: &'static str,
        /// The record's key.
        key: String,
        /// What the encoder found.
        reason: String,
    },
    /// A reader or a writer is active.
    #[error("the database is being read: try again")]
    Busy,
    /// A system call failed.
    #[error(transparent)]
    System(#[from] linux::Error),
    /// A file could not be made, read or written.
    #[error("{action} {path:?}: {error}")]
    File {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The database could not do its work.
    #[error("database: {0}")]
    Database(String),
}

impl Error {
    /// The kind of the failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Locked { .. } => Kind::Locked,
            Self::TooNew { .. } => Kind::TooNew,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Undecodable { .. } => Kind::Undecodable,
            Self::Busy => Kind::Busy,
            Self::Unencodable { .. } | Self::System(_) | Self::File { .. } | Self::Database(_) => {
                Kind::System
            }
        }
    }

    /// Whether a file could not be opened because its file system cannot be written.
    pub(crate) fn is_of_read_only_disk(&self) -> bool {
        matches!(self, Self::File { error, .. } if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
    }
}

/// Any failure of the database that is not a damaged file at opening.
pub(crate) fn database(error: impl Into<redb::Error>) -> Error {
    Error::Database(error.into().to_string())
}
