//! Netlink: messages built and read with bounds checks, and the exchange that sends them.

mod connection;
mod message;
pub(crate) mod parse;

pub(crate) use connection::{Connection, Dumped};
pub use connection::{Error, Result};
pub(crate) use message::{Attributes, Message};
pub(crate) use parse::{attributes, be32_at, find, messages, text, u32_at};

/// Flags of `nlmsghdr.nlmsg_flags` (netlink(7)).
pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP_INTERRUPTED: u16 = 0x10;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
    pub(crate) const CAPPED: u16 = 0x100;
    pub(crate) const ACK_ATTRIBUTES: u16 = 0x200;
}

/// Control messages of `nlmsghdr.nlmsg_type` (netlink(7)).
pub(crate) mod control {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
}
