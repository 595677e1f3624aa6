//! /etc/hosts and /etc/hostname, line by line as Docker writes them.

use std::fmt::Write;
use std::net::IpAddr;

use super::{InvalidText, word};

/// A line of /etc/hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsEntry {
    /// The address.
    pub address: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}

/// What every file begins with.
const STANDARD: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// The file of a container with its own network: the standard lines, `--add-host` and links in `extra`, then the
/// container's own addresses with its host name, and its domain name where it has one.
///
/// # Errors
/// A name that is not one word.
pub fn hosts_file(
    extra: &[HostsEntry],
    own: &[IpAddr],
    host_name: &str,
    domain_name: &str,
) -> Result<String, InvalidText> {
    let mut text = STANDARD.to_owned();
    push(&mut text, extra)?;
    let names = if domain_name.is_empty() {
        vec![host_name.to_owned()]
    } else {
        vec![format!("{host_name}.{domain_name}"), host_name.to_owned()]
    };
    let own: Vec<HostsEntry> =
        own.iter().map(|&address| HostsEntry { address, names: names.clone() }).collect();
    push(&mut text, &own)?;
    Ok(text)
}

/// The file of a container with the host's network: the host's own, then the extra lines.
///
/// # Errors
/// A name that is not one word.
pub fn hosts_file_on_host(host_file: &str, extra: &[HostsEntry]) -> Result<String, InvalidText> {
    let mut text = host_file.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    push(&mut text, extra)?;
    Ok(text)
}

/// The file with the host name.
///
/// # Errors
/// A name that is not one word.
pub fn hostname_file(host_name: &str) -> Result<String, InvalidText> {
    Ok(format!("{}\n", word("host name", host_name)?))
}

fn push(text: &mut String, entries: &[HostsEntry]) -> Result<(), InvalidText> {
    for HostsEntry { address, names } in entries {
        for name in names {
            word("host name", name)?;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address}\t{}", names.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str, names: &[&str]) -> HostsEntry {
        HostsEntry {
            address: address.parse().unwrap(),
            names: names.iter().map(|&name| name.into()).collect(),
        }
    }

    #[test]
    fn a_container_of_the_default_bridge_finds_itself() {
        let extra = [
            entry("172.17.0.1", &["host.docker.internal"]),
            entry("172.17.0.3", &["db", "a1b2", "database"]),
        ];
        let own = ["172.17.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        assert_eq!(
            hosts_file(&extra, &own, "web", "example.org").unwrap(),
            "127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\n\
             ff02::2\tip6-allrouters\n\
             172.17.0.1\thost.docker.internal\n\
             172.17.0.3\tdb a1b2 database\n\
             172.17.0.2\tweb.example.org web\n\
             fd00::2\tweb.example.org web\n"
        );
    }

    #[test]
    fn without_a_network_there_is_no_own_line() {
        assert_eq!(hosts_file(&[], &[], "web", "").unwrap(), STANDARD);
        assert!(
            hosts_file(&[], &["10.0.0.1".parse().unwrap()], "web", "")
                .unwrap()
                .ends_with("\n10.0.0.1\tweb\n")
        );
    }

    #[test]
    fn the_hosts_own_file_is_kept() {
        let extra = [entry("10.0.0.1", &["x"])];
        assert_eq!(
            hosts_file_on_host("127.0.0.1 localhost", &extra).unwrap(),
            "127.0.0.1 localhost\n10.0.0.1\tx\n"
        );
        assert_eq!(hosts_file_on_host("", &[]).unwrap(), "");
    }

    #[test]
    fn a_name_cannot_bring_a_line_of_its_own() {
        for name in ["a b", "a\n6.6.6.6 bank", "", "a#b", "a\tb"] {
            assert!(hosts_file(&[entry("10.0.0.1", &[name])], &[], "web", "").is_err(), "{name:?}");
            assert!(hostname_file(name).is_err(), "{name:?}");
        }
        assert_eq!(hostname_file("web").unwrap(), "web\n");
    }
}
