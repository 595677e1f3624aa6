//! /etc/resolv.conf (resolv.conf(5)): the host's, made fit for a container, with what the user wants instead.

use std::fmt::Write;
use std::net::IpAddr;

use super::{InvalidText, word};

/// What the host's file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostResolver {
    /// Name servers in their order; an IPv6 address may have a zone, which is left out.
    pub nameservers: Vec<IpAddr>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// What the user wants instead of the host's settings. An empty list leaves the host's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsOverrides {
    /// `--dns`.
    pub nameservers: Vec<IpAddr>,
    /// `--dns-search`; a single `.` means none.
    pub search: Vec<String>,
    /// `--dns-opt`.
    pub options: Vec<String>,
}

/// Who answers the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    /// The host's own name servers, in the host's network.
    Host,
    /// The host's name servers, apart from those on its loopback interface, which a container cannot reach.
    Upstream {
        /// Whether the container has IPv6, for the servers that stand in when there are none.
        ipv6: bool,
    },
    /// The engine's own name server.
    Engine {
        /// Its address in the container, 127.0.0.11.
        address: IpAddr,
    },
}

/// A name server that the engine's own asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nameserver {
    /// Its address.
    pub address: IpAddr,
    /// Whether it is asked from the host's network, not from the container's: because it is on the host's loopback
    /// interface.
    pub from_host: bool,
}

/// The file, and whom the engine's name server asks about names that it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverFile {
    /// The text.
    pub text: String,
    /// The name servers behind the engine's own; empty with another resolver.
    pub upstreams: Vec<Nameserver>,
}

const FALLBACK_IPV4: [[u8; 4]; 2] = [[8, 8, 8, 8], [8, 8, 4, 4]];
const FALLBACK_IPV6: [[u16; 8]; 2] =
    [[0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888], [0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844]];

impl HostResolver {
    /// Where systemd-resolved keeps the name servers that it asks itself; to be read instead of /etc/resolv.conf when
    /// [`is_resolved_stub`](Self::is_resolved_stub).
    pub const RESOLVED_FILE: &str = "/run/systemd/resolve/resolv.conf";

    /// Reads a resolv.conf(5). What it does not know it leaves out; the last `search` or `domain` counts.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        const LINES: usize = 10_000;
        let mut found = Self::default();
        for line in text.lines().take(LINES) {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let keyword = words.next();
            let words = words.map(str::to_owned);
            match keyword {
                Some("nameserver") => found.nameservers.extend(
                    words
                        .take(1)
                        .filter_map(|word| word.split('%').next().unwrap_or_default().parse::<IpAddr>().ok()),
                ),
                Some("search") => found.search = words.collect(),
                Some("domain") => found.search = words.take(1).collect(),
                Some("options") => found.options.extend(words),
                _ => {}
            }
        }
        found
    }

    /// Whether the only name server is the stub of systemd-resolved.
    #[must_use]
    pub fn is_resolved_stub(&self) -> bool {
        self.nameservers == [IpAddr::from([127, 0, 0, 53])]
    }
}

/// The container's file.
///
/// # Errors
/// A search domain or an option that is not one word.
pub fn resolver_file(
    host: &HostResolver,
    overrides: &DnsOverrides,
    resolver: Resolver,
) -> Result<ResolverFile, InvalidText> {
    let or_host =
        |own: &[String], hosts: &[String]| if own.is_empty() { hosts.to_vec() } else { own.to_vec() };
    let overridden = !overrides.nameservers.is_empty();
    let asked = if overridden { &overrides.nameservers } else { &host.nameservers };
    let mut search = or_host(&overrides.search, &host.search);
    search.retain(|domain| domain != ".");
    let mut options = or_host(&overrides.options, &host.options);
    let mut upstreams = Vec::new();
    let nameservers = match resolver {
        Resolver::Host => asked.clone(),
        Resolver::Upstream { ipv6 } => reachable(asked, overridden, ipv6),
        Resolver::Engine { address } => {
            // A loopback address that the user gave means the container's own; one from the host's file the host's.
            let from_host = |address: &IpAddr| !overridden && address.is_loopback();
            upstreams =
                asked.iter().map(|&address| Nameserver { address, from_host: from_host(&address) }).collect();
            if !options.iter().any(|option| option == "ndots" || option.starts_with("ndots:")) {
                options.push("ndots:0".to_owned());
            }
            vec![address]
        }
    };
    Ok(ResolverFile { text: write(&nameservers, &search, &options)?, upstreams })
}

fn reachable(asked: &[IpAddr], overridden: bool, ipv6: bool) -> Vec<IpAddr> {
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback(),
        IpAddr::V6(address) => ipv6 && !address.is_loopback() && !address.is_unicast_link_local(),
    };
    if overridden {
        return asked.to_vec();
    }
    let found: Vec<IpAddr> = asked.iter().copied().filter(usable).collect();
    if !found.is_empty() {
        return found;
    }
    let stand_in_ipv6 = FALLBACK_IPV6.into_iter().map(IpAddr::from).filter(|_| ipv6);
    FALLBACK_IPV4.into_iter().map(IpAddr::from).chain(stand_in_ipv6).collect()
}

