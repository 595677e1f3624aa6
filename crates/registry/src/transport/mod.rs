//! Requests and answers over one endpoint's connections: HTTP/1.1, plain or TLS, direct or through a proxy.
//!
//! ```text
//! exchange ─► an idle connection, or: names → TCP → (CONNECT) → (TLS) → HTTP/1.1
//!          ─► head of the answer ─► body, piece by piece ─► the connection is idle again
//! ```
//!
//! HTTP/1.1 alone, because every registry speaks it, and because parallel pieces of a blob then have a window each.

mod answer;
mod connect;
mod outgoing;
mod socks;
mod stream;
mod tls;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use hyper::client::conn::http1::SendRequest;
use rustls::ClientConfig;

pub(crate) use answer::Answer;
pub(crate) use outgoing::Outgoing;
pub(crate) use tls::{Identity, Material, Roots, client_config};

use crate::error::Cause;
use crate::proxy::{Kind, Proxies, Proxy};
use crate::settings::Patience;
use crate::{Error, Result};

/// An idle connection older than this is not used again: servers close them at about this age.
const STALE: Duration = Duration::from_secs(30);
/// As many connections of one host, and no more, are kept idle.
const MOST_IDLE: usize = 16;

type Sender = SendRequest<Outgoing>;

/// The connections of one endpoint, also to the hosts that it redirects to.
pub(crate) struct Transport {
    tls: Arc<ClientConfig>,
    proxies: Proxies,
    user_agent: HeaderValue,
    pub(crate) patience: Patience,
    idle: Mutex<HashMap<String, Vec<(Sender, Instant)>>>,
}

impl Transport {
    pub(crate) fn new(
        tls: Arc<ClientConfig>,
        proxies: Proxies,
        user_agent: HeaderValue,
        patience: Patience,
    ) -> Arc<Self> {
        Arc::new(Self { tls, proxies, user_agent, patience, idle: Mutex::default() })
    }

    /// Sends one request to its absolute URL and waits for the head of the answer.
    ///
    /// # Errors
    /// `Transport`, with the words of Go's library.
    pub(crate) async fn exchange(self: &Arc<Self>, mut request: Request<Outgoing>) -> Result<Answer> {
        let (method, url) = (request.method().clone(), request.uri().clone());
        let fail = |cause| failure(&method, &url, cause);
        let proxy = self.proxies.choose(&url);
        let forwards = |proxy: &&Proxy| proxy.kind != Kind::Socks && url.scheme_str() == Some("http");
        let through_proxy = proxy.filter(forwards).is_some();
        prepare(&mut request, &self.user_agent, through_proxy).map_err(fail)?;
        if through_proxy && let Some(value) = proxy.and_then(Proxy::authorization) {
            let value =
                HeaderValue::from_str(&value).map_err(|_| fail(Cause::Proxy("bad credentials".into())))?;
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        let key = format!("{}://{}", url.scheme_str().unwrap_or_default(), authority(&url));
        let watch = request.body().watch();
        let mut pending = Some(request);
        while let Some(mut sender) = self.take_idle(&key) {
            let Some(request) = pending.take() else { break };
            match self.send(&mut sender, request, &watch).await {
                Ok(response) => return Ok(Answer::new(response, method, url, key, sender, self.clone())),
                Err(Unsent { request: Some(request), .. }) => pending = Some(*request),
                Err(Unsent { cause, .. }) => return Err(fail(cause)),
            }
        }
        let Some(request) = pending else { return Err(fail(Cause::Broken("EOF".to_owned()))) };
        let mut sender =
            connect::connect(&url, proxy, self.tls.clone(), &self.patience).await.map_err(fail)?;
        match self.send(&mut sender, request, &watch).await {
            Ok(response) => Ok(Answer::new(response, method, url, key, sender, self.clone())),
            Err(unsent) => Err(fail(unsent.cause)),
        }
    }

    /// Sends on an open connection. An upload is given time as long as it moves; see [`Patience`].
    async fn send(
        &self,
        sender: &mut Sender,
        request: Request<Outgoing>,
        watch: &outgoing::Watch,
    ) -> std::result::Result<http::Response<hyper::body::Incoming>, Unsent> {
        if sender.ready().await.is_err() {
            return Err(Unsent { request: Some(Box::new(request)), cause: Cause::Broken("EOF".to_owned()) });
        }
        let answered = sender.try_send_request(request);
        tokio::pin!(answered);
        loop {
            let limit = watch.limit(&self.patience);
            match tokio::time::timeout(limit, &mut answered).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(mut error)) => {
                    let request = error.take_message().map(Box::new);
                    return Err(Unsent { request, cause: broken(error.error(), watch) });
                }
                Err(_) if watch.moved_within(limit) => {}
                Err(_) => {
                    let cause = Cause::TimedOut("net/http: timeout awaiting response headers");
                    return Err(Unsent { request: None, cause });
                }
            }
        }
    }

    fn take_idle(&self, key: &str) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let list = idle.get_mut(key)?;
        list.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < STALE);
        list.pop().map(|(sender, _)| sender)
    }

    fn put_idle(&self, key: &str, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let list = idle.entry(key.to_owned()).or_default();
        if list.len() < MOST_IDLE {
            list.push((sender, Instant::now()));
        }
    }
}

/// A request that got no answer: itself, when not a byte of it was sent, and why.
struct Unsent {
    request: Option<Box<Request<Outgoing>>>,
    cause: Cause,
}

/// What was asked, why there is no answer. The query is left out: it may be a signed address.
pub(crate) fn failure(method: &Method, url: &Uri, cause: Cause) -> Error {
    let mut name = method.as_str().to_ascii_lowercase();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Error::Transport { method: name, url: shown(url), cause }
}

/// A URL for people: without credentials and query.
pub(crate) fn shown(url: &Uri) -> String {
    format!("{}://{}{}", url.scheme_str().unwrap_or_default(), authority(url), url.path())
}

/// Host and port without credentials.
pub(crate) fn authority(url: &Uri) -> String {
    let host = url.host().unwrap_or_default();
    url.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Fills in what HTTP/1.1 wants to know, and leaves the path alone as the target unless a proxy has to forward it.
fn prepare(
    request: &mut Request<Outgoing>,
    user_agent: &HeaderValue,
    absolute: bool,
) -> std::result::Result<(), Cause> {
    let url = request.uri().clone();
    let host = HeaderValue::from_str(&authority(&url))
        .map_err(|_| Cause::Broken(format!("invalid host in {}", shown(&url))))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().entry(USER_AGENT).or_insert_with(|| user_agent.clone());
    if !absolute {
        let target = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() =
            target.parse().map_err(|_| Cause::Broken(format!("invalid path in {}", shown(&url))))?;
    }
    Ok(())
}

fn broken(error: &hyper::Error, watch: &outgoing::Watch) -> Cause {
    if let Some(reason) = watch.failure() {
        return Cause::Broken(reason);
    }
    if error.is_incomplete_message() || error.is_canceled() {
        return Cause::Broken("EOF".to_owned());
    }
    Cause::Broken(chain(error))
}

/// An error with its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(inner) = next {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = inner.source();
    }
    text
}
