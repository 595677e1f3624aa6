//! From a query to what becomes of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{Data, Question, code, kind, parse_query, refusal, write};
use super::names::NetworkNames;
use crate::firewall::Protocol;

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By UDP: the answer must fit into what the client takes.
    Udp,
    /// By TCP: up to 65,535 bytes.
    Tcp,
}

/// The name server as one container sees it.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// The names of the container's networks, the one with the default route first.
    pub networks: &'a [&'a NetworkNames],
    /// Names that this container alone knows others by, in lower case, with what they stand for.
    pub links: &'a BTreeMap<String, String>,
    /// Whether names that none of the networks has may be asked elsewhere: not when all of them are internal.
    pub forwards: bool,
    /// Whether a name without a dot may be asked elsewhere: not when the user set `ndots` above 0.
    pub forwards_single_labels: bool,
}

/// What becomes of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This is sent back.
    Answer(Vec<u8>),
    /// It is asked elsewhere; when nobody answers, this is sent back.
    Forward {
        /// The answer for when nobody else has one.
        failure: Vec<u8>,
    },
    /// It gets no answer.
    Drop,
}

/// Decides. `turn` is any number that changes from query to query: it turns the order of several addresses.
#[must_use]
pub fn answer(query: &[u8], server: &Server<'_>, transport: Transport, turn: usize) -> Outcome {
    let question = match parse_query(query) {
        Ok(question) => question,
        Err(refused) => return refusal(query, refused).map_or(Outcome::Drop, Outcome::Answer),
    };
    let limit = match transport {
        Transport::Udp => question.udp_size,
        Transport::Tcp => usize::from(u16::MAX),
    };
    let reply = |code, records: &[Data]| write(query, &question, code, records, limit);
    if let Some(records) = find(&question, server, turn) {
        return Outcome::Answer(reply(code::SUCCESS, &records));
    }
    let failure = reply(code::SERVER_FAILURE, &[]);
    let single_label = !question.name.contains('.');
    if !server.forwards || (single_label && !server.forwards_single_labels) {
        return Outcome::Answer(failure);
    }
    Outcome::Forward { failure }
}

/// The records of a name that one of the networks has, which are none for other types than addresses: it exists, and
/// nobody else is to be asked about it. `None` for every other name.
fn find(question: &Question, server: &Server<'_>, turn: usize) -> Option<Vec<Data>> {
    let networks = server.networks;
    if question.class != 1 {
        return None;
    }
    if let Some(address) = reverse_address(&question.name) {
        let name = networks.iter().find_map(|network| network.name_of(address))?;
        return Some(if question.kind == kind::PTR { vec![Data::Name(name)] } else { Vec::new() });
    }
    if let Some((port, name)) = service(&question.name) {
        let name = server.links.get(name).map_or(name, String::as_str);
        let network = networks.iter().find(|network| network.addresses_of(name).is_some())?;
        let mut found = match port {
            Some(port) if question.kind == kind::SRV => network.services_of(name, port),
            _ => Vec::new(),
        };
        turn_by(&mut found, turn);
        let number = port.map_or(0, |(_, number)| number);
        return Some(found.into_iter().map(|name| Data::Service(number, name)).collect());
    }
    let name = server.links.get(&question.name).unwrap_or(&question.name);
    let all = networks.iter().find_map(|network| network.addresses_of(name))?;
    let wanted = |address: &&IpAddr| match question.kind {
        kind::A => address.is_ipv4(),
        kind::AAAA => address.is_ipv6(),
        _ => false,
    };
    let mut addresses: Vec<IpAddr> = all.iter().filter(wanted).copied().collect();
    turn_by(&mut addresses, turn);
    Some(addresses.into_iter().map(Data::Address).collect())
}

fn turn_by<T>(list: &mut [T], turn: usize) {
    if !list.is_empty() {
        list.rotate_left(turn % list.len());
    }
}

/// Services that people ask for by name (IANA's service names), with their ports.
const SERVICES: [(&str, u16); 22] = [
    ("amqp", 5672),
    ("domain", 53),
    ("etcd-client", 2379),
    ("etcd-server", 2380),
    ("ftp", 21),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("ldap", 389),
    ("mongodb", 27017),
    ("mqtt", 1883),
    ("mysql", 3306),
    ("nats", 4222),
    ("ntp", 123),
    ("postgresql", 5432),
    ("redis", 6379),
    ("sip", 5060),
    ("smtp", 25),
    ("ssh", 22),
    ("xmpp-client", 5222),
    ("xmpp-server", 5269),
];

