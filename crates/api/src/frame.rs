//! The 8-byte frames that carry standard output and error in one stream: attach, exec and logs without a terminal.
//!
//! ```text
//!  0        1  2  3   4  5  6  7   8 …
//! [stream] [0  0  0] [length, BE] [payload]
//! ```

/// Bytes before each payload.
pub const HEADER_LEN: usize = 8;

/// The longest payload that the decoder takes; Docker's daemon never sends more than 16 KiB and a little.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input; printed as standard output by clients.
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// An error of the daemon, in words, in the middle of a stream.
    System = 3,
}

/// Why a stream is not made of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte is not a stream.
    UnknownStream(u8),
    /// Longer than [`MAX_PAYLOAD`].
    TooLong(u32),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::UnknownStream(byte) => write!(f, "unrecognized stream: {byte}"),
            FrameError::TooLong(length) => write!(f, "frame of {length} bytes is longer than {MAX_PAYLOAD}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The bytes before a payload of `length` bytes.
pub fn header(stream: Stream, length: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

/// A whole frame.
pub fn encode(stream: Stream, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
    frame.extend_from_slice(&header(stream, length));
    frame.extend_from_slice(&payload[..length as usize]);
    frame
}

/// Takes a stream apart as it arrives, in pieces of any size; payloads are handed out as they come, so memory is
/// bounded by the pieces given.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_LEN],
    header_len: usize,
    stream: Option<Stream>,
    left: usize,
}

impl Decoder {
    /// Takes the next piece and calls `out` with every part of a payload in it.
    pub fn push(&mut self, mut bytes: &[u8], mut out: impl FnMut(Stream, &[u8])) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            if let Some(stream) = self.stream {
                let part;
                (part, bytes) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= part.len();
                out(stream, part);
                if self.left == 0 {
                    self.stream = None;
                }
                continue;
            }
            let part;
            (part, bytes) = bytes.split_at((HEADER_LEN - self.header_len).min(bytes.len()));
            self.header[self.header_len..self.header_len + part.len()].copy_from_slice(part);
            self.header_len += part.len();
            if self.header_len == HEADER_LEN {
                self.begin()?;
            }
        }
        Ok(())
    }

    /// Whether the stream may end here: between two frames.
    pub fn is_between_frames(&self) -> bool {
        self.stream.is_none() && self.header_len == 0
    }

    fn begin(&mut self) -> Result<(), FrameError> {
        self.header_len = 0;
        let [stream, _, _, _, a, b, c, d] = self.header;
        let stream = match stream {
            0 => Stream::Stdin,
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            3 => Stream::System,
            other => return Err(FrameError::UnknownStream(other)),
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length as usize > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        self.left = length as usize;
        self.stream = (length > 0).then_some(stream);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_a_stream_gives_the_same_payloads() {
        let mut bytes = encode(Stream::Stdout, b"hello ");
        bytes.extend(encode(Stream::Stderr, b""));
        bytes.extend(encode(Stream::Stderr, b"oops"));
        bytes.extend(encode(Stream::Stdout, b"world"));
        for step in 1..bytes.len() {
            let (mut decoder, mut out, mut err) = (Decoder::default(), Vec::new(), Vec::new());
            for piece in bytes.chunks(step) {
                let take = |stream, part: &[u8]| match stream {
                    Stream::Stderr => err.extend_from_slice(part),
                    _ => out.extend_from_slice(part),
                };
                decoder.push(piece, take).unwrap();
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"hello world"[..], &b"oops"[..]), "step {step}");
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn lies_are_refused() {
        let push = |bytes: &[u8]| Decoder::default().push(bytes, |_, _| ());
        assert_eq!(push(b"GET / HTTP"), Err(FrameError::UnknownStream(b'G')));
        assert_eq!(push(&header(Stream::Stdout, u32::MAX)), Err(FrameError::TooLong(u32::MAX)));
    }
}
