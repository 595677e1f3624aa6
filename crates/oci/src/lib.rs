//! The vocabulary of the Open Container Initiative: runtime spec, image spec, digests, references, platforms. No I/O.

mod config;
pub mod digest;
#[cfg(test)]
mod fuzz;
pub mod image;
pub mod platform;
pub mod reference;
pub mod runtime;
pub mod whiteout;

pub use digest::Digest;
pub use platform::Platform;
pub use reference::{AnyReference, Reference};
