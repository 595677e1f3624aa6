//! The name server of user-defined networks: names, messages and answers. Pure; its sockets are the engine's.
//!
//! ```text
//!  query ──► parse ──► a name of one of the container's networks? ──► answer
//!                          │ no                 (an address, or none of that family: never forwarded)
//!                          ▼
//!                      may it leave? ──► forward with an id of our own; the answer must match the question
//! ```

mod answer;
mod message;
mod names;

pub use answer::{Outcome, Server, Transport, answer};
pub use message::{Question, Refused, answers, parse_query, with_id};
pub use names::{NamedEndpoint, NetworkNames};
