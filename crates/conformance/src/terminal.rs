//! A client in a pseudo-terminal: typing, resizing, and waiting for what the screen shows.

use crate::command_line::Client;
use anyhow::{Context, Result, bail};
use linux::pty::{self, Size};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the screen may take to show something.
const PATIENCE: Duration = Duration::from_secs(30);

/// The size every terminal starts with; unusual, so that a default cannot pass for it.
pub(crate) const FIRST_SIZE: Size = Size { rows: 37, columns: 111 };

/// What came out of the terminal, and whether more can come.
#[derive(Debug, Default)]
struct Screen {
    text: String,
    closed: bool,
}

/// A running client whose three streams are a terminal of its own.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    controller: File,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    /// Up to where the screen has been looked at.
    seen: usize,
}

impl Terminal {
    pub(crate) fn spawn(client: &Client, arguments: &[&str]) -> Result<Self> {
        let pair = pty::open()?;
        pty::set_size(&pair.controller, FIRST_SIZE)?;
        let stdin = File::from(pair.terminal);
        let (stdout, stderr) = (stdin.try_clone()?, stdin.try_clone()?);
        // setsid(1) makes the terminal the controlling one of a new session, as a terminal emulator does.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(&client.program)
            .args(arguments)
            .envs(client.environment())
            .env("TERM", "xterm")
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .context("setsid (util-linux)")?;
        let controller = File::from(pair.controller);
        let screen = Arc::new((Mutex::new(Screen::default()), Condvar::new()));
        let (source, sink) = (controller.try_clone()?, Arc::clone(&screen));
        std::thread::spawn(move || record(source, &sink));
        Ok(Self { child, controller, screen, seen: 0 })
    }

    /// Types bytes as a keyboard would; `\r` is the Enter key.
    pub(crate) fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.controller.write_all(text.as_bytes())?)
    }

    /// Changes the size of the terminal, as dragging a window's corner does.
    pub(crate) fn resize(&self, size: Size) -> Result<()> {
        Ok(pty::set_size(self.controller.as_fd(), size)?)
    }

    /// Waits until the screen has shown `text` after what was looked at before; what came before it.
    pub(crate) fn expect(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.screen;
        let mut screen = lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = screen.text[self.seen..].find(text) {
                let before = screen.text[self.seen..self.seen + found].to_owned();
                self.seen += found + text.len();
                return Ok(before);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if screen.closed || left.is_zero() {
                bail!("the terminal did not show {text:?}, but {:?}", &screen.text[self.seen..]);
            }
            screen = changed.wait_timeout(screen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the screen has shown `text` since what was looked at before.
    pub(crate) fn shows(&self, text: &str) -> bool {
        self.screen.0.lock().unwrap_or_else(PoisonError::into_inner).text[self.seen..].contains(text)
    }

    /// Waits for the end of the client; its exit code and everything that the screen has shown.
    pub(crate) fn end(mut self) -> Result<(i32, String)> {
        let deadline = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.screen;
        let mut screen = lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !screen.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the client did not end; the terminal shows {:?}", &screen.text[self.seen..]);
            }
            screen = changed.wait_timeout(screen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let text = screen.text.clone();
        drop(screen);
        let status = self.child.wait()?;
        Ok((status.code().unwrap_or(-1), text))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only for checks that failed: a client that has ended is not there to be killed any more.
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Reads until the last program has closed the terminal (EIO).
fn record(mut source: File, sink: &(Mutex<Screen>, Condvar)) {
    let mut bytes = [0; 4096];
    loop {
        let got = source.read(&mut bytes).unwrap_or(0);
        let mut screen = sink.0.lock().unwrap_or_else(PoisonError::into_inner);
        screen.text.push_str(&String::from_utf8_lossy(&bytes[..got]));
        screen.closed = got == 0;
        sink.1.notify_all();
        if got == 0 {
            return;
        }
    }
}
