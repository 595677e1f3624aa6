//! The text of a container's /etc/hosts, /etc/hostname and /etc/resolv.conf. Pure.

mod hosts;
mod resolv;

pub use hosts::{HostsEntry, hostname_file, hosts_file, hosts_file_on_host};
pub use resolv::{DnsOverrides, HostResolver, Nameserver, Resolver, ResolverFile, resolver_file};

/// A text that would break the file that it is written into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {text:?}: it must be one word of printable characters")]
pub struct InvalidText {
    what: &'static str,
    text: String,
}

/// Refuses what would end its line or its word.
fn word<'a>(what: &'static str, text: &'a str) -> Result<&'a str, InvalidText> {
    let plain = !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#');
    if plain { Ok(text) } else { Err(InvalidText { what, text: text.to_owned() }) }
}
