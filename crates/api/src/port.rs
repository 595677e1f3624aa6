//! Ports: `80/tcp`, what is bound to them, and how a list shows them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::is_zero;

/// Transport protocols that ports can be published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// A container's port with its protocol: `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}

impl FromStr for Port {
    type Err = String;
    /// Reads `80`, `80/tcp`, `53/UDP`. The protocol is TCP when it is missing.
    fn from_str(text: &str) -> Result<Port, String> {
        if text.is_empty() {
            return Err("invalid port: value is empty".into());
        }
        let (number, protocol) = text.split_once('/').unwrap_or((text, ""));
        Ok(Port { number: parse_number(number)?, protocol: parse_protocol(protocol)? })
    }
}

/// A range of ports with its protocol: `8000-8010/tcp`. `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest; equal to `first` for a single port.
    pub last: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl FromStr for PortRange {
    type Err = String;
    /// Reads `80`, `8000-8010`, `8000-8010/udp`.
    fn from_str(text: &str) -> Result<PortRange, String> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, ""));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let range = PortRange {
            first: parse_number(first)?,
            last: parse_number(last)?,
            protocol: parse_protocol(protocol)?,
        };
        if range.last < range.first { Err(format!("invalid port range: {text}")) } else { Ok(range) }
    }
}

fn parse_number(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Err("invalid port '': value is empty".into());
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("invalid port '{text}': invalid syntax"));
    }
    text.parse().map_err(|_| format!("invalid port '{text}': value out of range"))
}

fn parse_protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "" | "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(format!("invalid proto: {text}")),
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Port, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where ports are bound; `None` (`null`) for a port that is only exposed.
pub type PortMap = BTreeMap<Port, Option<Vec<PortBinding>>>;

/// Where a port is bound on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// Address; empty for all.
    #[serde(rename = "HostIp")]
    pub host_ip: String,
    /// Number, range (in requests), or empty for a free one.
    #[serde(rename = "HostPort")]
    pub host_port: String,
}

/// A port in a list of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct PortSummary {
    /// Address on the host; left out when the port is not published.
    #[serde(rename = "IP", skip_serializing_if = "is_zero")]
    pub ip: String,
    /// In the container.
    #[serde(rename = "PrivatePort")]
    pub private_port: u16,
    /// On the host.
    #[serde(rename = "PublicPort", skip_serializing_if = "is_zero")]
    pub public_port: u16,
    /// `tcp`, `udp`, `sctp`.
    #[serde(rename = "Type")]
    pub protocol: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let printed = match text.parse::<Port>() {
            Ok(port) => port.to_string(),
            Err(message) => message,
        };
        assert_eq!(printed, expected, "{text:?}");
    }

    #[test]
    fn ports_are_read_and_printed() {
        check("80", "80/tcp");
        check("53/UDP", "53/udp");
        check("9/sctp", "9/sctp");
        check("", "invalid port: value is empty");
        check("/tcp", "invalid port '': value is empty");
        check("65536", "invalid port '65536': value out of range");
        check("-1", "invalid port '-1': invalid syntax");
        check("+1", "invalid port '+1': invalid syntax");
        check("80/icmp", "invalid proto: icmp");
    }

    #[test]
    fn ranges_are_read() {
        let range: PortRange = "8000-8010/udp".parse().unwrap();
        assert_eq!(range, PortRange { first: 8000, last: 8010, protocol: Protocol::Udp });
        assert_eq!("9-8".parse::<PortRange>(), Err("invalid port range: 9-8".into()));
    }

    #[test]
    fn port_maps_keep_null_apart_from_empty() {
        let text = r#"{"53/udp":[],"80/tcp":[{"HostIp":"","HostPort":"8080"}],"443/tcp":null}"#;
        let map: PortMap = crate::json::from_slice(text.as_bytes()).unwrap();
        let printed = serde_json::to_string(&map).unwrap();
        assert_eq!(printed, r#"{"53/udp":[],"80/tcp":[{"HostIp":"","HostPort":"8080"}],"443/tcp":null}"#);
    }
}
