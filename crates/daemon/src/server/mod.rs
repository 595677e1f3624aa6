//! The transport: listeners, connections, routing, versions, bodies and hijacked streams. Knows HTTP and nothing of
//! containers; what a route does is behind [`router::Router`].

pub mod accept;
pub mod begin;
pub mod blocking;
pub mod body;
pub mod call;
pub mod certificate;
pub mod connection;
pub mod detach;
pub mod dispatch;
pub mod encoding;
pub mod failure;
#[cfg(test)]
mod fuzz;
pub mod gate;
pub mod hijack;
pub mod legacy_hijack;
pub mod listener;
pub mod negotiate;
pub mod presence;
pub mod query;
pub mod raw_target;
pub mod reply;
pub mod request_body;
pub mod router;
pub mod serve;
pub mod stream;
pub mod target;
pub mod tls;
pub mod underway;
pub mod websocket;
