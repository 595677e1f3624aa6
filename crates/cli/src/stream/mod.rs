//! Streams between the user's terminal and a container: input, output, raw mode, size, signals, the detach keys.

pub(crate) mod attach;
pub(crate) mod detach;
pub(crate) mod files;
pub(crate) mod signals;
pub(crate) mod stdio;
pub(crate) mod terminal;
