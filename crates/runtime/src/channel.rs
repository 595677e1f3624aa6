//! What the two sides of a container's start say to each other.
//!
//! The host's side makes the process and holds the other end of a socket pair; `start` either uses that same pair or
//! connects to the container's listener.
//!
//! ```text
//!  host's side                                   new process, in its namespaces
//!    clone3 ───────────────────────────────────▶ enters v1 control groups, joins namespaces
//!    writes id maps
//!    Go ───────────────────────────────────────▶ mounts its root …
//!                           ◀───────────── MapIds of a mount that its own user namespace may not map
//!    Go ───────────────────────────────────────▶ …
//!                           ◀───────────── Hooks (only when there are some)
//!    runs prestart, createRuntime
//!    Go ───────────────────────────────────────▶ pivots, drops privileges, finds the program
//!                           ◀─────────── Created, with the terminal if there is one
//!  start
//!    Go ───────────────────────────────────────▶ startContainer hooks, execve
//!                           ◀────────── Executing
//!                           ◀── end of file: execve closed the socket
//!
//!  and at any time          ◀── Report: a step, when steps are asked for
//!                           ◀── Failed: a kind and words; the process then ends
//! ```
//!
//! A message is a byte that says what it is, the length of its text (u32, little-endian), and the text.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::socket::{self, Received};

use crate::{Error, Kind, Result};

/// The longest text that is taken.
const LONGEST: usize = 64 << 10;

/// One message.
#[derive(Debug)]
pub(crate) enum Message {
    /// Carry on.
    Go,
    /// Run the hooks of the runtime's namespaces.
    Hooks,
    /// Map the ids of a detached mount, and of those below it if so, as a user namespace does.
    MapIds {
        /// The mount.
        mount: OwnedFd,
        /// The user namespace.
        users: OwnedFd,
        /// Whether mounts below it are meant as well.
        below: bool,
    },
    /// Everything is there but the program; with the terminal's controlling end.
    Created(Option<OwnedFd>),
    /// Somebody else made the process: its number and a handle on it.
    Made(u32, OwnedFd),
    /// A step that was taken, for who asked for steps.
    Report(String),
    /// The next thing is execve.
    Executing,
    /// It did not work.
    Failed(Error),
}

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Channel(pub(crate) OwnedFd);

