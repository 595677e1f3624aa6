//! An answer: its head, and its body piece by piece, each within a limited time.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::{Sender, Transport, chain, failure, shown};
use crate::error::Cause;
use crate::{Error, Result};

/// The longest remainder of a body that is read only to use the connection again, in bytes.
const CHEAPER_THAN_A_CONNECTION: u64 = 64 << 10;

/// An answer. When its body has been read to the end, its connection is idle again; else it is closed.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What was asked.
    pub(crate) url: Uri,
    method: Method,
    body: Incoming,
    connection: Option<(String, Sender)>,
    transport: Arc<Transport>,
}

impl Answer {
    pub(super) fn new(
        response: http::Response<Incoming>,
        method: Method,
        url: Uri,
        key: String,
        sender: Sender,
        transport: Arc<Transport>,
    ) -> Self {
        let (head, body) = response.into_parts();
        let mut new = Self {
            status: head.status,
            headers: head.headers,
            url,
            method,
            body,
            connection: Some((key, sender)),
            transport,
        };
        if new.body.is_end_stream() {
            new.give_back();
        }
        new
    }

    /// A header's value, when it is there and text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `Content-Length`, when the body has one.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header(http::header::CONTENT_LENGTH).and_then(|text| text.parse().ok())
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// `Transport` when the connection breaks, or nothing comes for too long.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            let next = tokio::time::timeout(self.transport.patience.idle, self.body.frame()).await;
            match next {
                Err(_) => return Err(self.fail(Cause::TimedOut("i/o timeout"))),
                Ok(None) => {
                    self.give_back();
                    return Ok(None);
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(self.fail(Cause::Broken(broken_words(&error))));
                }
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit` bytes; as [`Answer::piece`].
    pub(crate) async fn bytes(mut self, limit: u64) -> Result<Bytes> {
        let too_large = |url: &Uri| Error::TooLarge { what: shown(url), limit };
        if self.method != Method::HEAD && self.length().is_some_and(|length| length > limit) {
            return Err(too_large(&self.url));
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if u64::try_from(whole.len() + piece.len()).is_ok_and(|length| length > limit) {
                return Err(too_large(&self.url));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Reads the rest if it is short, so that the connection can be used again.
    pub(crate) async fn discard(mut self) {
        let mut left = CHEAPER_THAN_A_CONNECTION;
        while let Ok(Some(piece)) = self.piece().await {
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    }

    /// An error about this answer's exchange.
    pub(crate) fn fail(&self, cause: Cause) -> Error {
        failure(&self.method, &self.url, cause)
    }

    /// An error about an answer that breaks the protocol.
    pub(crate) fn strange(&self, reason: impl Into<String>) -> Error {
        Error::Protocol { url: shown(&self.url), reason: reason.into() }
    }

    fn give_back(&mut self) {
        if let Some((key, sender)) = self.connection.take()
            && !sender.is_closed()
        {
            self.transport.put_idle(&key, sender);
        }
    }
}

/// Why a body ended too early, in the words of Go's library where it has some.
fn broken_words(error: &hyper::Error) -> String {
    let mut next = error.source();
    while let Some(inner) = next {
        match inner.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::UnexpectedEof) => return "unexpected EOF".to_owned(),
            Some(io::ErrorKind::ConnectionReset) => return "read: connection reset by peer".to_owned(),
            _ => next = inner.source(),
        }
    }
    if error.is_incomplete_message() { "unexpected EOF".to_owned() } else { chain(error) }
}
