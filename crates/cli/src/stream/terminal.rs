//! The user's terminal: raw while a container has it, restored however the command ends; its size told to the daemon.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Read};

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

/// Reads a line that is not shown.
pub(crate) fn read_secret(prompt: &str) -> Result<String, Failure> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    crate::output::write(prompt)?;
    let raw = RawInput::enter()?;
    let mut secret = Vec::new();
    let mut stdin = io::stdin().lock();
    let ended = loop {
        let mut byte = [0];
        match stdin.read(&mut byte) {
            Ok(0) => break Ok(()),
            Ok(_) => match byte[0] {
                b'\r' | b'\n' | END => break Ok(()),
                INTERRUPT => break Err(Failure::code(130)),
                // Backspace takes a letter away, not a byte.
                8 | 127 => while secret.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
                byte => secret.push(byte),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(Failure::text(format!("cannot read from the terminal: {error}"))),
        }
    };
    drop(stdin);
    drop(raw);
    crate::output::write("\n")?;
    ended?;
    String::from_utf8(secret).map_err(|_| Failure::text("what was typed is not UTF-8"))
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
