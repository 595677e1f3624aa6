//! How many streams a blob is worth: one where the registry is quick or we are slow, more where each of them is slow.

use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// At most so many streams for one blob.
const MOST: usize = 4;
/// How long is looked before another one is added.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes in a second from which on another stream brings nothing but work.
const QUICK: f64 = 30e6;

/// How quickly a blob comes.
pub(super) struct Pace<'a> {
    since: Instant,
    bytes: u64,
    /// How long the registry was waited for.
    waited: Duration,
    most: usize,
    /// Streams beside the first ones of all blobs of a pull.
    further: &'a Semaphore,
    permits: Vec<SemaphorePermit<'a>>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(further: &'a Semaphore) -> Self {
        Self {
            since: Instant::now(),
            bytes: 0,
            waited: Duration::ZERO,
            most: MOST,
            further,
            permits: Vec::new(),
        }
    }

    /// Counts time in which nothing came. Where it is us who are slow, another stream does not help.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Counts what came. Whether a stream more than the `running` ones is worth it.
    pub(super) fn wants_more(&mut self, bytes: u64, running: usize) -> bool {
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if elapsed < LOOK {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate is compared with a round number")]
        let is_slow = (self.bytes as f64) < QUICK * elapsed.as_secs_f64() && self.waited * 2 > elapsed;
        (self.since, self.bytes, self.waited) = (Instant::now(), 0, Duration::ZERO);
        if !is_slow || running >= self.most {
            return false;
        }
        while self.permits.len() < running {
            let Ok(permit) = self.further.try_acquire() else { return false };
            self.permits.push(permit);
        }
        true
    }

    /// No more streams than so many from now on, because more fail or bring the same.
    pub(super) fn limit(&mut self, streams: usize) {
        self.most = self.most.min(streams).max(1);
        self.permits.truncate(self.most - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_shared_and_limited() {
        let further = Semaphore::new(1);
        let slow = |pace: &mut Pace<'_>, running| {
            pace.since -= LOOK;
            pace.waited(LOOK);
            pace.wants_more(1000, running)
        };
        let (mut one, mut other) = (Pace::new(&further), Pace::new(&further));
        assert!(!one.wants_more(1000, 1), "not looked long enough");
        assert!(slow(&mut one, 1));
        assert!(!slow(&mut other, 1), "the only further stream is taken");
        one.limit(1);
        assert!(slow(&mut other, 1));
        assert!(!slow(&mut one, 1));
        other.since -= LOOK;
        other.waited(LOOK);
        assert!(!other.wants_more(1 << 30, 0), "quick enough");
        other.since -= LOOK;
        assert!(!other.wants_more(1000, 0), "nothing was waited for");
    }
}
