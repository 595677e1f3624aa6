//! The life of the listeners and their connections, until the server is told to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{mpsc, watch};

use super::connection::{Connection, Socket};
use super::dispatch::Dispatcher;
use super::legacy_hijack::LegacyHijack;
use super::listener::Listener;
use super::presence::Presence;

/// Most bytes of a request's head, and of what is read ahead of a body. Go's server takes a megabyte.
const MAX_HEAD: usize = 512 << 10;
/// Most headers of a request.
const MAX_HEADERS: usize = 200;
/// How long a request's head may take; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait after the system refused a connection for lack of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` becomes true, then takes no more requests, lets those under way finish, and returns.
pub async fn serve<S>(listeners: Vec<Listener>, dispatcher: Arc<Dispatcher<S>>, stop: watch::Receiver<bool>)
where
    S: Clone + Send + Sync + 'static,
{
    // Every connection holds a sender; when all are gone, `recv` ends.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept_all(listener, dispatcher.clone(), stop.clone(), alive.clone()));
    }
    drop(alive);
    while accepting.join_next().await.is_some() {}
    all_gone.recv().await;
}

async fn accept_all<S>(
    listener: Listener,
    dispatcher: Arc<Dispatcher<S>>,
    mut stop: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) where
    S: Clone + Send + Sync + 'static,
{
    tracing::info!(place = listener.place(), "listening");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok(socket) => {
                tokio::spawn(converse(socket, dispatcher.clone(), stop.clone(), alive.clone()));
            }
            // A client that is gone again, or no descriptors left: others can be served all the same.
            Err(error) => {
                tracing::warn!(place = listener.place(), %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse<S>(
    socket: Socket,
    dispatcher: Arc<Dispatcher<S>>,
    mut stop: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) where
    S: Clone + Send + Sync + 'static,
{
    let socket = Arc::new(socket);
    let presence = Presence::new(Arc::downgrade(&socket));
    let service = service_fn(move |request| {
        let answer = dispatcher.clone().answer(request, presence.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .half_close(true)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(LegacyHijack::new(Connection::new(socket))), service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
    drop(alive);
}

/// Returns when the server is told to stop, or nobody is left who could tell it.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
