//! From an HTTP request to a handler and back: path, version, route, headers, errors.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, SERVER};
use http::{Request, StatusCode, Version};
use hyper::body::Incoming;

use super::body::Body;
use super::call::Call;
use super::failure::Failure;
use super::negotiate::Versions;
use super::presence::Presence;
use super::query::Query;
use super::reply::{self, Reply};
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
}

impl<S: Clone + Send + 'static> Dispatcher<S> {
    /// With no request under way.
    pub fn new(router: Router<S>, versions: Versions, identity: Identity, state: S) -> Dispatcher<S> {
        Dispatcher { router, versions, identity, state, underway: Arc::default() }
    }

    /// Answers one request. The handler runs in a task of its own: when the client leaves, its work is finished all
    /// the same.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>, presence: Presence) -> Reply {
        let method = request.method().clone();
        let uri = request.uri().clone();
        let target = Target::parse(uri.path());
        let requested = target.as_ref().ok().and_then(|target| target.version.clone());
        let is_http2 = request.version() == Version::HTTP_2;
        if is_http2 && is_grpc(&request) {
            return no_such_service();
        }
        let outcome = match target {
            Ok(target) => self.clone().run(request, target, presence).await,
            Err(failure) => Err(failure),
        };
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
        mut request: Request<Incoming>,
        target: Target,
        presence: Presence,
    ) -> Outcome {
        let Some((handler, params)) = self.router.find(request.method(), &target.segments) else {
            return Err(Failure::page_not_found());
        };
        let version = self.versions.negotiate(target.version.as_deref())?;
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        tracing::debug!(method = %request.method(), path = request.uri().path(), %version, "request");
        let entry = self.underway.begin(format!("{} {}", request.method(), request.uri()));
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let call = Call {
            state: self.state.clone(),
            version,
            method: parts.method,
            params,
            query,
            headers: parts.headers,
            presence,
            body,
            upgrade,
        };
        let work = handler(call);
        let working = tokio::spawn(async move {
            let outcome = work.await;
            drop(entry);
            outcome
        });
        match working.await {
            Ok(outcome) => outcome,
            Err(error) => Err(Failure::internal(format!("the handler of this request failed: {error}"))),
        }
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

/// HTTP/2 has no hand-over of a connection.
fn fits(reply: Reply, is_http2: bool) -> Outcome {
    if is_http2 && reply.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::invalid(
            "this endpoint takes the connection over, which HTTP/2 cannot: use HTTP/1.1 with Upgrade: tcp",
        ));
    }
    Ok(reply)
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
