//! Docker's oldest form of hijacking: attach and exec start without an `Upgrade` header, answered by 200 and then raw
//! bytes both ways. hyper hands a connection over only after 101, so the head of such a request gets the header here,
//! and the head of its answer becomes the old one.
//!
//! What is looked at is where a head may begin: the first bytes of a connection, and whatever is read between the end of an
//! answer and the next request (see [`Turn`]), for clients with pooled connections (Node's, Java's) use this form on one that
//! has been used before. That may be the rest of a body that was answered early, before the head. Everything else passes
//! unseen.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A head that is longer is none of these clients'.
const MAX_HEAD: usize = 16 << 10;
/// What is put into the request.
const UPGRADE: &[u8] = b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
/// What the client expects instead of 101.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";

/// Whose turn it is to speak: the client's from when an answer has been given whole until its next request is there.
#[derive(Clone, Debug, Default)]
pub struct Turn(Arc<AtomicBool>);

impl Turn {
    /// The body of an answer; the turn is the client's when it has been taken, or nobody wants it.
    pub fn after<B>(&self, body: B) -> Answer<B> {
        Answer { body, turn: Some(self.clone()) }
    }

    /// The body of an answer after which the connection speaks no HTTP any more.
    pub fn never<B>(body: B) -> Answer<B> {
        Answer { body, turn: None }
    }

    /// A request has come.
    pub fn end(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is_the_clients(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A body whose end hands the turn to the client.
pub struct Answer<B> {
    body: B,
    turn: Option<Turn>,
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        if let Some(turn) = &self.turn {
            turn.0.store(true, Ordering::Release);
        }
    }
}

impl<B: Body<Data = Bytes, Error = io::Error> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that also speaks the oldest form.
pub struct LegacyHijack<C> {
    connection: C,
    input: Input,
    output: Output,
    turn: Turn,
}

enum Input {
    /// A head, as far as it has come, and whether that has not been looked at yet.
    Head { head: Vec<u8>, is_new: bool },
    /// Bytes to hand out before reading on.
    Ready(Vec<u8>, usize),
    /// Nothing to do any more.
    Open,
}

enum Output {
    /// Nothing to change.
    Open,
    /// The answer's head is to be replaced if it is 101.
    Head(Vec<u8>),
    /// The old head, as far as it has not been sent.
    Sending(Vec<u8>, usize),
}

impl<C> LegacyHijack<C> {
    /// Watches the first request of a connection, of which `begun` has been read already, and those that begin when `turn`
    /// says so.
    pub fn new(connection: C, begun: Vec<u8>, turn: Turn) -> LegacyHijack<C> {
        let input = if begun.is_empty() { Input::Open } else { Input::Head { head: begun, is_new: true } };
        LegacyHijack { connection, input, output: Output::Open, turn }
    }

    /// Watches nothing: only puts what has been read already in front.
    pub fn unwatched(connection: C, begun: Vec<u8>) -> LegacyHijack<C> {
        LegacyHijack {
            connection,
            input: Input::Ready(begun, 0),
            output: Output::Open,
            turn: Turn::default(),
        }
    }
}

/// What a head is, as far as it has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It cannot be told yet.
    Unknown,
    /// Not of this form.
    Other,
    /// Of this form; the head ends here.
    Legacy(usize),
}

/// Where a head may begin in what has been read: at once, or after the rest of a body that nobody wanted.
fn find(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|at| bytes[*at] == b'P' && judge(&bytes[*at..]) != Verdict::Other)
}

pub(super) fn judge(bytes: &[u8]) -> Verdict {
    let is_post = bytes.iter().zip(b"POST /").all(|(found, wanted)| found == wanted);
    if !is_post || bytes.len() > MAX_HEAD {
        return Verdict::Other;
    }
    let Some(line_end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Verdict::Unknown };
    let mut words = bytes[..line_end].split(|byte| *byte == b' ');
    let path = words.nth(1).unwrap_or_default().split(|byte| *byte == b'?').next().unwrap_or_default();
    let is_hijack = words.next() == Some(b"HTTP/1.1")
        && (path.ends_with(b"/attach")
            || (path.ends_with(b"/start") && path.windows(6).any(|part| part == b"/exec/")));
    if !is_hijack {
        return Verdict::Other;
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Verdict::Unknown };
    let names = bytes[line_end..end].split(|byte| *byte == b'\n');
    let has_upgrade = names
        .filter_map(|line| line.split(|byte| *byte == b':').next())
        .any(|name| name.eq_ignore_ascii_case(b"upgrade"));
    if has_upgrade { Verdict::Other } else { Verdict::Legacy(end) }
}

