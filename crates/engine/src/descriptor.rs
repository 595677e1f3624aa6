//! Descriptors: those that tokio waits for, and those that are kept for an undo.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor that `inner` owns and keeps open for as long as it lives.
#[expect(
    deprecated,
    reason = "its successor is unsafe because a type could close its descriptor early; ours own theirs"
)]
pub(crate) fn watch<T: AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(inner, interest)
}

/// What taking back a change of a container's networks needs at most.
const RESERVE: usize = 8;

/// Descriptors that are kept free for an undo: what is begun with them can be taken back, also when there are no others.
#[derive(Debug)]
pub(crate) struct Reserve(Vec<File>);

impl Reserve {
    /// Takes them, or says that there are too few before anything is begun.
    pub(crate) fn hold() -> io::Result<Self> {
        (0..RESERVE).map(|_| File::open("/dev/null")).collect::<io::Result<_>>().map(Self)
    }

    /// Gives them to whoever opens something next.
    pub(crate) fn release(&mut self) {
        self.0.clear();
    }
}
