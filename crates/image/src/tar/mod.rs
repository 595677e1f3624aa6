//! Tar archives: reading what comes from outside, and writing our own.

mod read;
mod write;

pub(crate) use read::{Entry, EntryKind, Reader, Sparse};
pub(crate) use write::{Header, Writer};
