//! A body that is a sequence of JSON values, one per line: progress, events, statistics.

use bytes::BytesMut;
use serde::de::DeserializeOwned;

use crate::connection::Response;
use crate::{Error, Result};

/// The longest line that is taken for JSON, in bytes.
const LONGEST_LINE: usize = 16 << 20;

/// Reads one JSON value after the other; lines end with LF or CRLF and may start with a record separator (RFC 7464).
pub struct JsonLines {
    response: Response,
    buffer: BytesMut,
    searched: usize,
}

impl JsonLines {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next value; `None` at the end of the body.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                if let Some(value) = self.decode(&line)? {
                    return Ok(Some(value));
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > LONGEST_LINE {
                return Err(Error::TooLarge { what: self.response.path().to_owned(), limit: LONGEST_LINE });
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    let line = self.buffer.split();
                    self.searched = 0;
                    return self.decode(&line);
                }
            }
        }
    }

    fn decode<T: DeserializeOwned>(&self, line: &[u8]) -> Result<Option<T>> {
        let line = line.strip_prefix(b"\x1e").unwrap_or(line).trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        api::json::from_slice(line)
            .map(Some)
            .map_err(|source| Error::Decode { what: self.response.path().to_owned(), source })
    }
}
