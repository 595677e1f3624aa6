//! Lookups against name servers on loopback.

use super::*;
use crate::files::Configuration;

fn asking(server: SocketAddr) -> Configuration {
    let mut configuration = Configuration::parse("search example\noptions attempts:1 timeout:5");
    configuration.servers = vec![server];
    configuration
}

/// The answer to `query`: `records` A records, or a flag.
fn answer(query: &[u8], flags: [u8; 2], records: &[[u8; 4]]) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2..4].copy_from_slice(&flags);
    message[7] = u8::try_from(records.len()).expect("few");
    for record in records {
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
        message.extend_from_slice(record);
    }
    message
}

fn is_for(query: &[u8], label: &[u8], kind: u8) -> bool {
    query[13..].starts_with(label) && query[query.len() - 3] == kind
}

#[tokio::test]
async fn the_search_list_is_tried_and_forged_answers_are_passed_over() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let configuration = asking(socket.local_addr().expect("address"));
    let server = tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.expect("a query");
            let query = buffer[..length].to_vec();
            let mut forged = answer(&query, [0x81, 0], &[[6, 6, 6, 6]]);
            forged[0] ^= 1;
            socket.send_to(&forged, from).await.expect("send");
            let in_domain = query.windows(8).any(|window| window == b"\x07example");
            let message = match in_domain {
                true if is_for(&query, b"box", 1) => answer(&query, [0x81, 0], &[[10, 0, 0, 9]]),
                true => answer(&query, [0x81, 0], &[]),
                false => answer(&query, [0x81, 3], &[]),
            };
            socket.send_to(&message, from).await.expect("send");
        }
    });
    assert_eq!(search(&configuration, "box").await.expect("found"), [IpAddr::from([10, 0, 0, 9])]);
    assert!(matches!(search(&configuration, "other.box").await, Err(LookupError::NoSuchHost)));
    server.abort();
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_again_over_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let socket = UdpSocket::bind(address).await.expect("the same port for datagrams");
    let datagrams = tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.expect("a query");
            socket.send_to(&answer(&buffer[..length], [0x83, 0], &[]), from).await.expect("send");
        }
    });
    let streams = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let length = stream.read_u16().await.expect("a length");
            let mut query = vec![0; usize::from(length)];
            stream.read_exact(&mut query).await.expect("a query");
            let records: &[[u8; 4]] =
                if is_for(&query, b"many", 1) { &[[1, 1, 1, 1], [2, 2, 2, 2]] } else { &[] };
            let message = answer(&query, [0x81, 0], records);
            stream.write_u16(u16::try_from(message.len()).expect("short")).await.expect("send");
            stream.write_all(&message).await.expect("send");
        }
    });
    let found = search(&asking(address), "many.example").await.expect("found");
    assert_eq!(found, [IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2])]);
    datagrams.abort();
    streams.abort();
}

#[tokio::test]
async fn digits_and_localhost_ask_nobody() {
    let text = |found: Vec<IpAddr>| found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(text(lookup("10.1.2.3").await.expect("digits")), "10.1.2.3");
    assert_eq!(text(lookup("[::1]").await.expect("digits")), "::1");
    assert_eq!(text(lookup("box.localhost").await.expect("special")), "127.0.0.1 ::1");
    assert!(matches!(
        search(&asking("127.0.0.1:9".parse().expect("address")), "a..b").await,
        Err(LookupError::Name)
    ));
}
