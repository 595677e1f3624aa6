//! Attach to a container: a duplex stream whose bytes the shim frames, and what must be known to use it.

use std::os::fd::OwnedFd;

use shim::protocol::{self, Framing, Target};

use super::owner::Command;
pub use super::registry::Reader;
use super::state::State;
use crate::engine::Engine;
use crate::shim_link::Attach;
use crate::{Error, Result};

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    /// It sends input.
    pub stdin: bool,
    /// It wants output.
    pub stdout: bool,
    /// It wants error output.
    pub stderr: bool,
}

/// An open attachment.
#[derive(Debug)]
pub struct Attached {
    /// The client's end: reads output (framed when there is no terminal), writes input; shutting down the writing side
    /// is the end of input. `None` when nothing but `logs` was asked for.
    pub stream: tokio::net::UnixStream,
    /// Output is raw: the program has a terminal.
    pub tty: bool,
    /// To be dropped once all output is with the client: who waits for the container's end is told after that.
    /// Only the program of the container has somebody who waits for it.
    pub reader: Option<Reader>,
}

/// A connected pair: our end for tokio, the shim's end as a descriptor.
pub(crate) fn stream_pair() -> Result<(tokio::net::UnixStream, OwnedFd)> {
    let failed = |error: std::io::Error| Error::system(format!("make a stream: {error}"));
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    Ok((tokio::net::UnixStream::from_std(ours).map_err(failed)?, OwnedFd::from(theirs)))
}

/// Attaches to a container that runs, or to one that has not been started: then the stream comes alive with it.
/// `framed` is Docker's framing of output when there is no terminal; without it the bytes come as they are.
pub async fn attach(engine: &Engine, reference: &str, streams: Streams, framed: bool) -> Result<Attached> {
    let handle = engine.containers.find(reference)?;
    let view = handle.view();
    match view.state() {
        State::Paused(_) => {
            return Err(Error::conflict(format!(
                "container {reference} is paused, unpause the container before attach"
            )));
        }
        State::Restarting { .. } => {
            return Err(Error::conflict(format!(
                "container {reference} is restarting, wait until the container is running"
            )));
        }
        _ => {}
    }
    let tty = view.record.config.tty;
    let framing = if tty || !framed { Framing::Raw } else { Framing::Mux };
    let Streams { stdin, stdout, stderr } = streams;
    let stdin = stdin && view.record.config.open_stdin;
    let how = protocol::Attach { target: Target::Container, stdin, stdout, stderr, framing };
    let (stream, theirs) = stream_pair()?;
    let reader = handle.reader();
    let (reply, answer) = tokio::sync::oneshot::channel();
    handle.send(Command::Attach { attach: Attach { how, stream: theirs }, reply }).await?;
    answer.await.map_err(|_| Error::not_found(format!("No such container: {reference}")))??;
    engine.events.publish("container", "attach", &handle.id, view.record.attributes());
    Ok(Attached { stream, tty, reader: Some(reader) })
}

/// Tells those who listen that a client detached with its keys.
pub fn detached(engine: &Engine, reference: &str) {
    if let Ok(handle) = engine.containers.find(reference) {
        engine.events.publish("container", "detach", &handle.id, handle.view().record.attributes());
    }
}