fn write(nameservers: &[IpAddr], search: &[String], options: &[String]) -> Result<String, InvalidText> {
    search.iter().try_for_each(|domain| word("search domain", domain).map(|_| ()))?;
    options.iter().try_for_each(|option| word("resolver option", option).map(|_| ()))?;
    let mut text = String::from("# Written by berth. A file that somebody changed is not written again.\n\n");
    for nameserver in nameservers {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "nameserver {nameserver}");
    }
    for (keyword, words) in [("search", search), ("options", options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.53 ; mine\nnameserver fe80::1%eth0\n\
                        nameserver x\ndomain old.example\nsearch example.org lan\noptions edns0 trust-ad\nsortlist 1.2.3.4\n";

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn check(host: &str, overrides: &DnsOverrides, resolver: Resolver, expected: &[&str]) -> Vec<Nameserver> {
        let file = resolver_file(&HostResolver::parse(host), overrides, resolver).unwrap();
        let header = "# Written by berth. A file that somebody changed is not written again.\n\n";
        let lines: Vec<&str> = file.text.strip_prefix(header).unwrap().lines().collect();
        assert_eq!(lines, expected);
        file.upstreams
    }

    const UPSTREAM: Resolver = Resolver::Upstream { ipv6: false };

    #[test]
    fn servers_that_a_container_cannot_reach_are_left_out() {
        let rest = ["search example.org lan", "options edns0 trust-ad"];
        let none = DnsOverrides::default();
        check(HOST, &none, UPSTREAM, &[&["nameserver 192.0.2.53"][..], &rest].concat());
        let host = ["nameserver 127.0.0.53", "nameserver 192.0.2.53", "nameserver fe80::1"];
        check(HOST, &none, Resolver::Host, &[&host[..], &rest].concat());
    }

    #[test]
    fn public_servers_stand_in_when_none_is_left() {
        let none = DnsOverrides::default();
        let ipv4 = ["nameserver 8.8.8.8", "nameserver 8.8.4.4"];
        check("nameserver 127.0.0.1\n", &none, UPSTREAM, &ipv4);
        check("", &none, UPSTREAM, &ipv4);
        let ipv6 = ["nameserver 2001:4860:4860::8888", "nameserver 2001:4860:4860::8844"];
        check("", &none, Resolver::Upstream { ipv6: true }, &[&ipv4[..], &ipv6].concat());
    }

    #[test]
    fn the_user_has_the_last_word() {
        let mut overrides = DnsOverrides {
            nameservers: vec!["127.0.0.1".parse().unwrap()],
            search: strings(&["corp"]),
            options: strings(&["ndots:2"]),
        };
        let expected = ["nameserver 127.0.0.1", "search corp", "options ndots:2"];
        check(HOST, &overrides, UPSTREAM, &expected);
        overrides.search = strings(&["."]);
        check(HOST, &overrides, UPSTREAM, &["nameserver 127.0.0.1", "options ndots:2"]);
    }

    #[test]
    fn the_engines_own_server_stands_before_the_others() {
        let engine = Resolver::Engine { address: "127.0.0.11".parse().unwrap() };
        let expected = ["nameserver 127.0.0.11", "search example.org lan", "options edns0 trust-ad ndots:0"];
        let upstreams = check(HOST, &DnsOverrides::default(), engine, &expected);
        let shown: Vec<(String, bool)> =
            upstreams.iter().map(|s| (s.address.to_string(), s.from_host)).collect();
        let wanted = [("127.0.0.53", true), ("192.0.2.53", false), ("fe80::1", false)];
        assert_eq!(shown, wanted.map(|(address, from_host)| (address.to_owned(), from_host)));
        let overrides = DnsOverrides { options: strings(&["ndots:1"]), ..DnsOverrides::default() };
        check(
            HOST,
            &overrides,
            engine,
            &["nameserver 127.0.0.11", "search example.org lan", "options ndots:1"],
        );
    }

    #[test]
    fn the_stub_of_systemd_is_known() {
        assert!(HostResolver::parse("nameserver 127.0.0.53\n").is_resolved_stub());
        assert!(!HostResolver::parse(HOST).is_resolved_stub());
    }

    #[test]
    fn an_option_cannot_bring_a_line_of_its_own() {
        let overrides =
            DnsOverrides { options: strings(&["x\nnameserver 6.6.6.6"]), ..DnsOverrides::default() };
        let outcome = resolver_file(&HostResolver::default(), &overrides, UPSTREAM);
        assert!(outcome.is_err());
    }
}
