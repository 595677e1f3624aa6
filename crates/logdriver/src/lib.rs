//! Drivers of logs that are sent elsewhere: what their options mean, and what they put on the wire. Opens no connection,
//! reads no file and no clock.
//!
//! ```text
//! options ─► Driver::parse ─► where to (Target) ┐
//! entry of the local log ─► Message ─► Driver::encode ─► Wire: bytes of a stream, or datagrams
//! ```

pub mod fluentd;
#[cfg(test)]
mod fuzz;
pub mod gelf;
pub mod journald;
mod message;
mod msgpack;
mod option;
pub mod splunk;
pub mod syslog;
mod target;

use std::collections::BTreeMap;

pub use message::{About, Message, Partial, Wire};
pub use target::{Target, Tls};

/// Options as the user gave them.
pub type Options = BTreeMap<String, String>;

/// An option that a driver does not take, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl Error {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// Names of the drivers, sorted.
pub const NAMES: [&str; 5] = ["fluentd", "gelf", "journald", "splunk", "syslog"];

/// Options by which lines are described; every driver takes them.
pub const DESCRIPTION: [&str; 5] = ["tag", "labels", "labels-regex", "env", "env-regex"];

/// A driver with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// RFC 3164 and RFC 5424.
    Syslog(syslog::Syslog),
    /// systemd's journal of this machine.
    Journald,
    /// Graylog's format.
    Gelf(gelf::Gelf),
    /// Fluentd's forward protocol.
    Fluentd(fluentd::Fluentd),
    /// Splunk's HTTP event collector.
    Splunk(splunk::Splunk),
}

impl Driver {
    /// What these options make of the driver of a name; `None` when there is no such driver. Options of every driver
    /// (`mode`, `cache-…`) must have been taken away before.
    ///
    /// # Errors
    /// An option that is not known, or a value that makes no sense.
    pub fn parse(name: &str, options: &Options) -> Result<Option<Self>, Error> {
        Ok(Some(match name {
            "syslog" => Self::Syslog(syslog::Syslog::parse(options)?),
            "journald" => {
                option::known("journald", options, &[])?;
                Self::Journald
            }
            "gelf" => Self::Gelf(gelf::Gelf::parse(options)?),
            "fluentd" => Self::Fluentd(fluentd::Fluentd::parse(options)?),
            "splunk" => Self::Splunk(splunk::Splunk::parse(options)?),
            _ => return Ok(None),
        }))
    }

    /// Where the messages go; several are tried in their order.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        match self {
            Self::Syslog(syslog) => syslog.targets.clone(),
            Self::Journald => vec![Target::UnixDatagram(journald::SOCKET.into())],
            Self::Gelf(gelf) => vec![gelf.target.clone()],
            Self::Fluentd(fluentd) => vec![fluentd.target.clone()],
            Self::Splunk(splunk) => vec![splunk.target.clone()],
        }
    }

    /// Adds a message to what is sent. One that the driver does not send at all adds nothing.
    pub fn encode(&self, about: &About, message: &Message<'_>, wire: &mut Wire) {
        match self {
            Self::Syslog(syslog) => syslog.encode(about, message, wire),
            Self::Journald => journald::encode(about, message, wire),
            Self::Gelf(gelf) => gelf.encode(about, message, wire),
            Self::Fluentd(fluentd) => fluentd.encode(about, message, wire),
            Self::Splunk(splunk) => splunk.encode(about, message, wire),
        }
    }

    /// Whether the driver's options say `tag` when nobody does: only an empty one of splunk takes it away.
    #[must_use]
    pub fn default_tag(options: &Options, name: &str) -> &'static str {
        match options.get("tag").map(String::as_str) {
            Some("") if name == "splunk" => "",
            _ => "{{.ID}}",
        }
    }
}
