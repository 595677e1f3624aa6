//! Docker's multiplexed stream: eight bytes of header (stream, three zeros, big-endian length), then the payload.

use anyhow::{Result, bail};
use std::io::Read;

/// The payloads of a multiplexed stream, put together per stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Reads a multiplexed stream to its end.
pub(crate) fn demultiplex(mut reader: impl Read) -> Result<Streams> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    let mut streams = Streams::default();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (stream, payload, after) = split(rest)?;
        match stream {
            1 => streams.stdout.push_str(&payload),
            2 => streams.stderr.push_str(&payload),
            other => bail!("a frame of stream {other}: {payload:?}"),
        }
        rest = after;
    }
    Ok(streams)
}

fn split(bytes: &[u8]) -> Result<(u8, String, &[u8])> {
    let Some((header, rest)) = bytes.split_first_chunk::<8>() else {
        bail!("a frame header of {} bytes: {bytes:?}", bytes.len());
    };
    let [stream, 0, 0, 0, a, b, c, d] = *header else { bail!("not a frame header: {header:?}") };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let Some((payload, after)) = rest.split_at_checked(length) else {
        bail!("a frame announces {length} bytes and {} follow", rest.len());
    };
    Ok((stream, String::from_utf8_lossy(payload).into_owned(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together_per_stream() {
        let bytes = b"\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x01x\x01\0\0\0\0\0\0\x01c".as_slice();
        let expected = Streams { stdout: "abc".to_owned(), stderr: "x".to_owned() };
        assert_eq!(demultiplex(bytes).expect("frames"), expected);
    }

    #[test]
    fn raw_bytes_are_not_frames() {
        assert!(demultiplex(b"hello world".as_slice()).is_err());
    }
}
