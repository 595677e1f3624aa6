//! Tar archives: reading what comes from outside, and writing our own.

mod entry;
mod read;
mod write;

pub(crate) use entry::{Entry, EntryKind, Segment, Sparse};
pub(crate) use read::Reader;
pub(crate) use write::{Header, Writer};
