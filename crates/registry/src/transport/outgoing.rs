//! Bodies of requests: nothing, bytes, or what a reader yields; and a watch over how they move.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::settings::Patience;

/// How much is read from a reader at once, and how many such pieces wait for the network, at most.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// The body of a request.
pub(crate) struct Outgoing {
    content: Content,
    watch: Watch,
}

enum Content {
    Bytes(Option<Bytes>),
    Stream { pieces: mpsc::Receiver<io::Result<Bytes>>, remaining: Option<u64> },
}

/// What is known about a body on its way; shared with whoever waits for the answer.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Movement>);

struct Movement {
    last: Mutex<Instant>,
    ended: AtomicBool,
    is_upload: bool,
    failure: Mutex<Option<String>>,
}

impl Outgoing {
    pub(crate) fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    pub(crate) fn bytes(bytes: Bytes) -> Self {
        let content = Content::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty()));
        let watch = Watch::new(false, matches!(content, Content::Bytes(None)));
        Self { content, watch }
    }

    /// What `reader` yields: exactly `length` bytes, or, without a length, in chunks until it ends. It is read in a
    /// thread for blocking work, a few pieces ahead.
    pub(crate) fn reader(mut reader: Box<dyn Read + Send>, length: Option<u64>) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || {
            loop {
                let piece = read_piece(&mut reader);
                let is_last = !matches!(&piece, Ok(bytes) if !bytes.is_empty());
                if matches!(&piece, Ok(bytes) if bytes.is_empty()) || sender.blocking_send(piece).is_err() {
                    return;
                }
                if is_last {
                    return;
                }
            }
        });
        Self {
            content: Content::Stream { pieces, remaining: length },
            watch: Watch::new(true, length == Some(0)),
        }
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

fn read_piece(reader: &mut dyn Read) -> io::Result<Bytes> {
    let mut piece = vec![0; PIECE];
    let mut filled = 0;
    while filled < PIECE {
        match reader.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(filled);
    Ok(piece.into())
}

impl Watch {
    fn new(is_upload: bool, ended: bool) -> Self {
        Self(Arc::new(Movement {
            last: Mutex::new(Instant::now()),
            ended: AtomicBool::new(ended),
            is_upload,
            failure: Mutex::new(None),
        }))
    }

    /// How long to wait next for the head of the answer.
    pub(crate) fn limit(&self, patience: &Patience) -> Duration {
        match (self.0.is_upload, self.0.ended.load(Ordering::Acquire)) {
            (false, _) => patience.answer,
            (true, false) => patience.idle,
            (true, true) => patience.commit,
        }
    }

    /// Whether a piece was taken within the last `span`.
    pub(crate) fn moved_within(&self, span: Duration) -> bool {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < span
    }

    /// Why the source of the body failed, when it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_moved(&self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn note_end(&self) {
        self.note_moved();
        self.0.ended.store(true, Ordering::Release);
    }

    fn note_failure(&self, error: io::Error) -> io::Error {
        *self.0.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        error
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let watch = self.watch.clone();
        match &mut self.content {
            Content::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| {
                watch.note_end();
                Ok(Frame::data(bytes))
            })),
            Content::Stream { pieces, remaining } => {
                let piece = std::task::ready!(pieces.poll_recv(context));
                Poll::Ready(match piece {
                    Some(Ok(bytes)) => count(bytes, remaining, &watch).transpose(),
                    Some(Err(error)) => Some(Err(watch.note_failure(error))),
                    None if remaining.is_some_and(|left| left > 0) => {
                        let error =
                            io::Error::new(io::ErrorKind::UnexpectedEof, "the content ends too early");
                        Some(Err(watch.note_failure(error)))
                    }
                    None => {
                        watch.note_end();
                        None
                    }
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Bytes(bytes) => bytes.is_none(),
            Content::Stream { remaining, .. } => *remaining == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Bytes(bytes) => SizeHint::with_exact(
                bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            ),
            Content::Stream { remaining: Some(left), .. } => SizeHint::with_exact(*left),
            Content::Stream { remaining: None, .. } => SizeHint::new(),
        }
    }
}

/// Takes a piece off what remains; more than was announced is an error, since the registry would read it as a request.
fn count(bytes: Bytes, remaining: &mut Option<u64>, watch: &Watch) -> io::Result<Option<Frame<Bytes>>> {
    watch.note_moved();
    if let Some(left) = remaining {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(rest) = left.checked_sub(length) else {
            return Err(watch.note_failure(io::Error::other("the content is longer than announced")));
        };
        *left = rest;
        if rest == 0 {
            watch.note_end();
        }
    }
    Ok(Some(Frame::data(bytes)))
}
