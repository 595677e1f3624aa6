//! WebSocket (RFC 6455), as much as an attachment needs: the handshake, and a stream of bytes in data frames.
//!
//! Written here because it is small: three header lines and a frame of at most fourteen bytes. Nothing is buffered but
//! what a client is slow to take: data passes through as it comes, whatever length a frame says it has.

mod frame;
#[cfg(test)]
mod fuzz;
mod handshake;
mod stream;

pub use handshake::{accept, is_asked_for};
pub use stream::{Payload, WebSocket};
