//! `logs`: what a container wrote.

use bytes::BytesMut;
use client::{Demux, Query, Request, Response, Stream};
use jiff::Timestamp;
use serde_json::Value;

use crate::failure::Failure;
use crate::grammar::{Command, Flag, Operands, Typed};
use crate::session::Session;
use crate::stream::stdio::Output;
use crate::value::timestamp;

const FLAGS: &[Flag] = &[
    Flag::switch("details", "Show extra details provided to logs"),
    Flag::switch("follow", "Follow log output").short('f'),
    Flag::text(
        "since",
        "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
    ),
    Flag::text("tail", "Number of lines to show from the end of the logs")
        .short('n')
        .default("all")
        .shows("\"all\""),
    Flag::switch("timestamps", "Show timestamps").short('t'),
    Flag::text(
        "until",
        "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
    ),
];

/// `logs`.
pub(crate) static COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    paths: &["container logs", "logs"],
    flags: &[FLAGS],
    operands: Operands::Exactly(1),
    interspersed: true,
    run: |session, typed| Box::pin(run(session, typed)),
};

async fn run(session: &Session, typed: &Typed) -> Result<i32, Failure> {
    let name = typed.operand(0);
    let client = session.daemon().await?;
    let container: Value = client.json(Request::get(format!("/containers/{name}/json"))).await?;
    let query = resolve(typed, Timestamp::now())?;
    let id = container["Id"].as_str().unwrap_or(name);
    let response = client.send(Request::get(format!("/containers/{id}/logs")).query(query)).await?;
    let output = Output::start();
    let shown = show(response, container["Config"]["Tty"].as_bool().unwrap_or_default(), &output).await;
    output.finish()?;
    shown.map(|()| 0)
}

fn resolve(typed: &Typed, now: Timestamp) -> Result<Query, Failure> {
    let moment = |flag: &str| {
        timestamp::parse(typed.text(flag), now)
            .map_err(|why| Failure::text(format!("invalid value for \"{flag}\": {why}")))
    };
    Ok(Query::new()
        .with_switch("details", typed.switch("details"))
        .with_switch("follow", typed.switch("follow"))
        .with_nonempty("since", &moment("since")?)
        .with("stderr", "1")
        .with("stdout", "1")
        .with("tail", typed.text("tail"))
        .with_switch("timestamps", typed.switch("timestamps"))
        .with_nonempty("until", &moment("until")?))
}

async fn show(mut response: Response, tty: bool, output: &Output) -> Result<(), Failure> {
    let mut demux = Demux::new();
    while let Some(bytes) = response.chunk().await? {
        let mut pieces: Vec<(Stream, BytesMut)> = Vec::new();
        if tty {
            pieces.push((Stream::Stdout, bytes.into()));
        } else {
            let joined = |stream, payload: &[u8]| match pieces.last_mut() {
                // What came together is written together: a write for each line would cost more than all the rest.
                Some((last, piece)) if *last == stream => piece.extend_from_slice(payload),
                _ => pieces.push((stream, BytesMut::from(payload))),
            };
            demux.push(&bytes, joined).map_err(client::Error::from)?;
        }
        for (stream, payload) in pieces {
            if !output.write(stream, payload.freeze()).await {
                return Ok(());
            }
        }
    }
    Ok(())
}
