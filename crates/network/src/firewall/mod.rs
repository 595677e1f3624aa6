//! The firewall: one nf_tables table of our own for packets and one for frames, as values, with differences applied as one atomic batch.
//!
//! ```text
//!  Ruleset   what the engine means: networks with their modes, published ports        ruleset.rs
//!    │ render                                                                         render.rs
//!  Table     chains, rules, sets and maps, printed as nft(8) reads them               table.rs
//!    │ change(old, new)                                                               change.rs
//!  Batch     steps, printed as an nft(8) script                                       change.rs
//!    │ encode                                                                         encode.rs
//!  nfnetlink one transaction: all of it or nothing
//! ```
//!
//! What a packet meets (`berth` is of family inet, so each chain sees IPv4 and IPv6):
//!
//! ```text
//!  prerouting, raw    guard        from outside, nothing is for 127.0.0.0/8
//!  prerouting, dstnat prerouting ─┐ to an address of this host?
//!  output, -100       output ─────┴→ published: two map lookups, then the address and port of a container
//!  forward, filter    forward      established → one bridge → links → internal → published → open → drop
//!  postrouting, srcnat postrouting localhost and hairpins get the bridge's address; containers the host's
//! ```
//!
//! Frames that cross a bridge do not come here: `bridge berth`, a second table, sees them (frames.rs).
//!
//! The lookups are hash lookups: a packet's cost does not grow with the number of ports, containers or networks.
//! A packet to a container that no rule names is dropped, whichever way it comes; only replies, neighbours on the same
//! bridge and published ports get through. The chain `user` of a third table, `inet berth-user`, belongs to the
//! administrator: it is created empty, asked first about every forwarded packet, and never changed by us.
//!
//! Where the kernel can, our tables are held: they belong to the socket that changes them, so that a `flush ruleset` of
//! somebody else leaves them out, and they stay when that socket is closed.

mod beside;
mod change;
mod encode;
mod expression;
mod frames;
mod host_ask;
mod host_input;
mod host_match;
mod host_rule;
mod observe;
mod passage;
mod render;
mod ruleset;
mod table;
mod watch;

pub(crate) use beside::accept_bridges;
pub use change::Batch;
pub(crate) use change::repair;
pub(crate) use encode::{batch_begin, batch_end, encode, hold_trial};
pub(crate) use frames::trial;
pub use frames::{BridgePort, Guard};
pub use host_ask::{Answer, Knock};
pub use host_input::HostInput;
pub(crate) use host_input::read_host_input;
pub use observe::{ForwardDrop, Observed};
pub(crate) use observe::{list_all_chains, observe, observe_table, parse_forward_drop};
pub use passage::Passage;
pub(crate) use render::resolver_table;
pub use ruleset::{
    Conflict, GatewayMode, InvalidProtocol, NetworkRules, Protocol, PublishedPort, Refused, Ruleset,
};
pub(crate) use table::Place;
pub use table::Table;
pub use watch::FirewallWatch;
