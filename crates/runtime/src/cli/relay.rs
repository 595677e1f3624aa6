//! Standing in for a process in the foreground: signals and the terminal go to it, its exit code comes back.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use linux::child::{self, How};
use linux::pidfd::PidFd;
use linux::pty;
use linux::signalfd::SignalFd;
use linux::terminal;
use linux::watch::{self, Interest};

use crate::Result;

/// Signals that are passed on (signal(7)): all that can be and that mean something to another process.
const FORWARDED: &[i32] = &[1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22, 23, 28];
/// The terminal's window changed.
const WINCH: i32 = 28;
/// How long one wait may take: in effect for ever.
const LONG: Duration = Duration::from_secs(3600);

/// Blocks the signals that will be passed on; to be called before the process is made.
pub(super) fn prepare() -> Result<SignalFd> {
    Ok(SignalFd::block(FORWARDED)?)
}

/// Waits for the process: its exit code, 128 and more for a signal.
pub(super) fn stand_in(process: OwnedFd, console: Option<OwnedFd>, signals: &SignalFd) -> Result<i32> {
    let process = PidFd::from(process);
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let saved = match &console {
        Some(console) => {
            linux::fd::set_nonblocking(console)?;
            resize(console)?;
            // Our own terminal, if we have one, begins new lines at the left; a file gets them as they were written.
            terminal::make_raw_but_output(&input).ok()
        }
        None => None,
    };
    let ended = pump(&process, console.as_ref(), signals, &input, &output);
    if let Some(saved) = &saved {
        terminal::restore(&input, saved)?;
    }
    ended
}

fn resize(console: &OwnedFd) -> Result<()> {
    // Standard input may be no terminal at all; the container's then keeps its size.
    if let Ok(size) = pty::size(std::io::stdin()) {
        pty::set_size(console, size)?;
    }
    Ok(())
}

fn pump(
    process: &PidFd,
    console: Option<&OwnedFd>,
    signals: &SignalFd,
    input: &std::io::Stdin,
    output: &std::io::Stdout,
) -> Result<i32> {
    let mut input_open = console.is_some();
    loop {
        let mut fds = vec![(process.as_fd(), Interest::Readable), (signals.as_fd(), Interest::Readable)];
        if let Some(console) = console {
            fds.push((console.as_fd(), Interest::Readable));
            if input_open {
                fds.push((input.as_fd(), Interest::Readable));
            }
        }
        let ready = watch::wait(&fds, LONG)?;
        let is_ready = |number: usize| ready.get(number) == Some(&true);
        if is_ready(1) {
            pass_on(signals, process, console)?;
        }
        if let Some(console) = console {
            if is_ready(3) {
                input_open = copy(input, console)?;
            }
            if is_ready(2) {
                copy(console, output)?;
            }
        }
        if is_ready(0) {
            if let Some(console) = console {
                while copy(console, output)? {}
            }
            return Ok(match child::wait(process)? {
                Some(How::Exited(code)) => code,
                Some(How::Signalled(signal)) => 128 + signal,
                None => 255,
            });
        }
    }
}

fn pass_on(signals: &SignalFd, process: &PidFd, console: Option<&OwnedFd>) -> Result<()> {
    while let Some(signal) = signals.take()? {
        match console {
            Some(console) if signal == WINCH => resize(console)?,
            _ => {
                process.send(signal)?;
            }
        }
    }
    Ok(())
}

/// Copies what is there; `false` at the end or when nothing is there.
fn copy(from: impl AsFd, to: impl AsFd) -> Result<bool> {
    let mut bytes = [0; 4096];
    let linux::fd::Read::Bytes(count) = linux::fd::read(from, &mut bytes)? else { return Ok(false) };
    let mut left = &bytes[..count];
    while !left.is_empty() {
        match linux::fd::write(&to, left)? {
            0 => {
                watch::wait(&[(to.as_fd(), Interest::Writable)], LONG)?;
            }
            written => left = &left[written..],
        }
    }
    Ok(true)
}
