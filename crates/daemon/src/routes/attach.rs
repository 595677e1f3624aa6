//! `POST /containers/{id}/attach`: the connection becomes the container's standard streams.

use api::detach_keys;
use bytes::Bytes;
use engine::container::attach::{self, Attached, Streams};
use engine::container::logs::{self, LogOptions};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Request;
use super::logs::Print;
use crate::server::body::Body;
use crate::server::failure::Failure;
use crate::server::hijack::{self, End};
use crate::server::presence::Presence;
use crate::server::reply;
use crate::server::router::Outcome;
use crate::server::websocket::{self, Payload, WebSocket};

pub(super) async fn attach(call: Request) -> Outcome {
    match begin(call).await {
        Ok(reply) => Ok(reply),
        // Errors of this endpoint are plain text.
        Err(failure) => {
            let text = Bytes::from(format!("{failure}\r\n"));
            Ok(reply::with_body(failure.status, api::media_type::RAW_STREAM, Body::Full(text)))
        }
    }
}

/// An attachment that can begin: what was written before, what comes, and the keys that end it.
struct Opening {
    engine: engine::Engine,
    name: String,
    past: Option<LogOptions>,
    live: Option<Attached>,
    tty: bool,
    keys: Vec<u8>,
}

/// Opens what a request asks for.
async fn open(call: &Request, streams: Streams, framed: bool) -> Result<Opening, Failure> {
    let keys = call.query.get("detachKeys");
    let keys = detach_keys::parse(keys)
        .ok_or_else(|| Failure::invalid(format!("Invalid detach keys ({keys}) provided")))?;
    let Streams { stdout, stderr, .. } = streams;
    let engine = call.state.engine.clone();
    let name = call.param("name").to_string();
    // Also whoever wants nothing of it is told when there is no such container.
    engine.containers.find(&name)?;
    let mut past = None;
    let mut past_tty = None;
    if call.query.flag("logs") && (stdout || stderr) {
        let options = LogOptions { stdout, stderr, ..LogOptions::default() };
        // Asked now for what can go wrong, which is a status only before the connection is taken over.
        past_tty = Some(logs::logs(&engine, &name, options.clone()).await?.tty);
        past = Some(options);
    }
    let live = match call.query.flag("stream") {
        true => Some(attach::attach(&engine, &name, streams, framed).await?),
        false => None,
    };
    let tty = live.as_ref().map(|live| live.tty).or(past_tty).unwrap_or(false);
    Ok(Opening { engine, name, past, live, tty, keys })
}

/// Passes bytes between a client and a container until one of them ends.
async fn serve(
    opening: Opening,
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    presence: &Presence,
    framed: bool,
) {
    let Opening { engine, name, past, live, tty, keys } = opening;
    if let Some(options) = past {
        // Read after the head of the answer has gone: docker-py loses what comes together with it.
        let mut past = match logs::logs(&engine, &name, options).await {
            Ok(past) => past,
            Err(error) => return tracing::debug!(container = name, %error, "its log is gone"),
        };
        let print = Print { framed: framed && !tty, ..Print::default() };
        presence.has_read().await;
        while let Some(Ok(batch)) = past.entries.recv().await {
            for entry in &batch {
                if client.write_all(&print.entry(entry)).await.is_err() {
                    return;
                }
            }
        }
    }
    let Some(live) = live else {
        if let Err(error) = client.shutdown().await {
            tracing::debug!(container = name, %error, "a client left before the end of the log");
        }
        return;
    };
    // Without a terminal every byte belongs to the program.
    let keys = if tty { keys } else { Vec::new() };
    let Attached { stream, reader, .. } = live;
    match hijack::pump(client, stream, keys, presence, async move { drop(reader) }).await {
        Ok(End::Detached) => attach::detached(&engine, &name),
        Ok(End::Closed) => {}
        Err(error) => tracing::debug!(container = name, %error, "an attachment ended early"),
    }
}

async fn begin(call: Request) -> Outcome {
    if !call.wants_upgrade() {
        return Err(no_upgrade());
    }
    let flag = |name: &str| call.query.flag(name);
    let streams = Streams { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr") };
    let opening = open(&call, streams, true).await?;
    let content_type = hijack::content_type(call.version, !opening.tty);
    tokio::spawn(async move {
        let Some(client) = hijack::take(call.upgrade).await else { return };
        serve(opening, client, &call.presence, true).await;
    });
    Ok(hijack::reply(content_type))
}

/// `GET /containers/{id}/attach/ws`: the same over a WebSocket, output never framed.
pub(super) async fn websocket(call: Request) -> Outcome {
    let reply = websocket::accept(&call.headers)?;
    // Before 1.42 there was no choice.
    let wants = |name: &str| !call.is_at_least(42) || call.query.flag(name);
    let streams = Streams { stdin: wants("stdin"), stdout: wants("stdout"), stderr: wants("stderr") };
    let opening = open(&call, streams, false).await?;
    let payload = if call.is_at_least(28) { Payload::Binary } else { Payload::Text };
    tokio::spawn(async move {
        let Some(client) = hijack::take(call.upgrade).await else { return };
        serve(opening, WebSocket::new(client, payload), &call.presence, false).await;
    });
    Ok(reply)
}

/// The oldest form of hijacking has no `Upgrade` header; no client of this decade uses it.
pub(super) fn no_upgrade() -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        "this endpoint takes the connection over: send the headers \"Connection: Upgrade\" and \"Upgrade: tcp\"",
    )
}