impl<C: AsyncRead + Unpin> AsyncRead for LegacyHijack<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.input {
                Input::Open => {
                    let before = buf.filled().len();
                    ready!(Pin::new(&mut this.connection).poll_read(cx, buf))?;
                    let piece = &buf.filled()[before..];
                    let Some(at) = this.turn.is_the_clients().then(|| find(piece)).flatten() else {
                        return Poll::Ready(Ok(()));
                    };
                    this.input = Input::Head { head: piece[at..].to_vec(), is_new: true };
                    buf.set_filled(before + at);
                    if at > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Input::Ready(bytes, sent) => {
                    let part = &bytes[*sent..];
                    let part = &part[..part.len().min(buf.remaining())];
                    buf.put_slice(part);
                    *sent += part.len();
                    if *sent == bytes.len() {
                        this.input = Input::Open;
                    }
                    return Poll::Ready(Ok(()));
                }
                Input::Head { head, is_new } => {
                    let mut has_ended = false;
                    if !std::mem::take(is_new) {
                        let mut piece = [0; 4096];
                        let mut piece = ReadBuf::new(&mut piece);
                        ready!(Pin::new(&mut this.connection).poll_read(cx, &mut piece))?;
                        head.extend_from_slice(piece.filled());
                        has_ended = piece.filled().is_empty();
                    }
                    let verdict = if has_ended { Verdict::Other } else { judge(head) };
                    match verdict {
                        Verdict::Unknown => {}
                        Verdict::Other => this.input = Input::Ready(std::mem::take(head), 0),
                        Verdict::Legacy(end) => {
                            let mut bytes = head[..end + 2].to_vec();
                            bytes.extend_from_slice(UPGRADE);
                            bytes.extend_from_slice(&head[end + 4..]);
                            this.input = Input::Ready(bytes, 0);
                            this.output = Output::Head(Vec::new());
                        }
                    }
                }
            }
        }
    }
}

impl<C: AsyncWrite + Unpin> LegacyHijack<C> {
    /// Sends the old head, if that is what is to be sent next.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Output::Sending(bytes, sent) = &mut self.output {
            if *sent == bytes.len() {
                self.output = Output::Open;
                break;
            }
            match ready!(Pin::new(&mut self.connection).poll_write(cx, &bytes[*sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *sent += written,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for LegacyHijack<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_head(cx))?;
        let Output::Head(head) = &mut this.output else {
            return Pin::new(&mut this.connection).poll_write(cx, bytes);
        };
        head.extend_from_slice(bytes);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let sending = if head.starts_with(b"HTTP/1.1 101 ") {
                [ANSWER, &head[end + 4..]].concat()
            } else {
                std::mem::take(head)
            };
            this.output = Output::Sending(sending, 0);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Output::Open = this.output {
            return Pin::new(&mut this.connection).poll_write_vectored(cx, pieces);
        }
        let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
        Pin::new(this).poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_head(cx))?;
        Pin::new(&mut this.connection).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_head(cx))?;
        Pin::new(&mut this.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_judged() {
        let check = |head: &str, expected: Verdict| assert_eq!(judge(head.as_bytes()), expected, "{head:?}");
        check("P", Verdict::Unknown);
        check("GET /containers/a/attach HTTP/1.1\r\n\r\n", Verdict::Other);
        check("POST /containers/a/att", Verdict::Unknown);
        check("POST /containers/a/attach?stream=1 HTTP/1.1\r\nHost: d\r\n", Verdict::Unknown);
        check("POST /containers/a/attach?stream=1 HTTP/1.1\r\nHost: d\r\n\r\nx", Verdict::Legacy(52));
        check("POST /v1.24/exec/a/start HTTP/1.1\r\n\r\n", Verdict::Legacy(33));
        check("POST /exec/a/start HTTP/1.1\r\nuPgrade: tcp\r\n\r\n", Verdict::Other);
        check("POST /containers/a/start HTTP/1.1\r\n\r\n", Verdict::Other);
        check("POST /exec/a/start HTTP/1.0\r\n\r\n", Verdict::Other);
    }

    #[test]
    fn a_head_may_come_after_the_rest_of_a_body() {
        let check =
            |read: &str, expected: Option<usize>| assert_eq!(find(read.as_bytes()), expected, "{read:?}");
        check("nullPOST /containers/a/attach HTTP/1.1\r\n\r\n", Some(4));
        check("POST /a/POST /containers/a/attach HTTP/1.1\r\n\r\n", Some(8));
        check("nullPO", Some(4));
        check("", None);
        check("PATCH, PUT and POST / HTTP/1.1\r\n", None);
    }
}
