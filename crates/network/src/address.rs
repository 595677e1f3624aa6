//! Addresses: an IP address with its prefix length, and a hardware address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An address with the length of its network's prefix, such as `172.17.0.1/16`. Whether the host bits matter is the
/// user's business: [`Prefix::network`] clears them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A text that is not an address with a prefix length, or not a hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseError {
    text: String,
    expected: &'static str,
}

impl Prefix {
    /// `address/length`; `None` when the length is more than the address has bits.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        (length <= bits(address)).then_some(Self { address, length })
    }

    /// The prefix that holds this one address: /32 or /128.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: bits(address) }
    }

    /// An IPv4 prefix, for constants.
    ///
    /// # Panics
    /// When `length` is more than 32.
    #[must_use]
    pub const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Self {
        assert!(length <= 32);
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length }
    }

    /// The address, host bits included.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether this is an IPv6 prefix.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// The network: the same prefix with the host bits cleared.
    #[must_use]
    pub fn network(&self) -> Self {
        Self {
            address: from_number(self.address, to_number(self.address) & self.mask()),
            length: self.length,
        }
    }

    /// The first address: the network's own.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.network().address
    }

    /// The last address: the broadcast address of an IPv4 network.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        from_number(self.address, to_number(self.first()) | self.host_mask())
    }

    /// Whether `address` lies within.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_ipv6()
            && to_number(address) & self.mask() == to_number(self.address) & self.mask()
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }

    /// The address `offset` after the first one; `None` beyond the last.
    #[must_use]
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        (offset <= self.host_mask()).then(|| from_number(self.address, to_number(self.first()) + offset))
    }

    /// How far `address` is from the first one; `None` outside.
    #[must_use]
    pub fn offset_of(&self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| to_number(address) - to_number(self.first()))
    }

    /// The number of addresses, minus one (a /0 of IPv6 has one more than fits).
    #[must_use]
    pub fn last_offset(&self) -> u128 {
        self.host_mask()
    }

    /// The same address with another prefix length.
    #[must_use]
    pub fn with_length(&self, length: u8) -> Option<Self> {
        Self::new(self.address, length)
    }

    fn host_mask(&self) -> u128 {
        let host_bits = u32::from(bits(self.address) - self.length);
        if host_bits == 128 { u128::MAX } else { (1u128 << host_bits) - 1 }
    }

    fn mask(&self) -> u128 {
        let all = if self.is_ipv6() { u128::MAX } else { u128::from(u32::MAX) };
        all & !self.host_mask()
    }
}

/// The number of bits of an address.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of the family of `like` with the given number, of which IPv4 has 32 bits.
fn from_number(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((number & u128::from(u32::MAX)) as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// The bytes of an address in network order.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address with the given bytes in network order.
pub(crate) fn from_octets(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (address, length) = text.split_once('/')?;
            if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Self::new(address.parse().ok()?, length.parse().ok()?)
        };
        parse().ok_or_else(|| ParseError {
            text: text.to_owned(),
            expected: "an address with a prefix length, such as 172.17.0.0/16",
        })
    }
}

/// A 48-bit hardware address, such as `02:42:ac:11:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// A unicast, locally administered address made of six random bytes.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 6]) -> Self {
        bytes[0] = (bytes[0] & !0b01) | 0b10;
        Self(bytes)
    }

    /// A unicast, locally administered address that belongs to an IP address: `02:42` and the four bytes of an IPv4
    /// address; `02:46` and a hash of an IPv6 address (FNV-1a of its bytes, 32 bits).
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        let (kind, [a, b, c, d]) = match address {
            IpAddr::V4(address) => (0x42, address.octets()),
            IpAddr::V6(address) => {
                let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
                (0x46, address.octets().into_iter().fold(0x811c_9dc5, mix).to_be_bytes())
            }
        };
        Self([0x02, kind, a, b, c, d])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let separator = if text.contains('-') { '-' } else { ':' };
            let bytes: Option<Vec<u8>> = text
                .split(separator)
                .map(|part| {
                    let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
                    digits.then(|| u8::from_str_radix(part, 16).ok()).flatten()
                })
                .collect();
            Some(Self(bytes?.try_into().ok()?))
        };
        parse().ok_or_else(|| ParseError {
            text: text.to_owned(),
            expected: "a hardware address, such as 02:42:ac:11:00:02",
        })
    }
}

macro_rules! serde_as_text {
    ($($type:ty)*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )* };
}

serde_as_text! { Prefix MacAddress }

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_knows_its_network() {
        let check = |text: &str, network: &str, last: &str| {
            assert_eq!(prefix(text).network(), prefix(network));
            assert_eq!(prefix(text).last().to_string(), last);
        };
        check("172.17.3.9/16", "172.17.0.0/16", "172.17.255.255");
        check("10.0.0.7/32", "10.0.0.7/32", "10.0.0.7");
        check("1.2.3.4/0", "0.0.0.0/0", "255.255.255.255");
        check("fd00::1234:5/64", "fd00::/64", "fd00::ffff:ffff:ffff:ffff");
        check("::1/0", "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }

    #[test]
    fn containment_and_overlap_stay_within_a_family() {
        assert!(prefix("172.17.0.0/16").contains("172.17.255.255".parse().unwrap()));
        assert!(!prefix("172.17.0.0/16").contains("172.18.0.0".parse().unwrap()));
        assert!(!prefix("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(prefix("10.0.0.0/8").overlaps(&prefix("10.1.0.0/16")));
        assert!(prefix("10.1.0.0/16").overlaps(&prefix("10.0.0.0/8")));
        assert!(!prefix("10.1.0.0/16").overlaps(&prefix("10.2.0.0/16")));
    }

    #[test]
    fn texts_that_are_no_prefix_are_refused() {
        for text in ["", "1.2.3.4", "1.2.3.4/33", "::/129", "1.2.3/8", "1.2.3.4/+8", "1.2.3.4/", "a/8"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn hardware_addresses_are_read_and_printed() {
        let mac: MacAddress = "02:42:AC:11:00:02".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for text in ["02:42:ac:11:00", "02:42:ac:11:00:02:03", "2:42:ac:11:00:02", "02:42:ac:11:00:+2"] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
        assert_eq!(MacAddress::from_random([0xff; 6]).to_string(), "fe:ff:ff:ff:ff:ff");
        let of = |address: &str| MacAddress::of_address(address.parse().unwrap()).to_string();
        assert_eq!(of("172.17.0.2"), "02:42:ac:11:00:02");
        assert_ne!(of("fd00::2"), of("fd00::3"));
    }
}
