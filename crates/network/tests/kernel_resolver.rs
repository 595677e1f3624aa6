//! The name server of a container: asked at 127.0.0.11, by UDP and TCP, by real clients.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};

use network::dns::{NamedEndpoint, NetworkNames, Outcome, Server, Transport, answer};
use network::{Network, ResolverSockets};
use support::{Namespace, can_run, has_program};

/// Answers by UDP and by TCP until a query for `quit` comes by each.
fn serve(sockets: ResolverSockets) -> Vec<std::thread::JoinHandle<()>> {
    let mut names = NetworkNames::new("front");
    let addresses: Vec<IpAddr> = vec!["172.18.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
    names.set("a", NamedEndpoint { names: vec!["web".into(), "www".into()], addresses, ports: Vec::new() });
    names.set(
        "q",
        NamedEndpoint {
            names: vec!["quit".into()],
            addresses: vec![[10, 0, 0, 1].into()],
            ports: Vec::new(),
        },
    );
    let reply = move |query: &[u8], transport| {
        let networks = [&names];
        let server = Server {
            networks: &networks,
            links: &std::collections::BTreeMap::new(),
            forwards: false,
            forwards_single_labels: true,
        };
        match answer(query, &server, transport, 0) {
            Outcome::Answer(message) | Outcome::Forward { failure: message } => message,
            Outcome::Drop => Vec::new(),
        }
    };
    let is_end = |query: &[u8]| query.windows(5).any(|part| part == b"\x04quit");
    let (udp_reply, udp) = (reply.clone(), sockets.udp);
    let by_udp = std::thread::spawn(move || {
        let mut query = [0; 512];
        loop {
            let (length, client) = udp.recv_from(&mut query).unwrap();
            udp.send_to(&udp_reply(&query[..length], Transport::Udp), client).unwrap();
            if is_end(&query[..length]) {
                return;
            }
        }
    });
    let tcp = sockets.tcp;
    let by_tcp = std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let message = reply(&query, Transport::Tcp);
            stream.write_all(&(message.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&message).unwrap();
            if is_end(&query) {
                return;
            }
        }
    });
    vec![by_udp, by_tcp]
}

fn query(name: &str) -> Vec<u8> {
    let label = [&[name.len() as u8], name.as_bytes()].concat();
    [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &label, &[0, 0, 1, 0, 1]].concat()
}

fn ask_udp(container: &Namespace, name: &str) -> Vec<u8> {
    container.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Connected: an answer from another address or port would not be received.
        socket.connect("127.0.0.11:53").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        socket.send(&query(name)).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        answer[..length].to_vec()
    })
}

fn ask_tcp(container: &Namespace, name: &str) -> Vec<u8> {
    container.within(|| {
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        let query = query(name);
        stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat()).unwrap();
        let mut answer = Vec::new();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        answer.resize(usize::from(u16::from_be_bytes(length)), 0);
        stream.read_exact(&mut answer).unwrap();
        answer
    })
}

#[test]
fn names_are_asked_at_port_53_whatever_the_container_itself_listens_on() {
    if !can_run() {
        return;
    }
    let host = Namespace::new();
    let container = Namespace::of_container();
    host.within(|| Network::open().unwrap().attach_loopback(container.fd())).unwrap();
    // The rules of a daemon before this one lead to sockets that are gone.
    drop(ResolverSockets::open(container.fd()).unwrap());
    let threads = serve(ResolverSockets::open(container.fd()).unwrap());
    let own = container.within(|| UdpSocket::bind("0.0.0.0:53").unwrap());
    let address = [172, 18, 0, 2];
    assert!(ask_udp(&container, "web").ends_with(&address));
    assert!(ask_tcp(&container, "web").ends_with(&address));
    if has_program("busybox") {
        let (_, shown) = container.try_run("busybox", &["nslookup", "web", "127.0.0.11"]);
        assert!(shown.contains("172.18.0.2") && shown.contains("fd00::2"), "{shown}");
        let (found, shown) = container.try_run("busybox", &["nslookup", "absent", "127.0.0.11"]);
        assert!(!found, "{shown}");
    }
    drop(own);
    ask_udp(&container, "quit");
    ask_tcp(&container, "quit");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
