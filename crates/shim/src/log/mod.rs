//! Container output on disk: Docker's `json-file` format or our `local` one, rotation, and reading it back.
//!
//! ```text
//! pipe or terminal ─► Writer: lines of at most 16 KiB ─► {"log":"…\n","stream":"stdout","time":"…"} ─► <id>-json.log
//!                                                                     rotation ─► .1 ─► .2.gz …          │
//!                                     daemon: Reader (tail, since, until, follow) ◄──── from disk alone ─┘
//! ```
//!
//! Every line of output is one line of the file. A line of output longer than 16 KiB is cut into several; all but the
//! last have no `\n` at the end of `log`. Whatever a container writes, writer and reader use bounded memory.

mod blocks;
mod compact;
mod compress;
mod escape;
mod files;
mod followers;
mod identity;
mod line;
mod notes;
mod queue;
mod reader;
mod rotate;
mod scan;
mod seek;
mod source;
mod split;
mod writer;

pub use identity::Position;
pub use line::Entry;
pub use reader::{Follow, Lost, Query, Reader};
pub use writer::Writer;

/// The most bytes of output in one line of the file, as in Docker.
pub const LINE_LIMIT: usize = 16 * 1024;

/// Which output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Descriptor 1, or the terminal.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// Both, in the order of their descriptors.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The number in Docker's stream frames: 1 or 2.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.number()) - 1
    }
}

/// Why a log cannot be opened, read or set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be opened, read, written or renamed.
    #[error("cannot {action} the log file {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The log cannot be watched for changes.
    #[error("cannot watch the log for changes: {0}")]
    Watch(#[from] linux::Error),
    /// The settings make no sense.
    #[error("invalid log settings: {0}")]
    Settings(String),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
