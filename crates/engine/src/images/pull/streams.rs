//! The streams over which one blob comes, polled together in one thread.

use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use oci::image::Descriptor;
use registry::{Blob, Repository, Step};

use super::parts::StreamId;

/// Streams of one blob.
pub(super) struct Streams<'a> {
    remote: &'a Repository,
    blob: &'a Descriptor,
    running: Vec<Stream<'a>>,
    /// Those that have brought all that they were asked for.
    ended: Vec<Blob>,
    /// Which one is looked at first: each has its turn.
    turn: usize,
}

struct Stream<'a> {
    id: StreamId,
    /// Behind the last byte that was asked for.
    end: u64,
    step: Pin<Box<dyn Future<Output = Taken> + Send + 'a>>,
}

/// A stream's next step, and the stream, unless it never began.
type Taken = (Option<Blob>, registry::Result<Step>);

/// What a stream brought.
pub(super) enum Came {
    /// A piece.
    Piece {
        /// Where it belongs.
        at: u64,
        bytes: Bytes,
        /// Whether it is the last one of what was asked for.
        is_last: bool,
        /// Whether all of the blob was sent although a part was asked for.
        is_unasked: bool,
    },
    /// Nothing for so long.
    Pause(Duration),
    /// Nothing more: the stream is gone.
    End,
    /// The stream is gone.
    Failed(registry::Error),
}

impl<'a> Streams<'a> {
    pub(super) fn new(remote: &'a Repository, blob: &'a Descriptor) -> Self {
        Self { remote, blob, running: Vec::new(), ended: Vec::new(), turn: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Begins to ask for a part.
    pub(super) fn start(&mut self, id: StreamId, range: Range<u64>) {
        let (remote, blob, end) = (self.remote, self.blob, range.end);
        let step = Box::pin(async move {
            match remote.blob(blob, range).await {
                Ok(stream) => take_step(stream).await,
                Err(error) => (None, Err(error)),
            }
        });
        self.running.push(Stream { id, end, step });
    }

    /// Asks for no more of a part.
    pub(super) fn stop(&mut self, id: StreamId) {
        self.running.retain(|stream| stream.id != id);
    }

    /// What the next stream brings. There has to be one.
    pub(super) async fn next(&mut self) -> (StreamId, Came) {
        let (place, (stream, step)) = std::future::poll_fn(|context| {
            self.turn += 1;
            let count = self.running.len();
            for place in (0..count).map(|place| (place + self.turn) % count) {
                if let Poll::Ready(taken) = self.running[place].step.as_mut().poll(context) {
                    return Poll::Ready((place, taken));
                }
            }
            Poll::Pending
        })
        .await;
        let (id, end) = (self.running[place].id, self.running[place].end);
        let (stream, step) = match (stream, step) {
            (Some(stream), Ok(step)) => (stream, step),
            (_, Err(error)) => return self.gone(place, Came::Failed(error)),
            (None, Ok(_)) => return self.gone(place, Came::End),
        };
        let came = match step {
            Step::End => {
                self.ended.push(stream);
                return self.gone(place, Came::End);
            }
            Step::Pause(pause) => Came::Pause(pause),
            Step::Piece(bytes) => {
                let behind = stream.position();
                let (at, is_last) = (behind - bytes.len() as u64, behind >= end);
                Came::Piece { at, bytes, is_last, is_unasked: stream.ignores_ranges() }
            }
        };
        self.running[place].step = Box::pin(take_step(stream));
        (id, came)
    }

    fn gone(&mut self, place: usize, came: Came) -> (StreamId, Came) {
        (self.running.remove(place).id, came)
    }

    /// Says that the content was not what its digest says. Whether another endpoint may have it right.
    pub(super) fn distrust(self) -> bool {
        let verdicts: Vec<bool> = self.ended.into_iter().map(Blob::distrust).collect();
        verdicts.last() == Some(&true)
    }
}

async fn take_step(mut stream: Blob) -> Taken {
    let step = stream.step().await;
    (Some(stream), step)
}
