//! The name server in each container: sockets in its network namespace, answers from the one view of all names.
//!
//! ```text
//!  container: 127.0.0.11:53 ──nft──► UDP and TCP sockets of the daemon ──► Names::answer
//!                                                                            │ forward
//!                              up to three servers, one after the other ◄────┘
//!                              asked from the container's namespace, those on the host's loopback from the host's
//! ```
//!
//! The sockets end with the daemon; the next one opens new ones and leads port 53 to them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use network::ResolverSockets;
use network::dns::{Outcome, Transport, answers, with_id};
use network::files::{HostResolver, Nameserver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::names::Names;
use crate::{Error, Result, id};

/// Servers that are asked about one name.
const SERVERS: usize = 3;
/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long one of them may take when there is another to ask.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// Queries and connections of one container that may be under way at the same time.
const UNDER_WAY: usize = 256;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// The longest query taken over UDP, in bytes.
const LONGEST_QUERY: usize = 4096;
const HOST_FILE: &str = "/etc/resolv.conf";

/// The running name servers, by container.
#[derive(Debug, Default)]
pub(super) struct Resolvers {
    names: Arc<Names>,
    host: Arc<HostFile>,
    running: Mutex<HashMap<String, JoinHandle<()>>>,
}

/// The host's file, read again when it has changed.
#[derive(Debug, Default)]
struct HostFile {
    read: Mutex<Option<(Version, HostResolver)>>,
}

/// Which file it is, when it was changed last, and how long it is.
type Version = (u64, u64, i64, i64, u64);

/// One container's name server.
struct Server {
    container_id: String,
    netns: OwnedFd,
    names: Arc<Names>,
    host: Arc<HostFile>,
    turn: AtomicUsize,
}

impl HostFile {
    fn get(&self) -> HostResolver {
        let Ok(about) = std::fs::metadata(HOST_FILE) else { return HostResolver::default() };
        let version = (about.dev(), about.ino(), about.ctime(), about.ctime_nsec(), about.len());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, resolver)) = read.as_ref()
            && *of == version
        {
            return resolver.clone();
        }
        let resolver = HostResolver::parse(&std::fs::read_to_string(HOST_FILE).unwrap_or_default());
        *read = Some((version, resolver.clone()));
        resolver
    }
}

impl Resolvers {
    pub(super) fn new(names: Arc<Names>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Opens the name server of a container; one that is open already is left. Blocks; needs the runtime around it.
    pub(super) fn open(&self, container_id: &str, netns: BorrowedFd<'_>) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(container_id) {
            return Ok(());
        }
        let failed = |error: &dyn std::fmt::Display| {
            Error::system(format!("name server of {}: {error}", id::short(container_id)))
        };
        let sockets = ResolverSockets::open(netns).map_err(|error| failed(&error))?;
        let server = Server {
            container_id: container_id.to_owned(),
            netns: netns.try_clone_to_owned().map_err(|error| failed(&error))?,
            names: Arc::clone(&self.names),
            host: Arc::clone(&self.host),
            turn: AtomicUsize::new(0),
        };
        let prepare = || {
            sockets.udp.set_nonblocking(true)?;
            sockets.tcp.set_nonblocking(true)?;
            Ok::<_, std::io::Error>((UdpSocket::from_std(sockets.udp)?, TcpListener::from_std(sockets.tcp)?))
        };
        let (udp, tcp) = prepare().map_err(|error| failed(&error))?;
        running.insert(container_id.to_owned(), tokio::spawn(Arc::new(server).serve(Arc::new(udp), tcp)));
        Ok(())
    }

    /// Ends the name server of a container and waits until its sockets are closed: they would keep the network
    /// namespace. Blocks.
    pub(super) fn close(&self, container_id: &str) {
        let found = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(container_id);
        if let Some(task) = found {
            task.abort();
            // It was aborted: that is its only outcome.
            let _ = tokio::runtime::Handle::current().block_on(task);
        }
    }
}

