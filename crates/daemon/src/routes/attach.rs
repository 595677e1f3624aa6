//! `POST /containers/{id}/attach`: the connection becomes the container's standard streams.

use api::detach_keys;
use bytes::Bytes;
use engine::container::attach::{self, Streams};
use engine::container::logs::{self, LogOptions};
use http::StatusCode;
use tokio::io::AsyncWriteExt;

use super::Request;
use super::logs::Print;
use crate::server::body::Body;
use crate::server::failure::Failure;
use crate::server::hijack::{self, End};
use crate::server::reply;
use crate::server::router::Outcome;

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

async fn begin(call: Request) -> Outcome {
    if !call.wants_upgrade() {
        return Err(no_upgrade());
    }
    let keys = call.query.get("detachKeys");
    let keys = detach_keys::parse(keys)
        .ok_or_else(|| Failure::invalid(format!("Invalid detach keys ({keys}) provided")))?;
    let (stdout, stderr) = (call.query.flag("stdout"), call.query.flag("stderr"));
    let engine = call.state.engine.clone();
    let name = call.param("name").to_string();
    let past = match call.query.flag("logs") && (stdout || stderr) {
        true => {
            let options = LogOptions { stdout, stderr, ..LogOptions::default() };
            Some(logs::logs(&engine, &name, options).await?)
        }
        false => None,
    };
    let streams = Streams { stdin: call.query.flag("stdin"), stdout, stderr };
    let live = match call.query.flag("stream") {
        true => Some(attach::attach(&engine, &name, streams, true).await?),
        false => None,
    };
    let tty = live.as_ref().map(|live| live.tty).or(past.as_ref().map(|past| past.tty)).unwrap_or(false);
    let content_type = hijack::content_type(call.version, !tty);
    tokio::spawn(async move {
        let Some(mut client) = hijack::take(call.upgrade).await else { return };
        if let Some(mut past) = past {
            let print = Print { framed: !tty, ..Print::default() };
            while let Some(Ok(entry)) = past.entries.recv().await {
                if client.write_all(&print.entry(&entry)).await.is_err() {
                    return;
                }
            }
        }
        let Some(live) = live else { return };
        // Without a terminal every byte belongs to the program.
        let keys = if tty { keys } else { Vec::new() };
        match hijack::pump(client, live.stream, keys, &call.presence, std::future::ready(())).await {
            Ok(End::Detached) => attach::detached(&engine, &name),
            Ok(End::Closed) => {}
            Err(error) => tracing::debug!(container = name, %error, "an attachment ended early"),
        }
    });
    Ok(hijack::reply(content_type))
}

/// The oldest form of hijacking has no `Upgrade` header; no client of this decade uses it.
pub(super) fn no_upgrade() -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        "this endpoint takes the connection over: send the headers \"Connection: Upgrade\" and \"Upgrade: tcp\"",
    )
}
