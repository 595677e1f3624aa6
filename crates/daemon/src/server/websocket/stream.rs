//! A connection of WebSocket frames as a plain stream of bytes: reading gives what is in the client's data frames, each
//! write is one frame, and pings are answered on the way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{Decoder, Found, Opcode, encode};

/// Bytes read at once, and bytes of one frame at most.
const PIECE: usize = 32 << 10;
/// Answers to pings that wait for a slow client; one that asks for more is not answered.
const MAX_WAITING: usize = 256 << 10;
/// "Normal closure" (RFC 6455, section 7.4.1).
const NORMAL: [u8; 2] = 1000u16.to_be_bytes();

/// How the container's bytes are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// API 1.28 and newer.
    Binary,
    /// Before that, whatever the bytes were.
    Text,
}

/// A WebSocket on a connection.
pub struct WebSocket<S> {
    connection: S,
    payload: Opcode,
    decoder: Decoder,
    /// Bytes of the client that are not looked at yet.
    input: Vec<u8>,
    taken: usize,
    /// Unmasked bytes at `taken` that wait for a reader.
    ready: usize,
    ended: bool,
    /// Frames that are not sent yet.
    output: Vec<u8>,
    closing: bool,
}

impl<S> WebSocket<S> {
    /// Takes a connection over, once the handshake is done.
    pub fn new(connection: S, payload: Payload) -> WebSocket<S> {
        let payload = match payload {
            Payload::Binary => Opcode::Binary,
            Payload::Text => Opcode::Text,
        };
        WebSocket {
            connection,
            payload,
            decoder: Decoder::default(),
            input: Vec::new(),
            taken: 0,
            ready: 0,
            ended: false,
            output: Vec::new(),
            closing: false,
        }
    }

    fn close(&mut self) {
        if !self.closing {
            self.closing = true;
            encode(Opcode::Close, &NORMAL, &mut self.output);
        }
    }

    /// Does what a control frame asks for.
    fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        match opcode {
            Opcode::Ping if self.output.len() < MAX_WAITING && !self.closing => {
                encode(Opcode::Pong, payload, &mut self.output);
            }
            Opcode::Close => {
                self.close();
                self.ended = true;
            }
            _ => {}
        }
    }
}

impl<S: AsyncWrite + Unpin> WebSocket<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut self.connection).poll_write(cx, &self.output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready > 0 {
                let count = this.ready.min(buf.remaining());
                buf.put_slice(&this.input[this.taken..this.taken + count]);
                this.taken += count;
                this.ready -= count;
                return Poll::Ready(Ok(()));
            }
            // An answer that cannot leave now leaves with the next write.
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            let found = this.decoder.next(&mut this.input[this.taken..]);
            let (used, found) =
                found.map_err(|violation| io::Error::new(io::ErrorKind::InvalidData, violation.0))?;
            this.taken += used;
            match found {
                Found::Data(count) => this.ready = count,
                Found::Control(opcode, payload) => this.control(opcode, &payload),
                Found::Nothing => {
                    this.input.resize(PIECE, 0);
                    this.taken = 0;
                    let mut piece = ReadBuf::new(&mut this.input);
                    let read = Pin::new(&mut this.connection).poll_read(cx, &mut piece);
                    let count = piece.filled().len();
                    this.input.truncate(if read.is_ready() { count } else { 0 });
                    ready!(read)?;
                    this.ended = count == 0;
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        if this.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(PIECE);
        encode(this.payload, &bytes[..count], &mut this.output);
        // What cannot leave now leaves with the next call.
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.connection).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::frame::tests::client;
    use super::*;

    #[test]
    fn bytes_pass_and_pings_are_answered() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            let mut socket = WebSocket::new(ours, Payload::Binary);
            let frames = [client(0x82, b"he"), client(0x89, b"?"), client(0x82, b"llo"), client(0x88, b"")];
            theirs.write_all(&frames.concat()).await.unwrap();
            let mut text = Vec::new();
            socket.read_to_end(&mut text).await.unwrap();
            assert_eq!(text, b"hello");
            socket.shutdown().await.unwrap();
            let mut answers = Vec::new();
            theirs.read_to_end(&mut answers).await.unwrap();
            assert_eq!(answers, [&[0x8a, 1, b'?'][..], &[0x88, 2, 0x03, 0xe8]].concat());

            let (ours, mut theirs) = tokio::io::duplex(1 << 16);
            let mut socket = WebSocket::new(ours, Payload::Text);
            socket.write_all(b"out").await.unwrap();
            socket.shutdown().await.unwrap();
            let mut answers = Vec::new();
            theirs.read_to_end(&mut answers).await.unwrap();
            assert_eq!(answers, [&[0x81, 3][..], b"out", &[0x88, 2, 0x03, 0xe8]].concat());
        });
    }

    #[test]
    fn a_client_that_breaks_the_rules_is_an_error() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(&[0x82, 0x01, b'a']).await.unwrap();
            let error = WebSocket::new(ours, Payload::Binary).read_u8().await.unwrap_err();
            assert_eq!(error.to_string(), "a client's frame is not masked");
        });
    }
}