impl Server {
    async fn serve(self: Arc<Self>, udp: Arc<UdpSocket>, tcp: TcpListener) {
        let mut under_way = JoinSet::new();
        let mut query = vec![0; LONGEST_QUERY];
        loop {
            tokio::select! {
                received = udp.recv_from(&mut query) => match received {
                    Ok((length, client)) => {
                        let query = query.get(..length).unwrap_or_default();
                        match self.answer(query, Transport::Udp) {
                            Outcome::Answer(answer) => send(&udp, &answer, client).await,
                            Outcome::Forward { failure } if under_way.len() < UNDER_WAY => {
                                let (server, udp, query) = (Arc::clone(&self), Arc::clone(&udp), query.to_vec());
                                under_way.spawn(async move {
                                    let answer = server.forward(&query, Transport::Udp).await.unwrap_or(failure);
                                    send(&udp, &answer, client).await;
                                });
                            }
                            Outcome::Forward { .. } | Outcome::Drop => {}
                        }
                    }
                    // An answer that could not be delivered is reported here; the next query is not affected.
                    Err(error) => tracing::debug!(container = id::short(&self.container_id), %error, "name server"),
                },
                accepted = tcp.accept(), if under_way.len() < UNDER_WAY => match accepted {
                    Ok((stream, _)) => {
                        let server = Arc::clone(&self);
                        under_way.spawn(async move { server.converse(stream).await });
                    }
                    Err(error) => {
                        tracing::warn!(container = id::short(&self.container_id), %error, "name server");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = under_way.join_next() => {}
            }
        }
    }

    fn answer(&self, query: &[u8], transport: Transport) -> Outcome {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.names.answer(&self.container_id, query, transport, turn)
    }

    /// Queries of one connection, one after the other.
    async fn converse(&self, mut stream: TcpStream) {
        while let Ok(Ok(query)) = timeout(IDLE, receive(&mut stream)).await {
            let answer = match self.answer(&query, Transport::Tcp) {
                Outcome::Answer(answer) => answer,
                Outcome::Forward { failure } => self.forward(&query, Transport::Tcp).await.unwrap_or(failure),
                Outcome::Drop => return,
            };
            let Ok(Ok(())) = timeout(IDLE, transmit(&mut stream, &answer)).await else { return };
        }
    }

    /// The first useful answer of the servers, or else the last one; `None` when nobody answered.
    async fn forward(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let seat = self.names.seat(&self.container_id)?;
        let mut servers = seat.upstreams(&self.host.get());
        servers.truncate(SERVERS);
        let mut last = None;
        for (index, server) in servers.iter().enumerate() {
            let patience = if index + 1 < servers.len() { IMPATIENCE } else { PATIENCE };
            let asked = with_id(query, u16::from_be_bytes(id::random().ok()?));
            let exchange = async {
                match transport {
                    Transport::Udp => self.ask_by_udp(*server, &asked).await,
                    Transport::Tcp => self.ask_by_tcp(*server, &asked).await,
                }
            };
            match timeout(patience, exchange).await {
                Ok(Ok(response)) => {
                    let own_id = u16::from_be_bytes([*query.first()?, *query.get(1)?]);
                    let helps = response.get(3).is_some_and(|flags| !matches!(flags & 0xf, 2 | 4 | 5));
                    last = Some(with_id(&response, own_id));
                    if helps {
                        break;
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(server = %server.address, %error, "name server cannot be asked")
                }
                Err(_) => tracing::debug!(server = %server.address, "name server does not answer"),
            }
        }
        last
    }

    /// Makes a socket in the container's network namespace, or in the host's.
    async fn socket<T: Send + 'static>(
        &self,
        server: Nameserver,
        make: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        if server.from_host {
            return make();
        }
        let netns = self.netns.try_clone()?;
        let made = tokio::task::spawn_blocking(move || linux::netns::run_in(netns.as_fd(), make));
        let made = made.await.map_err(std::io::Error::other)?;
        made.map_err(|error| std::io::Error::from_raw_os_error(error.errno()))?
    }

    async fn ask_by_udp(&self, server: Nameserver, query: &[u8]) -> std::io::Result<Vec<u8>> {
        let address = SocketAddr::new(server.address, 53);
        let bind = move || {
            let any = match address {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let socket = std::net::UdpSocket::bind((any, 0))?;
            socket.connect(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = UdpSocket::from_std(self.socket(server, bind).await?)?;
        socket.send(query).await?;
        let mut response = vec![0; usize::from(u16::MAX)];
        loop {
            let length = socket.recv(&mut response).await?;
            let received = response.get(..length).unwrap_or_default();
            // Whatever does not answer the question is somebody's attempt to answer for the server.
            if answers(received, query) {
                return Ok(received.to_vec());
            }
        }
    }

    async fn ask_by_tcp(&self, server: Nameserver, query: &[u8]) -> std::io::Result<Vec<u8>> {
        let address = SocketAddr::new(server.address, 53);
        let make = move || if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let mut stream = self.socket(server, make).await?.connect(address).await?;
        transmit(&mut stream, query).await?;
        let response = receive(&mut stream).await?;
        if answers(&response, query) { Ok(response) } else { Err(std::io::ErrorKind::InvalidData.into()) }
    }
}

async fn send(udp: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = udp.send_to(answer, client).await {
        // The client has gone; it asks again if it wants to know.
        tracing::debug!(%client, %error, "an answer was not delivered");
    }
}

/// A message over TCP: two bytes of length before it (RFC 1035, 4.2.2).
async fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn transmit(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| std::io::ErrorKind::InvalidData)?;
    let framed = [&length.to_be_bytes()[..], message].concat();
    stream.write_all(&framed).await
}
