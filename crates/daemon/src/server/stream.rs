//! A client's connection as bytes in both directions, encrypted or not, and which protocol its first bytes are.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::connection::Connection;

/// What an HTTP/2 client without negotiation sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection.
pub enum Stream {
    /// As it is.
    Plain(Connection),
    /// Encrypted.
    Tls(Box<TlsStream<Connection>>),
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or older.
    Http1,
    /// HTTP/2, negotiated or by prior knowledge.
    Http2,
}

/// The longest first line that is looked at.
const LONGEST_LINE: usize = 16 << 10;

impl Stream {
    /// The certificates that the other side has shown, its own first; DER.
    pub fn certificates(&self) -> Arc<[Vec<u8>]> {
        let shown = match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream.get_ref().1.peer_certificates(),
        };
        shown.into_iter().flatten().map(|certificate| certificate.as_ref().to_vec()).collect()
    }

    /// Reads until it is certain what the client speaks, and in HTTP/1.1 at least the first line, unless that is too long
    /// for one. What was read belongs in front of what is read later; nothing when the client has left.
    pub async fn recognize(&mut self) -> io::Result<(Protocol, Vec<u8>)> {
        let mut begun = Vec::with_capacity(PREFACE.len());
        loop {
            let mut piece = [0; PREFACE.len()];
            let count = self.read(&mut piece).await?;
            begun.extend_from_slice(&piece[..count]);
            let length = begun.len().min(PREFACE.len());
            if count == 0 || begun[..length] != PREFACE[..length] {
                self.first_line(&mut begun).await?;
                return Ok((Protocol::Http1, begun));
            }
            if length == PREFACE.len() {
                return Ok((Protocol::Http2, begun));
            }
        }
    }

    async fn first_line(&mut self, begun: &mut Vec<u8>) -> io::Result<()> {
        let mut piece = [0; 1024];
        while !begun.is_empty() && !begun.contains(&b'\n') && begun.len() < LONGEST_LINE {
            let count = self.read(&mut piece).await?;
            begun.extend_from_slice(&piece[..count]);
            if count == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
