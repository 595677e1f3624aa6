//! Kernel parameters of networking: named as below /proc/sys, read and written for the calling thread's namespace.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use crate::interface::InterfaceName;

/// A parameter and the value that it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Where it is below /proc/sys, such as `net/ipv4/conf/eth0/arp_notify`.
    path: String,
    value: String,
}

/// A parameter that an endpoint asks for, of its own interface: `net.ipv4.conf.IFNAME.log_martians=1`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointSysctl {
    /// `ipv4`, `ipv6` or `mpls`.
    protocol: String,
    /// `conf` or `neigh`.
    group: String,
    /// The parameter's own name.
    name: String,
    value: String,
}

/// A text that does not name a parameter of an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid sysctl {0:?}: it must look like net.ipv4.conf.IFNAME.<name>=<value> (or ipv6, mpls; or neigh)"
)]
pub struct InvalidSysctl(String);

impl Sysctl {
    /// `net.<protocol>.conf.<interface>.<name> = <value>`.
    pub(crate) fn of_interface(protocol: &str, interface: &InterfaceName, name: &str, value: &str) -> Self {
        Self { path: format!("net/{protocol}/conf/{interface}/{name}"), value: value.to_owned() }
    }

    /// A parameter by its constant path below /proc/sys.
    pub(crate) fn new(path: &'static str, value: &str) -> Self {
        Self { path: path.to_owned(), value: value.to_owned() }
    }

    /// Writes the value for the calling thread's network namespace.
    pub(crate) fn write(&self) -> Result<(), linux::Error> {
        let path = format!("/proc/sys/{}", self.path);
        let written = OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(self.value.as_bytes()));
        written.map_err(|error| failed(&format!("write({path:?}, {:?})", self.value), &error))
    }
}

/// Reads a parameter for the calling thread's network namespace; `None` when this kernel does not have it.
pub(crate) fn read(path: &str) -> Result<Option<String>, linux::Error> {
    let path = format!("/proc/sys/{path}");
    match fs::read_to_string(&path) {
        Ok(value) => Ok(Some(value.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&format!("read({path:?})"), &error)),
    }
}

fn failed(call: &str, error: &io::Error) -> linux::Error {
    const EIO: i32 = 5;
    linux::Error::new(call, error.raw_os_error().unwrap_or(EIO))
}

impl EndpointSysctl {
    /// The parameter of an interface with this name.
    pub(crate) fn of(&self, interface: &InterfaceName) -> Sysctl {
        let Self { protocol, group, name, value } = self;
        Sysctl { path: format!("net/{protocol}/{group}/{interface}/{name}"), value: value.clone() }
    }

    /// Reads the comma-separated list of the option `com.docker.network.endpoint.sysctls`.
    ///
    /// # Errors
    /// The first element that does not name a parameter of an interface.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, InvalidSysctl> {
        list.split(',')
            .filter(|element| !element.is_empty())
            .map(|element| element.to_owned().try_into())
            .collect()
    }
}

impl TryFrom<String> for EndpointSysctl {
    type Error = InvalidSysctl;

    fn try_from(text: String) -> Result<Self, InvalidSysctl> {
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        let parse = || {
            let (key, value) = text.split_once('=')?;
            let ["net", protocol, group, interface, name] = key.split('.').collect::<Vec<_>>()[..] else {
                return None;
            };
            // The client writes all of an option's value in lower case.
            let own = interface.eq_ignore_ascii_case("IFNAME");
            let known = ["ipv4", "ipv6", "mpls"].contains(&protocol) && ["conf", "neigh"].contains(&group);
            let printable =
                !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            (own && known && plain(name) && printable).then(|| Self {
                protocol: protocol.to_owned(),
                group: group.to_owned(),
                name: name.to_owned(),
                value: value.to_owned(),
            })
        };
        parse().ok_or_else(|| InvalidSysctl(text.clone()))
    }
}

impl From<EndpointSysctl> for String {
    fn from(sysctl: EndpointSysctl) -> Self {
        let EndpointSysctl { protocol, group, name, value } = sysctl;
        format!("net.{protocol}.{group}.IFNAME.{name}={value}")
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.path, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_parameters_are_of_their_own_interface_only() {
        let list = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.ifname.retrans_time_ms=500";
        let eth0: InterfaceName = "eth0".parse().unwrap();
        let printed: Vec<String> = EndpointSysctl::parse_list(list)
            .unwrap()
            .iter()
            .map(|sysctl| sysctl.of(&eth0).to_string())
            .collect();
        assert_eq!(
            printed,
            ["net/ipv4/conf/eth0/log_martians = 1", "net/ipv6/neigh/eth0/retrans_time_ms = 500"]
        );
    }

    #[test]
    fn other_parameters_are_refused() {
        for text in [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.IFNAME.../../x=1",
            "net.ipv4.conf.IFNAME.x/y=1",
            "net.ipv4.conf.IFNAME.x",
            "net.ipv4.conf.IFNAME.x=",
            "kernel.core_pattern=|/x",
            "net.ipv4.conf.IFNAME.x=1\n",
        ] {
            assert!(EndpointSysctl::parse_list(text).is_err(), "{text}");
        }
    }
}
