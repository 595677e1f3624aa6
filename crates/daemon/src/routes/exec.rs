//! `/containers/{id}/exec` and `/exec/{id}/…`: programs beside the container's own.

use api::IdResponse;
use api::detach_keys;
use api::exec::{ExecCreateRequest, ExecStartRequest};
use api::frame::{self, Stream};
use engine::container::exec;
use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;

use super::attach::no_upgrade;
use super::containers::size;
use super::{Request, State};
use crate::server::failure::Failure;
use crate::server::hijack::{self, End};
use crate::server::reply;
use crate::server::router::{Outcome, Router};
use crate::shape;

pub(super) fn add(router: &mut Router<State>) {
    router.add(Method::POST, "/containers/{name*}/exec", create);
    router.add(Method::GET, "/exec/{id*}/json", inspect);
    router.add(Method::POST, "/exec/{id*}/start", start);
    router.add(Method::POST, "/exec/{id*}/resize", resize);
}

async fn create(mut call: Request) -> Outcome {
    let mut request: ExecCreateRequest = call.json().await?;
    if !call.is_at_least(42) {
        shape::v1_42::create_exec(&mut request);
    }
    let keys = &request.detach_keys;
    if detach_keys::parse(keys).is_none() {
        return Err(Failure::invalid(format!("Invalid escape keys ({keys}) provided")));
    }
    let id = exec::create(&call.state.engine, call.param("name"), request).await?;
    reply::created(&IdResponse { id })
}

async fn inspect(call: Request) -> Outcome {
    reply::ok(&exec::inspect(&call.state.engine, call.param("id")).await?)
}

async fn resize(call: Request) -> Outcome {
    let (height, width) = size(&call)?;
    exec::resize(&call.state.engine, call.param("id"), height, width).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// How long the end of a stream may wait for the end of its program.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(2);

async fn start(mut call: Request) -> Outcome {
    let mut request: ExecStartRequest = call.json().await?;
    if !call.is_at_least(42) || !request.tty {
        request.console_size = None;
    }
    let id = call.param("id").to_string();
    if request.detach {
        exec::start(&call.state.engine, &id, request).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    // An exec that does not exist is a status; whatever happens later is told in the stream, as Docker does.
    let known = exec::inspect(&call.state.engine, &id).await?;
    let asked = known.detach_keys.as_deref().and_then(api::registry::base64_decode);
    let keys = asked.filter(|keys| !keys.is_empty()).or_else(|| detach_keys::parse("")).unwrap_or_default();
    if !call.wants_upgrade() {
        return Err(no_upgrade());
    }
    let content_type = hijack::content_type(call.version, !request.tty);
    tokio::spawn(run(call, id, request, keys));
    Ok(hijack::reply(content_type))
}

async fn run(call: Request, id: String, request: ExecStartRequest, keys: Vec<u8>) {
    let engine = call.state.engine.clone();
    let tty = request.tty;
    let Some(mut client) = hijack::take(call.upgrade).await else { return };
    let attached = match exec::start(&engine, &id, request).await {
        Ok(Some(attached)) => attached,
        Ok(None) => return,
        Err(error) => {
            let line = format!("{error}\r\n");
            let bytes = if tty { line.into_bytes() } else { frame::encode(Stream::Stdout, line.as_bytes()) };
            call.presence.has_read().await;
            // Nobody is left to tell when this fails.
            let _ = client.write_all(&bytes).await;
            let _ = client.shutdown().await;
            return;
        }
    };
    let keys = if attached.tty { keys } else { Vec::new() };
    // Clients ask for the exit code as soon as the stream has ended. A program that closed its streams may run on.
    let settled = async {
        let _ = tokio::time::timeout(SETTLE, exec::ended(&engine, &id)).await;
    };
    match hijack::pump(client, attached.stream, keys, &call.presence, settled).await {
        Ok(End::Detached) => exec::detached(&engine, &id),
        Ok(End::Closed) => {}
        Err(error) => tracing::debug!(exec = id, %error, "an exec's streams ended early"),
    }
}
