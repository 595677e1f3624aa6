//! The conversation with a container over a hijacked connection.
//!
//! ```text
//! stdin ──thread──► pieces ──► daemon        end of stdin = half-close; output goes on
//! stdout/stderr ◄──thread── pieces ◄── daemon   frames taken apart unless there is a terminal
//! ```

use bytes::Bytes;
use client::{Demux, Hijacked, HijackedReader, HijackedWriter, Stream};

use super::detach::Detector;
use super::stdio::{self, Output};
use super::terminal::RawInput;
use crate::failure::Failure;

/// What takes part in a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parties {
    /// The container has a terminal: its output is raw bytes, and the user's terminal goes raw.
    pub(crate) tty: bool,
    /// Standard input is sent.
    pub(crate) stdin: bool,
    /// Standard output is shown.
    pub(crate) stdout: bool,
    /// Standard error is shown.
    pub(crate) stderr: bool,
    /// The keys that end the conversation; empty without a terminal.
    pub(crate) detach_keys: Vec<u8>,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The daemon closed the stream: the program ended.
    Closed,
    /// The user typed the detach keys.
    Detached,
}

/// Carries bytes in both directions until the daemon closes the stream or the user leaves.
pub(crate) async fn converse(connection: Hijacked, parties: &Parties) -> Result<End, Failure> {
    let raw = if parties.tty && parties.stdin { RawInput::enter()? } else { None };
    let (reader, writer) = connection.split();
    let output = Output::start();
    let end = tokio::select! {
        shown = show(reader, parties.tty, &output) => shown.map(|()| End::Closed),
        end = send(writer, parties) => end,
    };
    // What was received is shown before the terminal is restored and before a failure is told.
    let written = output.finish();
    drop(raw);
    let end = end?;
    written?;
    Ok(end)
}

/// Shows output until the stream ends.
async fn show(mut reader: HijackedReader, tty: bool, output: &Output) -> Result<(), Failure> {
    let mut demux = Demux::new();
    while let Some(bytes) = reader.chunk().await? {
        if tty {
            if !output.write(Stream::Stdout, bytes).await {
                return Ok(());
            }
            continue;
        }
        let mut pieces = Vec::new();
        let taken = demux.push(&bytes, |stream, payload| pieces.push((stream, bytes.slice_ref(payload))));
        for (stream, payload) in pieces {
            if !output.write(stream, payload).await {
                return Ok(());
            }
        }
        taken.map_err(client::Error::from)?;
    }
    Ok(())
}

/// Sends input. Returns when the user leaves, or when input has ended and no output is expected.
async fn send(mut writer: HijackedWriter, parties: &Parties) -> Result<End, Failure> {
    if !parties.stdin {
        return std::future::pending().await;
    }
    let mut input = stdio::input();
    let mut detector = Detector::new(parties.detach_keys.clone());
    while let Some(piece) = input.recv().await {
        let Ok(bytes) = piece else { break };
        let left = detector.push(&bytes);
        let sent = writer.write(&upto(&bytes, left)).await;
        if left.is_some() {
            return Ok(End::Detached);
        }
        if sent.is_err() {
            // The program no longer reads; what it still writes is shown, and its end is told by the daemon.
            return std::future::pending().await;
        }
    }
    // A daemon that is gone already needs no word about the end of input.
    let _ = writer.close().await;
    if parties.stdout || parties.stderr { std::future::pending().await } else { Ok(End::Closed) }
}

fn upto(bytes: &Bytes, end: Option<usize>) -> Bytes {
    end.map_or_else(|| bytes.clone(), |end| bytes.slice(..end))
}
