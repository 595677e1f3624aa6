//! Descriptors that tokio waits for.

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
