//! Finding places in a plain log file without reading it all: from the end by lines, and by time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::line::{self, FILE_LINE_LIMIT};
use super::notes::{self, Back};
use crate::timestamp::Timestamp;

pub(super) const BLOCK: u64 = 64 * 1024;
/// How far before the place that was found by time reading starts.
///
/// Times do not only grow: the parts of a long line have the time of its first part, and clocks are set back.
pub(super) const MARGIN: u64 = 256 * 1024;

/// Where the last `wanted` lines of output begin, and how many there are (fewer when the file holds fewer).
///
/// A line of output that is in parts counts once, as does a last one without an end; but when it is `continued` in the
/// next file it has been counted there, and only its parts are added. Reads backwards by blocks.
pub(super) fn last_lines(file: &File, wanted: u64, continued: bool) -> io::Result<(u64, u64)> {
    let end = end_of_lines(file)?;
    if wanted == 0 && !continued || end == 0 {
        return Ok((end, 0));
    }
    let mut found = 0;
    // The line of the file that ends at `next`, and whether it counts even without an end.
    let (mut next, mut last) = (end, !continued);
    let mut back = Backwards { file, start: end, bytes: Vec::new() };
    loop {
        let Some(begin) = back.line_before(next)? else { return Ok((0, found)) };
        let text = back.text(begin, next - 1);
        if last || line::ends_output_line(text) {
            if found == wanted {
                return Ok((next, found));
            }
            found += 1;
        }
        last = false;
        back.forget_after(begin);
        next = begin;
    }
}

/// Where to start reading for lines that are not before `since`; some lines that are come first. Behind the place from which
/// times go back, a line of any time up to the latest before it may follow.
pub(super) fn since(file: &File, since: Timestamp, back: Option<Back>) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let ordered = back.filter(|back| notes::nanos(since) <= back.latest).map(|back| back.offset);
    let (mut low, mut high) = (0, ordered.map_or(length, |offset| offset.min(length)));
    // Invariant: a line that begins before `low` is too early, one that begins at `high` or later is not.
    while high - low > BLOCK {
        let middle = low + (high - low) / 2;
        match first_time_after(file, middle, high)? {
            Some(time) if time < since => low = middle,
            _ => high = middle,
        }
    }
    let from = low.saturating_sub(MARGIN);
    Ok(if from == 0 { 0 } else { line_begin_after(file, from)? })
}

/// The time of the last line; `None` when there is none.
pub(super) fn last_time(file: &File) -> io::Result<Option<Timestamp>> {
    first_time_from(file, last_lines(file, 1, false)?.0, u64::MAX)
}

/// The time of the first line; `None` when there is none.
pub(super) fn first_time(file: &File) -> io::Result<Option<Timestamp>> {
    first_time_from(file, 0, u64::MAX)
}

/// The time of the first whole line that begins after `offset`, looking no further than `end`.
fn first_time_after(file: &File, offset: u64, end: u64) -> io::Result<Option<Timestamp>> {
    first_time_from(file, line_begin_after(file, offset)?, end)
}

/// The time of the first whole line from `at` on, where one begins, looking no further than `end`.
fn first_time_from(file: &File, mut at: u64, end: u64) -> io::Result<Option<Timestamp>> {
    let mut bytes = Vec::new();
    while at < end && bytes.len() <= FILE_LINE_LIMIT {
        let length = bytes.len();
        bytes.resize(length + 4096, 0);
        let count = file.read_at(&mut bytes[length..], at)?;
        bytes.truncate(length + count);
        if count == 0 {
            break;
        }
        at += count as u64;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        if let Some(time) = bytes[..whole].split(|byte| *byte == b'\n').find_map(line::time) {
            return Ok(Some(time));
        }
    }
    Ok(None)
}

/// The beginning of the first line that begins after `offset`; the file's length when there is none.
fn line_begin_after(file: &File, offset: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 4096];
    let mut at = offset;
    loop {
        let count = file.read_at(&mut buffer, at)?;
        if count == 0 {
            return Ok(at);
        }
        if let Some(end) = buffer[..count].iter().position(|byte| *byte == b'\n') {
            return Ok(at + end as u64 + 1);
        }
        at += count as u64;
    }
}

/// The offset after the last `\n`: what follows is torn, or still being written.
fn end_of_lines(file: &File) -> io::Result<u64> {
    let mut at = file.metadata()?.len();
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(usize::MAX)];
    while at > 0 {
        let start = at.saturating_sub(BLOCK);
        let block = &mut buffer[..usize::try_from(at - start).unwrap_or(0)];
        file.read_exact_at(block, start)?;
        if let Some(end) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + end as u64 + 1);
        }
        at = start;
    }
    Ok(0)
}

/// A window of the file that grows towards its beginning.
struct Backwards<'a> {
    file: &'a File,
    /// The offset of the first byte of `bytes`.
    start: u64,
    bytes: Vec<u8>,
}

impl Backwards<'_> {
    /// Where the line that ends before `end` begins; `None` when `end` is the beginning of the file.
    ///
    /// The bytes of a line longer than the limit are not kept.
    fn line_before(&mut self, end: u64) -> io::Result<Option<u64>> {
        if end == 0 {
            return Ok(None);
        }
        // Behind this offset there is no end of an earlier line: `end - 1` is the end of this one.
        let mut limit = end - 1;
        loop {
            let known = usize::try_from(limit.saturating_sub(self.start)).unwrap_or(0);
            if let Some(before) = self.bytes[..known].iter().rposition(|byte| *byte == b'\n') {
                return Ok(Some(self.start + before as u64 + 1));
            }
            if self.start == 0 {
                return Ok(Some(0));
            }
            limit = limit.min(self.start);
            if self.bytes.len() > FILE_LINE_LIMIT {
                self.bytes.clear();
            }
            self.grow()?;
        }
    }

    fn grow(&mut self) -> io::Result<()> {
        let start = self.start.saturating_sub(BLOCK);
        let mut bytes = vec![0; usize::try_from(self.start - start).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, start)?;
        bytes.append(&mut self.bytes);
        (self.start, self.bytes) = (start, bytes);
        Ok(())
    }

    /// The bytes from `begin` to `end`, both inside the window.
    fn text(&self, begin: u64, end: u64) -> &[u8] {
        let at = |offset: u64| usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.get(at(begin)..at(end)).unwrap_or_default()
    }

    fn forget_after(&mut self, end: u64) {
        self.bytes.truncate(usize::try_from(end.saturating_sub(self.start)).unwrap_or(0));
    }
}
