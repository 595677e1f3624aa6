//! The values of flags: text → meaning, with Docker's words for what cannot be meant. No I/O except where a file is the value.

pub(crate) mod bytes;
pub(crate) mod csv;
pub(crate) mod device;
pub(crate) mod duration;
pub(crate) mod env;
pub(crate) mod filter;
#[cfg(test)]
mod fuzz;
pub(crate) mod gpu;
pub(crate) mod host;
pub(crate) mod limit;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod reference;
pub(crate) mod security;
pub(crate) mod timestamp;
pub(crate) mod volume;