/// `_http._tcp.web` (RFC 2782): a port, and whose. `Some((None, …))` for a service that has no port here.
fn service(name: &str) -> Option<(Option<(Protocol, u16)>, &str)> {
    let (service, rest) = name.strip_prefix('_')?.split_once('.')?;
    let (transport, owner) = rest.strip_prefix('_')?.split_once('.')?;
    let by_name = || SERVICES.iter().find(|(known, _)| *known == service).map(|(_, port)| *port);
    let number = service.parse().ok().or_else(by_name);
    let transport: Option<Protocol> = transport.parse().ok();
    Some((transport.zip(number), owner))
}

/// The address whose name is asked: `2.0.17.172.in-addr.arpa`, or 32 digits before `ip6.arpa`.
fn reverse_address(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<u8> = labels.split('.').rev().map(str::parse).collect::<Result<_, _>>().ok()?;
        return <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into());
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let digits: Vec<u128> = labels
        .split('.')
        .rev()
        .map(|label| if label.len() == 1 { u128::from_str_radix(label, 16).ok() } else { None })
        .collect::<Option<_>>()?;
    (digits.len() == 32)
        .then(|| Ipv6Addr::from(digits.iter().fold(0, |number, digit| number << 4 | digit)).into())
}

#[cfg(test)]
mod tests {
    use super::super::message::{answers, with_id};
    use super::super::names::NamedEndpoint;
    use super::*;

    static NO_LINKS: BTreeMap<String, String> = BTreeMap::new();

    #[test]
    fn a_link_is_another_name_for_one_container_alone() {
        let (front, _) = networks();
        let networks = [&front];
        let links = [("shop".to_owned(), "web1".to_owned())].into();
        let server =
            Server { networks: &networks, links: &links, forwards: true, forwards_single_labels: true };
        let ask = |name| text(&answer(&query(name, kind::A, false), &server, Transport::Udp, 0));
        assert_eq!(ask("Shop"), "0 172.18.0.2");
        assert_eq!(ask("web1"), "0 172.18.0.2");
        assert_eq!(ask("other"), "forward");
    }

    fn networks() -> (NetworkNames, NetworkNames) {
        let endpoint = |names: &[&str], addresses: &[&str]| NamedEndpoint {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ports: vec![(Protocol::Tcp, 80), (Protocol::Udp, 9000)],
        };
        let mut front = NetworkNames::new("Front");
        front.set("a", endpoint(&["web1", "web", "0123456789ab"], &["172.18.0.2", "fd00::2"]));
        front.set("b", endpoint(&["web2", "Web"], &["172.18.0.3"]));
        let mut back = NetworkNames::new("back");
        back.set("c", endpoint(&["db"], &["172.19.0.2"]));
        back.set("d", endpoint(&["web1"], &["172.19.0.9"]));
        (front, back)
    }

    #[test]
    fn services_are_ports_that_containers_of_a_name_expose() {
        for (name, expected) in [
            ("_http._tcp.web1", "0 80 web1.front"),
            ("_http._tcp.web1.front", "0 80 web1.front"),
            ("_80._tcp.Web", "0 80 web1.front 80 web2.front"),
            ("_9000._udp.db", "0 9000 db.back"),
            ("_9000._tcp.db", "0"),
            ("_https._tcp.web1", "0"),
            ("_no-such._tcp.web1", "0"),
            ("_http._quic.web1", "0"),
            ("_http._tcp.example.com", "forward"),
            ("_http.web1", "forward"),
        ] {
            assert_eq!(ask(name, kind::SRV), expected, "{name}");
        }
        assert_eq!(ask("_http._tcp.web1", kind::A), "0");
        assert_eq!(ask("web1", kind::SRV), "0");
    }