impl Channel {
    /// Both ends.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (one, other) = socket::pair()?;
        Ok((Self(one), Self(other)))
    }

    /// Carry on. A process that is gone is no error here: why it is gone is the next message.
    pub(crate) fn go(&self) -> Result<()> {
        const GONE: [i32; 2] = [32, 104];
        match self.try_send(b'g', b"", &[]) {
            Err(error) if GONE.contains(&error.errno()) => Ok(()),
            other => Ok(other?),
        }
    }

    pub(crate) fn hooks(&self) -> Result<()> {
        self.send(b'h', b"", None)
    }

    pub(crate) fn map_ids(&self, mount: &OwnedFd, users: &OwnedFd, below: bool) -> Result<()> {
        Ok(self.try_send(b'i', &[u8::from(below)], &[mount.as_fd(), users.as_fd()])?)
    }

    pub(crate) fn executing(&self) -> Result<()> {
        self.send(b'x', b"", None)
    }

    pub(crate) fn report(&self, words: &str) -> Result<()> {
        self.send(b'd', &words.as_bytes()[..words.len().min(LONGEST)], None)
    }

    /// Waits until the program runs: execve has closed the other end. Gives the terminal, if one is handed over.
    pub(crate) fn until_executed(&self, mut told: Option<&mut String>) -> Result<Option<OwnedFd>> {
        let (mut console, mut executing) = (None, false);
        loop {
            match self.receive()? {
                Some(Message::Created(terminal)) => console = terminal,
                Some(Message::Executing) => executing = true,
                Some(Message::Report(words)) => note(told.as_deref_mut(), &words),
                Some(Message::Failed(error)) => return Err(error),
                Some(_) => return Err(unexpected()),
                None if executing => return Ok(console),
                None => return Err(Error::new(Kind::State, "the process ended before its program ran")),
            }
        }
    }

    pub(crate) fn created(&self, console: Option<BorrowedFd<'_>>) -> Result<()> {
        self.send(b'c', b"", console)
    }

    pub(crate) fn made(&self, child: &linux::process::Child) -> Result<()> {
        self.send(b'm', &child.pid.to_le_bytes(), Some(child.pidfd.as_fd()))
    }

    pub(crate) fn failed(&self, error: &Error) -> Result<()> {
        let words = error.message().as_bytes();
        let letter = error.kind().letter();
        let mut text = vec![if error.is_of_execve() { letter.to_ascii_uppercase() } else { letter }];
        text.extend_from_slice(&words[..words.len().min(LONGEST - 1)]);
        self.send(b'f', &text, None)
    }

    fn send(&self, what: u8, text: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        Ok(self.try_send(what, text, fd.as_slice())?)
    }

    fn try_send(&self, what: u8, text: &[u8], mut fds: &[BorrowedFd<'_>]) -> linux::Result<()> {
        let mut bytes = vec![what];
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(text);
        let mut left: &[u8] = &bytes;
        while !left.is_empty() {
            match socket::send(&self.0, left, fds)? {
                0 => {
                    socket::ready(&self.0, true, None)?;
                }
                sent => (left, fds) = (&left[sent..], &[]),
            }
        }
        Ok(())
    }

    /// The next message; `None` when the other side is gone.
    pub(crate) fn receive(&self) -> Result<Option<Message>> {
        let mut fds = Vec::new();
        let mut head = [0; 5];
        if !self.fill(&mut head, &mut fds)? {
            return Ok(None);
        }
        let [what, length @ ..] = head;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(Error::new(
                Kind::System,
                format!("a message of {length} bytes from the container's process"),
            ));
        }
        let mut text = vec![0; length];
        if !self.fill(&mut text, &mut fds)? {
            return Ok(None);
        }
        match what {
            b'g' => Ok(Some(Message::Go)),
            b'h' => Ok(Some(Message::Hooks)),
            b'x' => Ok(Some(Message::Executing)),
            b'd' => Ok(Some(Message::Report(String::from_utf8_lossy(&text).into_owned()))),
            b'i' => match (fds.pop(), fds.pop(), text.as_slice()) {
                (Some(users), Some(mount), [below]) => {
                    Ok(Some(Message::MapIds { mount, users, below: *below != 0 }))
                }
                _ => Err(unexpected()),
            },
            b'c' => Ok(Some(Message::Created(fds.pop()))),
            b'm' => match (text.try_into().map(u32::from_le_bytes), fds.pop()) {
                (Ok(pid), Some(pidfd)) => Ok(Some(Message::Made(pid, pidfd))),
                _ => Err(unexpected()),
            },
            b'f' => {
                let letter = text.first().copied().unwrap_or_default();
                let kind = Kind::from_letter(letter.to_ascii_lowercase());
                let words = String::from_utf8_lossy(text.get(1..).unwrap_or_default()).into_owned();
                let error = Error::new(kind, words);
                Ok(Some(Message::Failed(if letter.is_ascii_uppercase() { error.at_execve() } else { error })))
            }
            other => Err(Error::new(Kind::System, format!("message {other} from the container's process"))),
        }
    }

    fn fill(&self, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<bool> {
        let mut done = 0;
        while done < bytes.len() {
            socket::ready(&self.0, false, None)?;
            match socket::receive(&self.0, &mut bytes[done..], fds)? {
                Received::Bytes(count) => done += count,
                Received::Nothing => {}
                Received::End => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Adds a line for who asked for steps.
pub(crate) fn note(told: Option<&mut String>, words: &str) {
    if let Some(told) = told {
        told.push_str(words);
        told.push('\n');
    }
}

pub(crate) fn unexpected() -> Error {
    Error::new(Kind::System, "the container's process says something unexpected")
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (one, other) = Channel::pair().expect("pair");
        one.go().expect("go");
        one.created(Some(other.as_fd())).expect("created");
        one.failed(&Error::new(Kind::NotFound, "exec: \"x\"")).expect("failed");
        assert!(matches!(other.receive(), Ok(Some(Message::Go))));
        assert!(matches!(other.receive(), Ok(Some(Message::Created(Some(_))))));
        let Ok(Some(Message::Failed(error))) = other.receive() else { panic!("no failure") };
        assert_eq!(error, Error::new(Kind::NotFound, "exec: \"x\""));
        drop(one);
        assert!(matches!(other.receive(), Ok(None)));
    }
}
