//! `/etc/hosts` and `/etc/resolv.conf` as text: hosts(5), resolv.conf(5). Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// As many name servers, and no more, are asked (MAXNS of resolv.conf(5)).
const MOST_SERVERS: usize = 3;
/// As many domains, and no more, are tried.
const MOST_DOMAINS: usize = 32;
/// The most that `options` may ask for: seconds a server is given, rounds, dots.
const MOST: u32 = 15;

/// What `/etc/resolv.conf` says, with the defaults of its manual page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// At least one.
    pub(crate) servers: Vec<SocketAddr>,
    search: Vec<String>,
    dots: u32,
    /// How long one server is given for an answer.
    pub(crate) patience: Duration,
    /// How often the list of servers is gone through.
    pub(crate) attempts: u32,
}

impl Configuration {
    pub(crate) fn parse(text: &str) -> Self {
        let mut new = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            patience: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if new.servers.len() < MOST_SERVERS => {
                    new.servers.extend(words.next().and_then(server));
                }
                Some("search" | "domain") => {
                    let domains = words.map(|domain| domain.trim_end_matches('.').to_owned());
                    new.search = domains.filter(|domain| !domain.is_empty()).take(MOST_DOMAINS).collect();
                }
                Some("options") => words.for_each(|option| new.set(option)),
                _ => {}
            }
        }
        if new.servers.is_empty() {
            new.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        new
    }

    fn set(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.dots = value.min(MOST),
            "timeout" => self.patience = Duration::from_secs(value.clamp(1, MOST).into()),
            "attempts" => self.attempts = value.clamp(1, MOST),
            _ => {}
        }
    }

    /// The names to ask for in place of `host`, the likeliest first.
    pub(crate) fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let below = self.search.iter().map(|domain| format!("{host}.{domain}"));
        let alone = std::iter::once(host.to_owned());
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        if u32::try_from(dots).is_ok_and(|dots| dots < self.dots) {
            below.chain(alone).collect()
        } else {
            alone.chain(below).collect()
        }
    }
}

/// An address, perhaps with a zone (`fe80::1%eth0`), which a global server has not.
fn server(word: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(word.parse().ok()?, 53))
}

/// The addresses of `host` in a hosts file, in its order.
pub(crate) fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_the_hosts_file() {
        let text = "127.0.0.1 localhost\n10.0.0.1\tbox Box2 # third\n::1 box\nnot-an-address box\n";
        let ours = |list: Vec<IpAddr>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(ours(in_hosts(text, "BOX")), "10.0.0.1 ::1");
        assert_eq!(ours(in_hosts(text, "box2")), "10.0.0.1");
        assert_eq!(ours(in_hosts(text, "third")), "");
    }

    #[test]
    fn resolv_conf_names_servers_domains_and_patience() {
        let text = "# c\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver ::1\nsearch a.example b.example.\n\
                    options ndots:2 timeout:0 attempts:99 rotate";
        let read = Configuration::parse(text);
        assert_eq!(read.servers, ["10.0.0.53:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!((read.patience.as_secs(), read.attempts), (1, 15));
        assert_eq!(read.candidates("x"), ["x.a.example", "x.b.example", "x"]);
        assert_eq!(read.candidates("x.y.z"), ["x.y.z", "x.y.z.a.example", "x.y.z.b.example"]);
        assert_eq!(read.candidates("x.y."), ["x.y."]);
    }

    #[test]
    fn without_a_server_the_machine_itself_is_asked() {
        assert_eq!(Configuration::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
