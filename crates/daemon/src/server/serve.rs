//! The life of the listeners and their connections, until the server is told to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, Farewell, Socket};
use super::dispatch::{Client, Dispatcher};
use super::legacy_hijack::{LegacyHijack, Turn};
use super::listener::Listener;
use super::presence::Presence;
use super::raw_target;
use super::stream::{Protocol, Stream};

/// Most bytes of a request's head, and of what is read ahead of a body. Go's server takes a megabyte.
const MAX_HEAD: usize = 512 << 10;
/// Most headers of a request.
const MAX_HEADERS: usize = 200;
/// How long a request's head may take; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may take to agree on encryption.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 250;
/// How often a silent HTTP/2 client is asked whether it is there, and how long it may take to say so.
const HTTP2_PING: Duration = Duration::from_secs(60);
/// How long to wait after the system refused a connection for lack of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The answer to a client for whom there is no room.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
    Connection: close\r\n\r\n{\"message\":\"too many connections to this daemon: close some, or wait\"}\n";

/// Serves until `stop` becomes true, then takes no more requests, lets those under way finish, and returns. A client
/// beyond `max_connections` is told so and turned away.
pub async fn serve<S>(
    listeners: Vec<Listener>,
    dispatcher: Arc<Dispatcher<S>>,
    max_connections: usize,
    stop: watch::Receiver<bool>,
) where
    S: Clone + Send + Sync + 'static,
{
    // Every connection holds a sender; when all are gone, `recv` ends.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let room = Arc::new(Semaphore::new(max_connections));
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        let door = Door { room: room.clone(), stop: stop.clone(), alive: alive.clone() };
        accepting.spawn(accept_all(listener, dispatcher.clone(), door));
    }
    drop(alive);
    while accepting.join_next().await.is_some() {}
    all_gone.recv().await;
}

/// What a listener knows besides its socket.
struct Door {
    room: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
}

/// What a connection holds for as long as it lasts.
struct Place {
    _room: OwnedSemaphorePermit,
    _alive: mpsc::Sender<()>,
}

async fn accept_all<S>(listener: Listener, dispatcher: Arc<Dispatcher<S>>, mut door: Door)
where
    S: Clone + Send + Sync + 'static,
{
    tracing::info!(place = listener.place(), "listening");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut door.stop) => return,
        };
        let socket = match accepted {
            Ok(socket) => socket,
            // A client that is gone again, or no descriptors left: others can be served all the same.
            Err(error) => {
                tracing::warn!(place = listener.place(), %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(room) = door.room.clone().try_acquire_owned() else {
            turn_away(&socket, listener.tls().is_some());
            continue;
        };
        let place = Place { _room: room, _alive: door.alive.clone() };
        let (tls, dispatcher, mut stop) = (listener.tls().cloned(), dispatcher.clone(), door.stop.clone());
        tokio::spawn(async move {
            let met = tokio::select! {
                met = meet(socket, tls) => met,
                () = stopped(&mut stop) => return,
            };
            if let Some(met) = met {
                converse(met, dispatcher, stop).await;
            }
            drop(place);
        });
    }
}

/// Says why, as far as that goes without waiting.
fn turn_away(socket: &Socket, is_encrypted: bool) {
    tracing::warn!("too many connections: a client is turned away");
    if is_encrypted {
        return;
    }
    // A client that cannot take it sees its connection closed instead.
    let _ = match socket {
        Socket::Unix(stream) => stream.try_write(NO_ROOM),
        Socket::Tcp(stream) => stream.try_write(NO_ROOM),
    };
}

/// A client that has said something.
struct Met {
    client: Client,
    stream: Stream,
    protocol: Protocol,
    begun: Vec<u8>,
}

/// Agrees on encryption and finds out what the client speaks; `None` for a client that leaves or takes too long.
async fn meet(socket: Socket, tls: Option<TlsAcceptor>) -> Option<Met> {
    let socket = Arc::new(socket);
    let presence = Presence::new(Arc::downgrade(&socket));
    let farewell = Farewell::default();
    let connection = Connection::new(socket, farewell.clone());
    let mut stream = match tls {
        None => Stream::Plain(connection),
        Some(acceptor) => match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(connection)).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
            Ok(Err(error)) => {
                tracing::info!(%error, "a client does not pass TLS");
                return None;
            }
            Err(_) => {
                tracing::info!("a client takes too long over TLS");
                return None;
            }
        },
    };
    match timeout(HEAD_TIMEOUT, stream.recognize()).await {
        Ok(Ok((protocol, begun))) => {
            let begun = if protocol == Protocol::Http1 { raw_target::escape(begun) } else { begun };
            let client = Client { presence, farewell, certificates: stream.certificates() };
            Some(Met { client, stream, protocol, begun })
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection ended early");
            None
        }
        Err(_) => None,
    }
}

async fn converse<S>(met: Met, dispatcher: Arc<Dispatcher<S>>, mut stop: watch::Receiver<bool>)
where
    S: Clone + Send + Sync + 'static,
{
    let client = met.client;
    let turn = Turn::default();
    let taken = turn.clone();
    let service = service_fn(move |request| {
        taken.end();
        let answer = dispatcher.clone().answer(request, client.clone());
        let turn = taken.clone();
        async move {
            let answer = answer.await;
            Ok::<_, Infallible>(match answer.status() {
                StatusCode::SWITCHING_PROTOCOLS => answer.map(Turn::never),
                _ => answer.map(|body| turn.after(body)),
            })
        }
    });
    let result = match met.protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .max_headers(MAX_HEADERS)
                .half_close(true)
                .title_case_headers(true)
                .serve_connection(TokioIo::new(LegacyHijack::new(met.stream, met.begun, turn)), service)
                .with_upgrades();
            tokio::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().await
                }
            }
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .keep_alive_interval(HTTP2_PING)
                .keep_alive_timeout(HTTP2_PING)
                .serve_connection(TokioIo::new(LegacyHijack::unwatched(met.stream, met.begun)), service);
            tokio::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().await
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Returns when the server is told to stop, or nobody is left who could tell it.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
