//! When output that comes in many small pieces is left to gather, so that it is read and logged in few large ones.
//!
//! ```text
//! pieces far apart        read at once, each by itself
//! many close together     read, then not looked at for a millisecond ─┐
//!         ▲                                                           │ the pipe holds a megabyte meanwhile
//!         └── something was there ◄───────────────────────────────────┘
//! nothing was there, or the pipe was half full: read at once again
//! ```
//!
//! A program that prints a thousand lines in a millisecond would wake us a thousand times otherwise, and every time cost
//! what a whole batch costs. A prompt, or the answer to a key, is never the one of many that waits.

use std::time::{Duration, Instant};

/// How long pieces gather; also how close together they are when that is worth it.
const GATHER: Duration = Duration::from_millis(1);
/// So many pieces have to come close together.
const MANY: u32 = 8;
/// What a pipe holds while pieces gather in it: as much as anybody may ask for (proc_sys_fs(5), pipe-max-size).
pub(super) const ROOM: usize = 1024 * 1024;
/// What a pipe holds by itself (pipe(7)).
pub(super) const USUAL_ROOM: usize = 64 * 1024;

/// How one output flows.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Flow {
    last: Option<Instant>,
    close_together: u32,
    until: Option<Instant>,
}

impl Flow {
    /// Until when the output is not looked at.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether so many pieces came close together that they are left to gather.
    pub(super) fn is_dense(&self) -> bool {
        self.close_together >= MANY
    }

    /// So many bytes were read from a pipe that holds `room`, until nothing was left.
    pub(super) fn read(&mut self, bytes: usize, room: usize, now: Instant) {
        let is_close = self.last.is_some_and(|last| now.saturating_duration_since(last) <= GATHER);
        let has_gathered = self.until.take().is_some();
        self.close_together = match (is_close || has_gathered) && bytes > 0 {
            true => self.close_together.saturating_add(1),
            false => 0,
        };
        self.last = Some(now);
        if self.is_dense() && bytes < room / 2 {
            self.until = Some(now + GATHER);
        }
    }

    /// The output is looked at again, whatever comes.
    pub(super) fn wake(&mut self) {
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` at each of these microseconds; which of them are followed by a pause.
    fn pauses(reads: &[(u64, usize)]) -> Vec<u64> {
        let begin = Instant::now();
        let mut flow = Flow::default();
        let mut found = Vec::new();
        for (micros, bytes) in reads {
            flow.read(*bytes, USUAL_ROOM, begin + Duration::from_micros(*micros));
            found.extend(flow.until().map(|_| *micros));
        }
        found
    }

    #[test]
    fn only_many_pieces_close_together_gather() {
        let dense: Vec<_> = (0..12).map(|piece| (piece * 100, 80)).collect();
        assert_eq!(pauses(&dense), [800, 900, 1000, 1100]);
        let sparse: Vec<_> = (0..50).map(|piece| (piece * 2000, 80)).collect();
        assert!(pauses(&sparse).is_empty());
    }

    #[test]
    fn gathering_ends_when_nothing_comes_or_very_much() {
        let mut reads: Vec<_> = (0..9).map(|piece| (piece * 100, 80)).collect();
        // After a pause of a little more than a millisecond there is more; then nothing; then one piece.
        reads.extend([(1900, 500), (3000, 0), (3100, 80)]);
        assert_eq!(pauses(&reads), [800, 1900]);
        let mut full: Vec<_> = (0..9).map(|piece| (piece * 100, 80)).collect();
        full.push((1900, USUAL_ROOM / 2));
        assert_eq!(pauses(&full), [800]);
    }
}
