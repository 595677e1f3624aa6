//! From an HTTP request to a handler and back: path, version, route, headers, errors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT, HeaderName, HeaderValue, SERVER};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode, Version};
use hyper::body::Incoming;

use super::body::Body;
use super::call::{Call, read_limited};
use super::certificate;
use super::connection::Farewell;
use super::failure::Failure;
use super::gate::{Answered, Asked, Gate};
use super::negotiate::Versions;
use super::presence::Presence;
use super::query::Query;
use super::reply::{self, Reply};
use super::request_body::{Leftover, RequestBody};
use super::router::{Outcome, Router};
use super::target::Target;
use super::underway::Underway;

/// What every answer says about the server.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `Server: Docker/<version> (linux)`.
    pub version: String,
    /// `Docker-Experimental`.
    pub experimental: bool,
}

/// Who sends requests.
#[derive(Clone)]
pub struct Client {
    /// Whether it is still there.
    pub presence: Presence,
    /// How its connection ends.
    pub farewell: Farewell,
    /// The certificates it has shown, its own first; DER.
    pub certificates: Arc<[Vec<u8>]>,
}

/// Turns requests into answers.
pub struct Dispatcher<S> {
    /// The table.
    pub router: Router<S>,
    /// The versions served.
    pub versions: Versions,
    /// For the headers.
    pub identity: Identity,
    /// Given to every handler.
    pub state: S,
    /// The requests whose handlers are at work.
    pub underway: Arc<Underway>,
    /// Is told how long answers took.
    pub observer: Option<Arc<dyn Observer>>,
    /// Is asked whether requests may be done.
    pub gate: Option<Arc<dyn Gate>>,
}

/// Is told about answers.
pub trait Observer: Send + Sync {
    /// The handler of a route, named as [`Router::list`] does, was done after so long.
    fn answered(&self, route: &str, took: Duration);
}

