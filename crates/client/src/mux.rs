//! Docker's frames: standard output and standard error in one stream.
//!
//! ```text
//! [stream u8: 0 stdin, 1 stdout, 2 stderr, 3 error of the daemon] 0 0 0 [length u32 big-endian] payload
//! ```

use thiserror::Error;

/// Where a piece of a multiplexed stream belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output (and the echo of standard input, which Docker writes there too).
    Stdout,
    /// Standard error.
    Stderr,
}

/// A stream that does not follow the frame format, or an error that the daemon sent in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidFrame {
    /// The first byte of a frame names no stream.
    #[error("Unrecognized input header: {0}")]
    Header(u8),
    /// The daemon reports a failure in the middle of the stream.
    #[error("error from daemon in stream: {0}")]
    Daemon(String),
}

/// The longest error text taken from a stream, in bytes.
const LONGEST_ERROR: usize = 64 << 10;

/// Takes frames apart as their bytes arrive; holds no payload except the text of an error.
#[derive(Debug, Default)]
pub struct Demux {
    header: [u8; 8],
    header_filled: usize,
    payload_left: usize,
    error: Vec<u8>,
}

impl Demux {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream and hands out the payload in them, in order.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Stream, &[u8]),
    ) -> Result<(), InvalidFrame> {
        while !bytes.is_empty() {
            if self.header_filled < 8 {
                let taken = bytes.len().min(8 - self.header_filled);
                self.header[self.header_filled..self.header_filled + taken].copy_from_slice(&bytes[..taken]);
                self.header_filled += taken;
                bytes = &bytes[taken..];
                if self.header_filled == 8 {
                    self.begin_payload()?;
                }
                continue;
            }
            let taken = bytes.len().min(self.payload_left);
            match self.header[0] {
                0 | 1 => sink(Stream::Stdout, &bytes[..taken]),
                2 => sink(Stream::Stderr, &bytes[..taken]),
                _ => {
                    let room = LONGEST_ERROR.saturating_sub(self.error.len()).min(taken);
                    self.error.extend_from_slice(&bytes[..room]);
                }
            }
            self.payload_left -= taken;
            bytes = &bytes[taken..];
            if self.payload_left == 0 {
                self.end_payload()?;
            }
        }
        Ok(())
    }

    fn begin_payload(&mut self) -> Result<(), InvalidFrame> {
        if self.header[0] > 3 {
            return Err(InvalidFrame::Header(self.header[0]));
        }
        let [.., a, b, c, d] = self.header;
        self.payload_left = u32::from_be_bytes([a, b, c, d]) as usize;
        if self.payload_left == 0 { self.end_payload() } else { Ok(()) }
    }

    fn end_payload(&mut self) -> Result<(), InvalidFrame> {
        self.header_filled = 0;
        if self.header[0] == 3 {
            return Err(InvalidFrame::Daemon(String::from_utf8_lossy(&self.error).into_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![stream, 0, 0, 0];
        out.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
        out.extend_from_slice(payload);
        out
    }

    fn demux(bytes: &[u8], step: usize) -> Result<(String, String), InvalidFrame> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut demux = Demux::new();
        for piece in bytes.chunks(step) {
            demux.push(piece, |stream, payload| match stream {
                Stream::Stdout => out.extend_from_slice(payload),
                Stream::Stderr => err.extend_from_slice(payload),
            })?;
        }
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ok((text(out), text(err)))
    }

    #[test]
    fn frames_come_apart_however_the_bytes_arrive() {
        let bytes =
            [frame(1, b"one"), frame(2, b"bad"), frame(1, b""), frame(0, b" two"), frame(1, b"!")].concat();
        for step in 1..=bytes.len() {
            assert_eq!(demux(&bytes, step), Ok(("one two!".to_owned(), "bad".to_owned())), "step {step}");
        }
    }

    #[test]
    fn an_error_of_the_daemon_ends_the_stream() {
        let bytes = [frame(1, b"one"), frame(3, b"it broke"), frame(1, b"never")].concat();
        assert_eq!(demux(&bytes, 5), Err(InvalidFrame::Daemon("it broke".to_owned())));
    }

    #[test]
    fn raw_output_is_not_taken_for_frames() {
        assert_eq!(demux(b"hello world", 100), Err(InvalidFrame::Header(b'h')));
    }
}
