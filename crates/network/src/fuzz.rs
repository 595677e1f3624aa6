//! What containers ask and the kernel answers, fed with mutated seeds: DNS messages and netlink datagrams.

use std::collections::BTreeMap;

use crate::dns::{NamedEndpoint, NetworkNames, Outcome, Server, Transport, answer, answers, parse_query};
use crate::netlink::parse;

/// A query of one question for `name`, with an OPT record when `size` is not 0.
fn query(name: &str, kind: u16, size: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size > 0)];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&1_u16.to_be_bytes());
    if size > 0 {
        bytes.extend_from_slice(&[0, 0, 41]);
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    }
    bytes
}

#[test]
fn dns_messages() {
    let mut names = NetworkNames::new("front");
    let addresses = (1..=40).map(|last| [10, 0, 0, last].into()).collect();
    names.set(
        "e1",
        NamedEndpoint {
            names: vec!["web".to_owned(), "alias".to_owned()],
            addresses,
            ports: vec![(crate::Protocol::Tcp, 80)],
        },
    );
    let links = BTreeMap::from([("db".to_owned(), "web".to_owned())]);
    let mut pointer = query("web", 1, 0);
    // A name that points at itself.
    pointer.splice(12..17, [0xc0, 12]);
    let seeds = [
        query("web", 1, 0),
        query("web.front", 28, 4096),
        query("_http._tcp.web", 33, 512),
        query("1.0.0.10.in-addr.arpa", 12, 1232),
        query("elsewhere.example", 255, 0),
        query("db", 1, 1),
        pointer,
        Vec::new(),
    ];
    fuzz::bytes("dns_messages", &seeds, |message| {
        let networks = [&names];
        let server =
            Server { networks: &networks, links: &links, forwards: true, forwards_single_labels: false };
        let asked = parse_query(message);
        let told = answer(message, &server, Transport::Udp, 3);
        if let Outcome::Answer(reply) | Outcome::Forward { failure: reply } = &told {
            let limit = asked.as_ref().map_or(512, |question| question.udp_size);
            assert!(reply.len() <= limit.max(message.len()), "an answer is longer than was asked for");
            assert_eq!(reply.get(..2), message.get(..2), "an answer has the query's number");
        }
        // What a server outside sends back to it.
        let outside = answers(message, &query("web", 1, 0));
        match told {
            Outcome::Answer(reply) => reply.len() + 4,
            Outcome::Forward { .. } => 2,
            Outcome::Drop => usize::from(outside),
        }
    });
}

/// A netlink message with one attribute.
fn netlink(kind: u16, attribute: u16, payload: &[u8]) -> Vec<u8> {
    let part = 4 + payload.len();
    let mut bytes = u32::try_from(16 + 16 + part).expect("short").to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend([0; 16]);
    bytes.extend(u16::try_from(part).expect("short").to_ne_bytes());
    bytes.extend(attribute.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn netlink_answers() {
    let nested = [8, 0, 1, 0, b'a', b'b', 0, 0];
    let several = [netlink(16, 3, b"eth0\0"), netlink(16, 0x8012, &nested)].concat();
    let seeds = [netlink(16, 3, b"eth0\0"), several, netlink(3, 0, &[]), vec![0; 16], vec![255; 40]];
    fuzz::bytes("netlink_answers", &seeds, |datagram| {
        let messages = parse::messages(datagram)?;
        let mut found = 0;
        for message in &messages {
            assert!(message.payload.len() <= datagram.len());
            let attributes = parse::attributes(message.payload.get(16..)?)?;
            for (_, payload) in &attributes {
                parse::text(payload);
                parse::u32_at(payload, 0);
                parse::be32_at(payload, 1);
                found += parse::attributes(payload).map_or(0, |inside| inside.len());
            }
            parse::find(&attributes, 3);
            found += attributes.len();
        }
        Some(found)
    });
}

#[test]
fn resolv_conf() {
    let seeds = [
        "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a b.c\noptions ndots:5 timeout:1\n",
        "domain x\n; comment\nnameserver\t127.0.0.53 # stub\r\n",
    ];
    fuzz::text("resolv_conf", &seeds, |text| {
        drop(crate::files::HostResolver::parse(text));
    });
}

#[test]
fn options() {
    let seeds = [
        "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2",
        "20mbit",
        "1.5s",
        "10.0.0.0/8",
        "2001:db8::/64",
        "02:42:ac:11:00:02",
        "0.5%",
    ];
    fuzz::text("options", &seeds, |text| {
        let sysctls = crate::EndpointSysctl::parse_list(text).is_ok();
        let prefix: Result<crate::Prefix, _> = text.parse();
        if let Ok(prefix) = &prefix {
            assert_eq!(prefix.to_string().parse::<crate::Prefix>().ok(), Some(*prefix));
        }
        let address = text.parse::<crate::MacAddress>().is_ok();
        let shapes: Vec<bool> =
            ["berth.endpoint.egress_rate", "berth.endpoint.egress_delay", "berth.endpoint.egress_loss"]
                .iter()
                .map(|name| crate::Shaping::parse([(*name, text)].into_iter()).is_ok())
                .collect();
        Err::<(), _>(format!("{sysctls} {} {address} {shapes:?}", prefix.is_ok()))
    });
}
