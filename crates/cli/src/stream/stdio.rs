//! Standard input and output on threads of their own, so that a slow reader or writer never stops the conversation.

use std::io::{self, Read, Write};
use std::thread::JoinHandle;

use bytes::Bytes;
use client::Stream;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::output::unwritable;

/// How many bytes are read at once.
const PIECE: usize = 256 << 10;

/// How many pieces wait between the threads.
const PIECES: usize = 8;

/// Reads standard input until its end. The thread ends with the program: a read of a terminal cannot be called off.
pub(crate) fn input() -> mpsc::Receiver<io::Result<Bytes>> {
    read_all(io::stdin())
}

/// Reads `source` on a thread until its end.
pub(crate) fn read_all(mut source: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    std::thread::spawn(move || {
        let mut buffer = vec![0_u8; PIECE];
        loop {
            let piece = match source.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Writes to standard output and standard error, in the order given.
pub(crate) struct Output {
    sender: mpsc::Sender<(Stream, Bytes)>,
    thread: JoinHandle<io::Result<()>>,
}

impl Output {
    /// Starts the writing thread.
    pub(crate) fn start() -> Self {
        let (sender, mut receiver) = mpsc::channel::<(Stream, Bytes)>(PIECES);
        let thread = std::thread::spawn(move || {
            while let Some((stream, bytes)) = receiver.blocking_recv() {
                match stream {
                    Stream::Stdout => write_now(io::stdout().lock(), &bytes)?,
                    Stream::Stderr => write_now(io::stderr().lock(), &bytes)?,
                }
            }
            Ok(())
        });
        Self { sender, thread }
    }

    /// Hands bytes over; waits while the writer is behind. `false` when nobody reads any more.
    pub(crate) async fn write(&self, stream: Stream, bytes: Bytes) -> bool {
        self.sender.send((stream, bytes)).await.is_ok()
    }

    /// Waits until everything is written.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        drop(self.sender);
        match self.thread.join() {
            Ok(result) => result.map_err(|error| unwritable(&error)),
            Err(_) => Err(Failure::text("the thread that writes to standard output panicked")),
        }
    }
}

fn write_now(mut sink: impl Write, bytes: &[u8]) -> io::Result<()> {
    sink.write_all(bytes)?;
    sink.flush()
}