impl<S: Clone + Send + 'static> Dispatcher<S> {
    /// With no request under way.
    pub fn new(router: Router<S>, versions: Versions, identity: Identity, state: S) -> Dispatcher<S> {
        Dispatcher { router, versions, identity, state, underway: Arc::default(), observer: None, gate: None }
    }

    /// Answers one request. The handler runs in a task of its own: when the client leaves, its work is finished all
    /// the same.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>, client: Client) -> Reply {
        let method = request.method().clone();
        let uri = request.uri().clone();
        let target = Target::parse(uri.path());
        let requested = target.as_ref().ok().and_then(|target| target.version.clone());
        let is_http2 = request.version() == Version::HTTP_2;
        if is_http2 && is_grpc(&request) {
            return no_such_service();
        }
        let expects_to_be_asked = request.headers().contains_key(EXPECT);
        let farewell = client.farewell.clone();
        let is_empty = http_body::Body::is_end_stream(request.body());
        let (request, leftover) = leave_over(request);
        let outcome = match target {
            Ok(target) => self.clone().run(request, target, client).await,
            Err(failure) => {
                drop(request);
                Err(failure)
            }
        };
        // A client that waits for "100 Continue" has sent nothing.
        if !is_empty && !expects_to_be_asked {
            if outcome.is_ok() {
                // Meanwhile the answer leaves: the connection is not closed before what nobody reads has come.
                tokio::spawn(leftover.throw_away());
            } else if !leftover.throw_away().await {
                farewell.linger();
            }
        }
        let mut reply = outcome.and_then(|reply| fits(reply, is_http2)).unwrap_or_else(|failure| {
            if failure.status == StatusCode::INTERNAL_SERVER_ERROR {
                tracing::error!(%method, path = uri.path(), status = failure.status.as_u16(), "{failure}");
            } else {
                tracing::debug!(%method, path = uri.path(), status = failure.status.as_u16(), "{failure}");
            }
            match Versions::expects_plain_errors(requested.as_deref()) {
                true => reply::plain_failure(&failure),
                false => reply::failure(&failure),
            }
        });
        self.add_headers(&mut reply);
        reply
    }

    async fn run(
        self: Arc<Self>,
        mut request: Request<RequestBody>,
        target: Target,
        client: Client,
    ) -> Outcome {
        let Some((route, handler, params)) = self.router.find(request.method(), &target.segments) else {
            return Err(Failure::page_not_found());
        };
        let version = self.versions.negotiate(target.version.as_deref())?;
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        tracing::debug!(method = %request.method(), path = request.uri().path(), %version, "request");
        let entry = self.underway.begin(format!("{} {}", request.method(), request.uri()));
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let (asked, body) = self.ask(&parts, body, &client).await?;
        let began = Instant::now();
        let call = Call {
            state: self.state.clone(),
            version,
            method: parts.method,
            params,
            query,
            headers: parts.headers,
            presence: client.presence,
            body,
            is_reviewed: asked.is_some(),
            upgrade,
        };
        let work = handler(call);
        let working = tokio::spawn(async move {
            let outcome = work.await;
            drop(entry);
            outcome
        });
        let outcome = match working.await {
            Ok(outcome) => outcome,
            Err(error) => Err(Failure::internal(format!("the handler of this request failed: {error}"))),
        };
        if let Some(observer) = &self.observer {
            observer.answered(route, began.elapsed());
        }
        match asked {
            Some((gate, asked)) => review(gate, asked, outcome?).await,
            None => outcome,
        }
    }

    /// Asks the gate, if there is one that is not open.
    async fn ask(
        &self,
        parts: &Parts,
        mut body: RequestBody,
        client: &Client,
    ) -> Result<(Option<(Arc<dyn Gate>, Arc<Asked>)>, RequestBody), Failure> {
        let Some(gate) = self.gate.as_ref().filter(|gate| !gate.is_open()) else { return Ok((None, body)) };
        // The one document with a password in it is not shown to anybody.
        let is_shown = is_json(&parts.headers) && !parts.uri.path().ends_with("/auth");
        let mut shown = Bytes::new();
        if is_shown {
            shown = read_limited(&mut body).await?;
            body = RequestBody::Read(Some(shown.clone()));
        }
        let asked = Arc::new(Asked {
            method: parts.method.clone(),
            uri: parts.uri.to_string(),
            headers: parts.headers.clone(),
            body: shown,
            user: client.certificates.first().map(|own| certificate::common_name(own)).unwrap_or_default(),
            certificates: client.certificates.to_vec(),
        });
        gate.ask(asked.clone()).await?;
        Ok((Some((gate.clone(), asked)), body))
    }

    fn add_headers(&self, reply: &mut Reply) {
        let headers = reply.headers_mut();
        let text = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        headers.insert(HeaderName::from_static("api-version"), text(self.versions.max.to_string()));
        let experimental = if self.identity.experimental { "true" } else { "false" };
        headers
            .insert(HeaderName::from_static("docker-experimental"), HeaderValue::from_static(experimental));
        headers.insert(HeaderName::from_static("ostype"), HeaderValue::from_static("linux"));
        headers.insert(SERVER, text(format!("Docker/{} (linux)", self.identity.version)));
    }
}

/// Asks the gate about an answer. Streams are decided about before they begin.
async fn review(gate: Arc<dyn Gate>, asked: Arc<Asked>, reply: Reply) -> Outcome {
    let body = match reply.body() {
        Body::Full(bytes) if is_json(reply.headers()) => bytes.clone(),
        _ => Bytes::new(),
    };
    let answered = Answered { status: reply.status(), headers: reply.headers().clone(), body };
    gate.review(asked, answered).await?;
    Ok(reply)
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(api::media_type::JSON)
}

/// HTTP/2 has no hand-over of a connection.
fn fits(reply: Reply, is_http2: bool) -> Outcome {
    if is_http2 && reply.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::invalid(
            "this endpoint takes the connection over, which HTTP/2 cannot: use HTTP/1.1 with Upgrade: tcp",
        ));
    }
    Ok(reply)
}

/// Takes a request's body such that what nobody reads of it can be thrown away.
fn leave_over(request: Request<Incoming>) -> (Request<RequestBody>, Leftover) {
    let (parts, body) = request.into_parts();
    let (body, leftover) = RequestBody::coming(body);
    (Request::from_parts(parts, body), leftover)
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/grpc"))
}

/// A gRPC call of a service that is not here: UNIMPLEMENTED, in the one form that gRPC clients read.
fn no_such_service() -> Reply {
    let mut reply = reply::with_body(StatusCode::OK, "application/grpc", Body::Empty);
    let headers = reply.headers_mut();
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("12"));
    let message = HeaderValue::from_static("this daemon serves no gRPC service of this name");
    headers.insert(HeaderName::from_static("grpc-message"), message);
    reply
}
