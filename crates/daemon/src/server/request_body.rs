//! A request's body: as it comes, or what was read of it already, and what becomes of the part nobody wanted.
//!
//! A handler that refuses a request early leaves its body unread. Were the connection closed then, the kernel would tell
//! a client that is still sending of a broken pipe, and many a client (Go's among them) reports that instead of the
//! answer. So the rest is taken and thrown away first, as Go's server does: [`Leftover`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;

/// The most that is thrown away of a body for the sake of its connection, in bytes. Go's server has the same.
const MOST_THROWN_AWAY: usize = 256 << 10;
/// How long a client may take to send that much.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The body of a request.
#[derive(Debug)]
pub enum RequestBody {
    /// It comes as it is read.
    Coming(Coming),
    /// It is here; `None` once it was taken.
    Read(Option<Bytes>),
}

/// A body on its way. What is unread when it is dropped goes to its [`Leftover`].
#[derive(Debug)]
pub struct Coming {
    body: Option<Incoming>,
    leftover: Option<oneshot::Sender<Incoming>>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        if let (Some(body), Some(leftover)) = (self.body.take(), self.leftover.take()) {
            // Whoever has the leftover may not care for it.
            drop(leftover.send(body));
        }
    }
}

/// Where the unread part of a body arrives.
#[derive(Debug)]
pub struct Leftover(oneshot::Receiver<Incoming>);

impl Leftover {
    /// Takes and forgets what the client still sends, up to a limit of bytes and of time. Whether that was all.
    pub async fn throw_away(self) -> bool {
        let rest = async {
            let Ok(mut body) = self.0.await else { return true };
            let mut taken = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return true };
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > MOST_THROWN_AWAY {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(LONGEST_WAIT, rest).await.unwrap_or(false)
    }
}

impl RequestBody {
    /// A body, and where what remains of it will be found.
    pub fn coming(body: Incoming) -> (RequestBody, Leftover) {
        let (sender, receiver) = oneshot::channel();
        (RequestBody::Coming(Coming { body: Some(body), leftover: Some(sender) }), Leftover(receiver))
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            RequestBody::Coming(Coming { body: Some(body), .. }) => Pin::new(body).poll_frame(cx),
            RequestBody::Coming(Coming { body: None, .. }) => Poll::Ready(None),
            RequestBody::Read(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Coming(coming) => coming.body.as_ref().is_none_or(Incoming::is_end_stream),
            RequestBody::Read(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Coming(coming) => coming.body.as_ref().map(Incoming::size_hint).unwrap_or_default(),
            RequestBody::Read(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
