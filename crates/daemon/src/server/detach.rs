//! Detach keys: the keys that end an attachment and leave the container running.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Finds the keys in a stream of input that may be cut anywhere.
#[derive(Clone, Debug)]
pub struct Finder {
    keys: Vec<u8>,
    matched: usize,
}

impl Finder {
    /// Looks for a sequence of keys.
    pub fn new(keys: Vec<u8>) -> Finder {
        Finder { keys, matched: 0 }
    }

    /// Takes input and gives what goes on to the program, in `out`. The beginning of the sequence is held back until
    /// it is clear that it is none. True when the sequence is complete; what follows it is dropped.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in input {
            self.advance(*byte, out);
            if self.matched == self.keys.len() && !self.keys.is_empty() {
                return true;
            }
        }
        false
    }

    /// Gives what is held back, at the end of the input.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.keys[..self.matched]);
        self.matched = 0;
    }

    fn advance(&mut self, byte: u8, out: &mut Vec<u8>) {
        loop {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                return;
            }
            if self.matched == 0 {
                out.push(byte);
                return;
            }
            // Let go of the shortest beginning after which the rest may still be a beginning.
            let held = &self.keys[..self.matched];
            let shift =
                (1..=held.len()).find(|shift| self.keys.starts_with(&held[*shift..])).unwrap_or(held.len());
            out.extend_from_slice(&held[..shift]);
            self.matched -= shift;
        }
    }
}

/// A client's input up to its detach keys. `detached` tells afterwards whether they ended it.
pub struct Detachable<R> {
    input: R,
    finder: Finder,
    pending: Vec<u8>,
    sent: usize,
    ended: bool,
    detached: Option<tokio::sync::oneshot::Sender<()>>,
}

impl<R> Detachable<R> {
    /// Watches `input`; the receiver hears when the keys were seen.
    pub fn new(input: R, keys: Vec<u8>) -> (Detachable<R>, tokio::sync::oneshot::Receiver<()>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let finder = Finder::new(keys);
        let detached = Some(sender);
        (Detachable { input, finder, pending: Vec::new(), sent: 0, ended: false, detached }, receiver)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Detachable<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let waiting = &this.pending[this.sent..];
            if !waiting.is_empty() {
                let part = &waiting[..waiting.len().min(buf.remaining())];
                buf.put_slice(part);
                this.sent += part.len();
                return Poll::Ready(Ok(()));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; 4096];
            let mut piece = ReadBuf::new(&mut bytes);
            std::task::ready!(Pin::new(&mut this.input).poll_read(cx, &mut piece))?;
            this.pending.clear();
            this.sent = 0;
            if piece.filled().is_empty() {
                this.ended = true;
                this.finder.flush(&mut this.pending);
            } else if this.finder.push(piece.filled(), &mut this.pending) {
                this.ended = true;
                // Nobody listens any more when the output has ended first.
                let _ = this.detached.take().map(|sender| sender.send(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the input in pieces of every size.
    fn check(keys: &[u8], input: &[u8], expected: &[u8], detaches: bool) {
        for size in 1..=input.len() {
            let (mut finder, mut out, mut detached) = (Finder::new(keys.to_vec()), Vec::new(), false);
            for piece in input.chunks(size) {
                detached = detached || finder.push(piece, &mut out);
            }
            if !detached {
                finder.flush(&mut out);
            }
            assert_eq!((out.as_slice(), detached), (expected, detaches), "pieces of {size}");
        }
    }

    #[test]
    fn the_sequence_is_found_and_nothing_else_is_lost() {
        check(b"pq", b"abpq", b"ab", true);
        check(b"pq", b"appb", b"appb", false);
        check(b"pq", b"appq", b"ap", true);
        check(b"pq", b"abp", b"abp", false);
        check(b"aab", b"aaab", b"a", true);
        check(b"aba", b"abcaba", b"abc", true);
        check(b"", b"abc", b"abc", false);
    }
}
