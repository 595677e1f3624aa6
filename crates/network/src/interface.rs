//! Names of network interfaces, and the names that ours get.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::MacAddress;

/// A name that the kernel accepts for an interface: 1 to 15 bytes, no `/`, no `:`, no white space, not `.` or `..`.
/// That also makes it safe as one component of a path below /proc/sys/net.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// A text that cannot be the name of an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid interface name {0:?}: it must have 1 to 15 printable ASCII characters, none of them a space, '/' or ':'"
)]
pub struct InvalidName(String);

impl InterfaceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `lo`, which every namespace has.
    #[must_use]
    pub fn loopback() -> Self {
        Self("lo".to_owned())
    }

    /// The name of the host's end of an endpoint's pair: `veth` and the first 7 characters of the endpoint's id.
    ///
    /// # Errors
    /// When those characters cannot be part of a name.
    pub fn for_endpoint(endpoint_id: &str) -> Result<Self, InvalidName> {
        format!("veth{}", first(endpoint_id, 7)).parse()
    }

    /// The name by which an interface is born whose own name may be that of an interface of the host: kernels before 6.13
    /// look for both in the host's namespace. `new` and the hardware address that it is to have.
    pub(crate) fn at_birth(mac: MacAddress) -> Self {
        Self(mac.0.iter().fold("new".to_owned(), |name, byte| format!("{name}{byte:02x}")))
    }

    /// The name of a network's bridge: `br-` and the first 12 characters of the network's id.
    ///
    /// # Errors
    /// When those characters cannot be part of a name.
    pub fn for_bridge(network_id: &str) -> Result<Self, InvalidName> {
        format!("br-{}", first(network_id, 12)).parse()
    }
}

fn first(text: &str, count: usize) -> String {
    text.chars().take(count).collect()
}

impl FromStr for InterfaceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        // A quote or a '*' would be legal for the kernel, but not in a rule: '*' at the end means any name that
        // begins so, a quote ends the text of one.
        let unambiguous = !text.contains(['*', '"', '\\']);
        if fits && plain && unambiguous {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_or_a_path_would_misread_are_refused() {
        for name in ["eth0", "br-0123456789ab", "docker0", "veth1a2b3c4", "eth0.100", "a"] {
            assert_eq!(name.parse::<InterfaceName>().unwrap().as_str(), name);
        }
        for name in ["", ".", "..", "a/b", "a:b", "a b", "br-0123456789abc", "eth0\n", "é", "veth*", "a\"b"]
        {
            assert!(name.parse::<InterfaceName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn ids_become_names() {
        assert_eq!(InterfaceName::for_endpoint("0123456789abcdef").unwrap().as_str(), "veth0123456");
        assert_eq!(InterfaceName::for_bridge("0123456789abcdef").unwrap().as_str(), "br-0123456789ab");
        assert!(InterfaceName::for_bridge("a/b").is_err());
    }
}
