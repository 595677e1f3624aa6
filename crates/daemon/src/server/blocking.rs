//! Bodies for code that reads and writes in a thread of its own: a request's body as a `Read`, an answer's as a
//! `Write`.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::body::BodySender;
use super::request_body::RequestBody;

/// How many pieces may wait for the thread.
const DEPTH: usize = 16;
/// Small writes are gathered up to this size.
const PIECE: usize = 64 << 10;

/// A request's body. Its end is the body's end; a client that leaves early is an error.
pub struct BodyReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl BodyReader {
    /// Begins to take a body. Bytes are asked of the client only as fast as they are read.
    pub fn new(mut body: RequestBody) -> BodyReader {
        let (sender, receiver) = mpsc::channel(DEPTH);
        tokio::spawn(async move {
            loop {
                // Nobody reads any more: what is left of the body goes back.
                let next = tokio::select! {
                    next = body.frame() => next,
                    () = sender.closed() => return,
                };
                let Some(frame) = next else { return };
                let piece = match frame.map(http_body::Frame::into_data) {
                    Ok(Ok(bytes)) => Ok(bytes),
                    // Trailers mean nothing here.
                    Ok(Err(_)) => continue,
                    Err(error) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
                };
                let is_end = piece.is_err();
                if sender.send(piece).await.is_err() || is_end {
                    return;
                }
            }
        });
        BodyReader { receiver, piece: Bytes::new() }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buf.len());
        self.piece.copy_to_slice(&mut buf[..length]);
        Ok(length)
    }
}

/// An answer's body. Writing fails when the client has gone.
pub struct BodyWriter {
    sender: BodySender,
    piece: BytesMut,
}

impl BodyWriter {
    /// Writes into a stream.
    pub fn new(sender: BodySender) -> BodyWriter {
        BodyWriter { sender, piece: BytesMut::with_capacity(PIECE) }
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE);
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.sender
            .blocking_send(Ok(piece))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_arrives_in_pieces() {
        let (sender, mut receiver) = mpsc::channel(4);
        let mut writer = BodyWriter::new(sender);
        writer.write_all(&vec![7; PIECE - 1]).unwrap();
        assert!(receiver.try_recv().is_err());
        writer.write_all(&[8, 9]).unwrap();
        writer.flush().unwrap();
        let sizes: Vec<usize> =
            std::iter::from_fn(|| receiver.try_recv().ok()).map(|piece| piece.unwrap().len()).collect();
        assert_eq!(sizes, [PIECE + 1]);
        drop(receiver);
        writer.write_all(&[1]).unwrap();
        assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_reader_ends_with_its_channel_and_passes_errors_on() {
        let (sender, receiver) = mpsc::channel(4);
        let mut reader = BodyReader { receiver, piece: Bytes::new() };
        sender.try_send(Ok(Bytes::from_static(b"abc"))).unwrap();
        sender.try_send(Err(io::ErrorKind::UnexpectedEof.into())).unwrap();
        drop(sender);
        let mut two = [0; 2];
        assert_eq!(reader.read(&mut two).unwrap(), 2);
        assert_eq!(reader.read(&mut two).unwrap(), 1);
        assert_eq!(reader.read(&mut two).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(reader.read(&mut two).unwrap(), 0);
    }
}