    fn query(name: &str, kind: u16, extended: bool) -> Vec<u8> {
        let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(extended)];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, (kind >> 8) as u8, kind as u8, 0, 1]);
        if extended {
            query.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        }
        query
    }

    /// What became of it, as text: the code and the data of the records.
    fn ask(name: &str, kind: u16) -> String {
        let (front, back) = networks();
        let networks = [&front, &back];
        let server =
            Server { networks: &networks, links: &NO_LINKS, forwards: true, forwards_single_labels: true };
        text(&answer(&query(name, kind, false), &server, Transport::Udp, 0))
    }

    fn text(outcome: &Outcome) -> String {
        let message = match outcome {
            Outcome::Answer(message) => message,
            Outcome::Forward { .. } => return "forward".to_owned(),
            Outcome::Drop => return "drop".to_owned(),
        };
        let mut words = vec![format!("{}", message[3] & 0xf)];
        if message[2] & 2 != 0 {
            words.push("truncated".to_owned());
        }
        let mut at = 12 + message[12..].iter().position(|byte| *byte == 0).unwrap_or_default() + 5;
        for _ in 0..u16::from_be_bytes([message[6], message[7]]) {
            let length = usize::from(u16::from_be_bytes([message[at + 10], message[at + 11]]));
            let data = &message[at + 12..at + 12 + length];
            if message[at + 3] == 33 {
                let name = String::from_utf8_lossy(&data[6..]).replace(|c: char| c.is_control(), ".");
                let port = u16::from_be_bytes([data[4], data[5]]);
                words.push(format!("{port} {}", name.trim_matches('.')));
                at += 12 + length;
                continue;
            }
            words.push(match crate::address::from_octets(data) {
                Some(address) if message[at + 3] != 12 => address.to_string(),
                _ => String::from_utf8_lossy(data).replace(|c: char| c.is_control(), "."),
            });
            at += 12 + length;
        }
        words.join(" ")
    }

    #[test]
    fn names_aliases_and_ids_are_known_whatever_their_case() {
        assert_eq!(ask("web1", kind::A), "0 172.18.0.2");
        assert_eq!(ask("WEB1", kind::AAAA), "0 fd00::2");
        assert_eq!(ask("0123456789ab", kind::A), "0 172.18.0.2");
        assert_eq!(ask("db", kind::A), "0 172.19.0.2", "from the second network");
        assert_eq!(ask("web1.front", kind::A), "0 172.18.0.2");
        assert_eq!(ask("web1.back", kind::A), "0 172.19.0.9");
        assert_eq!(ask("example.org", kind::A), "forward");
        assert_eq!(ask("web1front", kind::A), "forward");
        assert_eq!(ask("web1.other", kind::A), "forward");
    }

    #[test]
    fn a_name_without_such_an_address_exists_all_the_same() {
        assert_eq!(ask("db", kind::AAAA), "0");
        assert_eq!(ask("db", 65), "0");
    }

    #[test]
    fn several_addresses_take_turns() {
        let (front, _) = networks();
        let networks = [&front];
        let server =
            Server { networks: &networks, links: &NO_LINKS, forwards: true, forwards_single_labels: true };
        let ask = |turn| text(&answer(&query("web", kind::A, false), &server, Transport::Udp, turn));
        assert_eq!(ask(0), "0 172.18.0.2 172.18.0.3");
        assert_eq!(ask(1), "0 172.18.0.3 172.18.0.2");
        assert_eq!(ask(2), "0 172.18.0.2 172.18.0.3");
    }

    #[test]
    fn addresses_have_names() {
        assert_eq!(ask("2.0.18.172.in-addr.arpa", kind::PTR), "0 .web1.front.");
        assert_eq!(ask("2.0.18.172.in-addr.arpa", kind::A), "0");
        let digits = format!("2.{}d.f.ip6.arpa", "0.".repeat(29));
        assert_eq!(ask(&digits, kind::PTR), "0 .web1.front.");
        assert_eq!(ask("1.1.1.1.in-addr.arpa", kind::PTR), "forward");
        assert_eq!(ask("300.1.1.1.in-addr.arpa", kind::PTR), "forward");
    }

    #[test]
    fn what_may_not_leave_fails() {
        let (front, _) = networks();
        let networks = [&front];
        let mut server =
            Server { networks: &networks, links: &NO_LINKS, forwards: false, forwards_single_labels: true };
        let ask = |server: &Server<'_>, name| {
            text(&answer(&query(name, kind::A, false), server, Transport::Udp, 0))
        };
        assert_eq!(ask(&server, "example.org"), "2");
        server = Server { forwards: true, forwards_single_labels: false, ..server };
        assert_eq!(ask(&server, "example"), "2");
        assert_eq!(ask(&server, "example.org"), "forward");
        assert_eq!(ask(&server, "web1"), "0 172.18.0.2");
    }

    #[test]
    fn an_answer_over_udp_fits_into_what_the_client_takes() {
        let mut many = NetworkNames::new("many");
        for number in 0..100u8 {
            let addresses = vec![IpAddr::from([10, 0, 0, number])];
            many.set(
                &number.to_string(),
                NamedEndpoint { names: vec!["all".into()], addresses, ports: Vec::new() },
            );
        }
        let networks = [&many];
        let server =
            Server { networks: &networks, links: &NO_LINKS, forwards: true, forwards_single_labels: true };
        let ask = |extended, transport| match answer(&query("all", kind::A, extended), &server, transport, 0)
        {
            Outcome::Answer(message) => {
                (message.len(), u16::from_be_bytes([message[6], message[7]]), message[2] & 2)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(ask(false, Transport::Udp), (501, 30, 2));
        assert_eq!(ask(true, Transport::Udp), (1632, 100, 0));
        assert_eq!(ask(false, Transport::Tcp), (1621, 100, 0));
    }

    #[test]
    fn messages_that_are_no_queries_get_no_names() {
        let (front, _) = networks();
        let networks = [&front];
        let server =
            Server { networks: &networks, links: &NO_LINKS, forwards: true, forwards_single_labels: true };
        let check = |message: &[u8], expected: &str| {
            assert_eq!(text(&answer(message, &server, Transport::Udp, 0)), expected, "{message:?}");
        };
        let good = query("web1", kind::A, false);
        for length in 0..12 {
            check(&good[..length], "drop");
        }
        for length in 12..good.len() {
            let outcome = answer(&good[..length], &server, Transport::Udp, 0);
            assert!(
                matches!(&outcome, Outcome::Answer(message) if message.len() == 12 && message[3] & 0xf == 1)
            );
        }
        let mut response = good.clone();
        response[2] |= 0x80;
        check(&response, "drop");
        let mut pointer = good.clone();
        pointer[12] = 0xc0;
        assert!(
            matches!(answer(&pointer, &server, Transport::Udp, 0), Outcome::Answer(m) if m[3] & 0xf == 1)
        );
        let long = query(&["a".repeat(63).as_str(); 5].join("."), kind::A, false);
        assert!(matches!(answer(&long, &server, Transport::Udp, 0), Outcome::Answer(m) if m[3] & 0xf == 1));
        let mut update = good.clone();
        update[2] |= 0x28;
        assert!(matches!(answer(&update, &server, Transport::Udp, 0), Outcome::Answer(m) if m[3] & 0xf == 4));
    }

    #[test]
    fn a_broken_message_is_answered_or_dropped_but_never_breaks_the_server() {
        let (front, _) = networks();
        let networks = [&front];
        let server =
            Server { networks: &networks, links: &NO_LINKS, forwards: true, forwards_single_labels: true };
        let good = query("web1.front", kind::A, true);
        for at in 0..good.len() {
            for byte in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
                for length in [good.len(), at + 1] {
                    let mut broken = good[..length].to_vec();
                    broken[at] = byte;
                    if let Outcome::Answer(message) = answer(&broken, &server, Transport::Udp, at) {
                        assert!(message.len() >= 12 && message[2] & 0x80 != 0, "{broken:?}");
                    }
                    let _ = answers(&broken, &good);
                    let _ = answers(&good, &broken);
                }
            }
        }
    }

    #[test]
    fn only_the_answer_to_the_question_is_taken() {
        let asked = with_id(&query("example.org", kind::A, false), 0x4242);
        let mut response = asked.clone();
        response[2] |= 0x80;
        assert!(answers(&response, &asked));
        let mut shouted = response.clone();
        shouted[13..20].make_ascii_uppercase();
        assert!(answers(&shouted, &asked), "the case of letters is not compared");
        assert!(!answers(&with_id(&response, 0x4243), &asked));
        assert!(!answers(&asked, &asked), "a query is no answer");
        assert!(!answers(&response[..20], &asked));
        let mut other = with_id(&query("example.com", kind::A, false), 0x4242);
        other[2] |= 0x80;
        assert!(!answers(&other, &asked));
    }
}
