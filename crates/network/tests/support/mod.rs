//! Fresh network namespaces for the kernel tests: a host, its containers and neighbours, and programs run in them.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test uses a part of it")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use network::{
    Attachment, BridgeConfig, Endpoint, InterfaceName, Link, MacAddress, Network, Prefix, Protocol,
    PublishedPort,
};

/// Whether the test can run: as root. Says why not; on CI it must.
pub fn can_run() -> bool {
    let made = linux::netns::new();
    if let Err(error) = &made {
        assert!(std::env::var_os("CI").is_none(), "network namespaces are needed on CI: {error}");
        println!("SKIP: no network namespaces: {error}");
    }
    made.is_ok()
}

/// Whether a program is installed; on CI it must be.
pub fn has_program(name: &str) -> bool {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|dir| std::path::Path::new(dir).join(name).exists());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{name} is needed on CI");
        println!("SKIP: {name} is not installed");
    }
    found
}

/// Whether the kernel has something that not every kernel has. In the machine tier's guest it must be there.
pub fn kernel_has(what: &str, tried: (bool, String)) -> bool {
    let (has, words) = tried;
    if !has {
        assert!(std::env::var_os("BERTH_GUEST").is_none(), "the guest's kernel must have {what}: {words}");
        println!("SKIP: this kernel lacks {what}");
    }
    has
}

/// A network namespace.
pub struct Namespace(OwnedFd);

impl Namespace {
    pub fn new() -> Self {
        let namespace = Self(linux::netns::new().unwrap());
        namespace.run("ip", &["link", "set", "lo", "up"]);
        // A new namespace forwards when the machine's does.
        namespace.within(|| {
            for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                let path = std::path::Path::new("/proc/sys/net").join(path);
                if path.exists() {
                    std::fs::write(path, "0").unwrap();
                }
            }
        });
        namespace
    }

    /// One as the runtime makes it: `lo` is down.
    pub fn of_container() -> Self {
        Self(linux::netns::new().unwrap())
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs code in the namespace.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        linux::netns::run_in(self.fd(), work).unwrap()
    }

    /// Runs a program in the namespace and returns what it prints; it must succeed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let (ok, output) = self.try_run(program, arguments);
        assert!(ok, "{program} {arguments:?}: {output}");
        output
    }

    /// Runs a program in the namespace: whether it succeeded, and what it printed.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        self.within(|| {
            let output = Command::new(program).args(arguments).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// Runs a program with an input.
    pub fn run_with_input(&self, program: &str, arguments: &[&str], input: &str) -> String {
        self.within(|| {
            use std::process::Stdio;
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{program}: {text}\n{input}");
            text
        })
    }

    /// A TCP server that answers each connection with the address that it came from, until the namespace of the
    /// test ends.
    pub fn serve_tcp(&self, port: u16) -> Server {
        let listener = self.within(|| {
            TcpListener::bind(SocketAddr::from(([0u16; 8], port)))
                .or_else(|_| TcpListener::bind(SocketAddr::from(([0u8; 4], port))))
                .unwrap()
        });
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut request = [0; 4];
                if stream.read_exact(&mut request).is_err() {
                    continue;
                }
                if &request == b"quit" {
                    return;
                }
                let peer = stream.peer_addr().unwrap();
                let _ = stream.write_all(canonical(peer.ip()).to_string().as_bytes());
            }
        });
        let netns = self.0.try_clone().unwrap();
        Server { netns, port: address.port(), thread: Some(thread) }
    }

    /// Connects and returns the address from which the server saw the connection, or the error.
    pub fn ask_tcp(&self, to: &str) -> Result<String, std::io::ErrorKind> {
        let to: SocketAddr = to.parse().unwrap();
        self.within(move || {
            let mut stream =
                TcpStream::connect_timeout(&to, Duration::from_millis(1500)).map_err(|e| e.kind())?;
            stream.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
            stream.write_all(b"ping").map_err(|e| e.kind())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map_err(|e| e.kind())?;
            Ok(answer)
        })
    }

    /// Sends a datagram and returns the answer.
    pub fn ask_udp(&self, to: &str) -> Result<String, std::io::ErrorKind> {
        let to: SocketAddr = to.parse().unwrap();
        self.within(move || {
            let any: IpAddr = if to.is_ipv6() { [0u16; 8].into() } else { [0u8; 4].into() };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
            socket.connect(to).map_err(|e| e.kind())?;
            socket.send(b"ping").map_err(|e| e.kind())?;
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).map_err(|e| e.kind())?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        })
    }

    /// A UDP server that answers one datagram at a time with the sender's address and its own words.
    pub fn serve_udp(&self, port: u16, words: &'static str) -> UdpServer {
        let socket = self.within(|| UdpSocket::bind(SocketAddr::from(([0u8; 4], port))).unwrap());
        let stop = socket.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            let mut request = [0; 64];
            while let Ok((length, peer)) = socket.recv_from(&mut request) {
                if length == 0 {
                    return;
                }
                let _ = socket.send_to(format!("{words} {}", peer.ip()).as_bytes(), peer);
            }
        });
        let netns = self.0.try_clone().unwrap();
        UdpServer { netns, socket: stop, thread: Some(thread) }
    }
}

