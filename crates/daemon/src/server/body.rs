//! Bodies of answers: nothing, bytes, or a stream fed by another task.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// How many pieces of a stream may wait for a slow client.
const STREAM_DEPTH: usize = 16;
/// The largest piece read from a reader at once.
const PIECE: usize = 64 << 10;

/// The body of an answer.
pub enum Body {
    /// No bytes.
    Empty,
    /// All the bytes there are.
    Full(Bytes),
    /// Bytes as they come. An error cuts the connection, so that the client sees that something is missing.
    Stream(BodyReceiver),
    /// A stream whose first piece has been taken already.
    Begun(Bytes, BodyReceiver),
}

/// Where a [`Body::Stream`] comes from.
pub type BodyReceiver = mpsc::Receiver<std::io::Result<Bytes>>;

/// The other end of a [`Body::Stream`]; sending fails when the client has gone.
pub type BodySender = mpsc::Sender<std::io::Result<Bytes>>;

impl Body {
    /// A stream and the end to feed it from.
    pub fn channel() -> (BodySender, Body) {
        let (sender, receiver) = mpsc::channel(STREAM_DEPTH);
        (sender, Body::Stream(receiver))
    }

    /// A stream of what a reader gives.
    pub fn from_reader(mut reader: impl AsyncRead + Send + Unpin + 'static) -> Body {
        let (sender, body) = Body::channel();
        tokio::spawn(async move {
            loop {
                let mut piece = bytes::BytesMut::with_capacity(PIECE);
                let result = reader.read_buf(&mut piece).await;
                let end = !matches!(result, Ok(n) if n > 0);
                match result {
                    Ok(0) => {}
                    Ok(_) if sender.send(Ok(piece.freeze())).await.is_err() => return,
                    Ok(_) => {}
                    // The client may be gone as well; then nobody is left to tell.
                    Err(error) => drop(sender.send(Err(error)).await),
                }
                if end {
                    return;
                }
            }
        });
        body
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let body = self.get_mut();
        match body {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Body::Stream(receiver) => {
                receiver.poll_recv(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
            }
            Body::Begun(..) => {
                let Body::Begun(first, receiver) = std::mem::replace(body, Body::Empty) else {
                    return Poll::Ready(None);
                };
                *body = Body::Stream(receiver);
                Poll::Ready(Some(Ok(Frame::data(first))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Stream(_) | Body::Begun(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(_) | Body::Begun(..) => SizeHint::default(),
        }
    }
}
