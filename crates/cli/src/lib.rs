//! The command-line door: what was typed, what was meant, and how it is printed.
//!
//! A file under `command/` holds the flags of a command and its one `run`. Parsing yields what was typed ([`grammar`]);
//! `resolve` functions yield what was meant, without I/O wherever the words do not name a file. `cli` reaches state
//! through the API alone: it opens no store, mounts nothing and starts no container by itself.

mod archive;
mod command;
mod context;
mod credentials;
mod dispatch;
mod failure;
mod grammar;
mod output;
mod session;
mod settings;
mod spawn;
mod stream;
mod tree;
mod tree_absent;
mod value;

use std::ffi::OsString;

/// Runs one command line, the program's name first, and returns the exit code of the program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    dispatch::main(args)
}