pub struct UdpServer {
    netns: OwnedFd,
    socket: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        let port = self.socket.local_addr().unwrap().port();
        linux::netns::run_in(self.netns.as_fd(), || {
            UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[], ("127.0.0.1", port)).unwrap();
        })
        .unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// A server, which ends with this value.
pub struct Server {
    netns: OwnedFd,
    pub port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let port = self.port;
        linux::netns::run_in(self.netns.as_fd(), || {
            TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b"quit").unwrap();
        })
        .unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A host with a neighbour on 192.0.2.0/24 and 2001:db8::/64: the host is .1, the neighbour .2, and the neighbour
/// routes everything through the host.
pub struct World {
    pub host: Namespace,
    pub neighbour: Namespace,
}

impl World {
    pub fn new() -> Self {
        let (host, neighbour) = (Namespace::new(), Namespace::new());
        let fd = neighbour.within(|| linux::netns::current().unwrap());
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&fd));
        host.run("ip", &["link", "add", "uplink", "type", "veth", "peer", "name", "uplink", "netns", &path]);
        for (namespace, last) in [(&host, 1), (&neighbour, 2)] {
            namespace.run("ip", &["address", "add", &format!("192.0.2.{last}/24"), "dev", "uplink"]);
            namespace
                .run("ip", &["address", "add", &format!("2001:db8::{last}/64"), "dev", "uplink", "nodad"]);
            namespace.run("ip", &["link", "set", "uplink", "up"]);
        }
        neighbour.run("ip", &["route", "add", "default", "via", "192.0.2.1"]);
        neighbour.run("ip", &["-6", "route", "add", "default", "via", "2001:db8::1"]);
        Self { host, neighbour }
    }
}

pub fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

pub fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A link of ours, up.
pub fn link(index: u32, name: &str, kind: Option<&str>) -> Link {
    let kind = kind.map(str::to_owned);
    Link { index, name: name.to_owned(), kind, master: None, mac: None, mtu: 1500, up: true, ours: true }
}

/// A port of the host that leads to one of a container.
pub fn port(protocol: Protocol, host: &str, container: &str) -> PublishedPort {
    let (host, container): (SocketAddr, SocketAddr) = (host.parse().unwrap(), container.parse().unwrap());
    PublishedPort {
        protocol,
        host_address: host.ip(),
        host_port: host.port(),
        container_address: container.ip(),
        container_port: container.port(),
    }
}

pub fn tcp(host: &str, container: &str) -> PublishedPort {
    port(Protocol::Tcp, host, container)
}

pub fn bridge(interface: &str, addresses: &[&str]) -> BridgeConfig {
    BridgeConfig {
        interface: name(interface),
        mac: MacAddress::from_random([2, 0x42, 0, 0, 0, 1]),
        addresses: addresses.iter().map(|text| prefix(text)).collect(),
        mtu: None,
        forwarding: true,
        foreign: false,
        apart: false,
    }
}

pub fn endpoint(bridge: &str, number: u8, addresses: &[&str], gateways: &[&str]) -> Endpoint {
    Endpoint {
        attachment: Attachment::Bridge {
            bridge: name(bridge),
            host_interface: name(&format!("veth{number:07x}")),
            isolated: false,
        },
        interface: name("eth0"),
        mac: MacAddress::from_random([2, 0x42, 0, 0, 1, number]),
        addresses: addresses.iter().map(|text| prefix(text)).collect(),
        link_local: Vec::new(),
        gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
        routes: Vec::new(),
        mtu: None,
        sysctls: Vec::new(),
        shaping: network::Shaping::default(),
    }
}

/// A container on the default bridge of the tests, 172.17.0.0/16.
pub fn container_on(
    world: &World,
    bridge: &str,
    number: u8,
    addresses: &[&str],
    gateways: &[&str],
) -> Namespace {
    let container = Namespace::of_container();
    let endpoint = endpoint(bridge, number, addresses, gateways);
    world.host.within(|| Network::open().unwrap().attach(container.fd(), &endpoint)).unwrap();
    container
}
