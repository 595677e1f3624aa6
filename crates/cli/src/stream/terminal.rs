//! The user's terminal: raw while a container has it, restored however the command ends; its size told to the daemon.

use std::convert::Infallible;
use std::io::{self, IsTerminal};

use client::{Client, Query, Request};
use linux::pty::Size;
use linux::terminal::{Saved, make_raw, restore};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Raw mode of the terminal on standard input; the terminal gets its modes back when this is dropped.
pub(crate) struct RawInput(Saved);

impl RawInput {
    /// Raw mode, if standard input is a terminal.
    pub(crate) fn enter() -> Result<Option<Self>, Failure> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        make_raw(&stdin).map(|saved| Some(Self(saved))).map_err(|error| Failure::text(error.to_string()))
    }
}

impl Drop for RawInput {
    fn drop(&mut self) {
        if let Err(error) = restore(io::stdin(), &self.0) {
            crate::output::note(&format!("cannot restore the terminal: {error}"));
        }
    }
}

/// Whether standard output is a terminal.
pub(crate) fn is_output() -> bool {
    io::stdout().is_terminal()
}

/// Refuses a terminal for the container when there is none on this side to give.
pub(crate) fn check_input(attach_stdin: bool, tty: bool) -> Result<(), Failure> {
    if attach_stdin && tty && !io::stdin().is_terminal() {
        return Err(Failure::text("the input device is not a TTY"));
    }
    Ok(())
}

/// The size of the terminal on standard output.
pub(crate) fn size() -> Option<Size> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| linux::pty::size(&stdout).ok()).flatten()?;
    (size.rows > 0 && size.columns > 0).then_some(size)
}

/// Tells the daemon the size of the terminal, now and whenever it changes; `path` is `/containers/ID` or `/exec/ID`.
pub(crate) async fn follow_size(client: &Client, path: &str) -> Infallible {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return std::future::pending().await };
    loop {
        if let Some(size) = size() {
            let query = Query::new().with("h", size.rows.to_string()).with("w", size.columns.to_string());
            // A program that has ended has no terminal left to be resized.
            let _ = client.call(Request::post(format!("{path}/resize")).query(query)).await;
        }
        changes.recv().await;
    }
}
