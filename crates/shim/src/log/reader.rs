//! Reading a log back from disk: from the end, by time, and following it across rotation.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use linux::watch::DirWatch;

use super::Error;
use super::identity::{self, Identity, Position};
use super::line::{self, Entry};
use super::queue::{self, Segment, Trace};
use super::source::Source;
use crate::timestamp::Timestamp;

/// Which entries are wanted. `tail` is applied first, as in Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query {
    /// Only the last so many lines of output; a long line that is stored in parts counts once.
    pub tail: Option<u64>,
    /// Only entries of this time or later.
    pub since: Option<Timestamp>,
    /// Only entries of this time or earlier; the first later one ends the reading.
    pub until: Option<Timestamp>,
}

/// Reads the entries of one log in their order, oldest first. Needs the files only, no shim.
pub struct Reader {
    path: PathBuf,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Files that come after the current one.
    queue: VecDeque<Segment>,
    current: Option<Source>,
    /// Where the last file was left, while there is no current one.
    place: Option<Position>,
    /// Lines of output to leave out of the current source.
    skip: u64,
    /// The current file has been put aside, and was read once more after that was seen.
    put_aside: bool,
    /// Entries up to this time were handed out before the place was lost among files of others; they are not handed out
    /// again.
    seen: Option<Timestamp>,
    last_time: Option<Timestamp>,
    /// For each stream, whether its last entry was a part without the line's end.
    within_line: [bool; 2],
    over: bool,
    /// All files that will be read are open: those that have their names now are not asked for.
    held: bool,
}

impl Reader {
    /// Finds the place in the files at `path` (and `path.1`, …) where the wanted entries begin.
    ///
    /// Costs what the place's search costs, not what the files hold. A log that does not exist yet is empty.
    pub fn open(path: &Path, query: &Query) -> Result<Self, Error> {
        let queue = queue::steadily(path, |path| queue::plan(path, query))?;
        Ok(Self { since: query.since, until: query.until, ..Self::new(path, queue) })
    }

    /// Goes on where an earlier reader was, also when the files have been rotated and compressed since. The second value
    /// says whether that place was still there: without it, reading begins with the oldest line.
    pub fn resume(path: &Path, position: Position) -> Result<(Self, bool), Error> {
        let (queue, found) = queue::steadily(path, |path| queue::from(path, position))?;
        Ok((Self { place: Some(position), ..Self::new(path, queue) }, found))
    }

    fn new(path: &Path, queue: VecDeque<Segment>) -> Self {
        Self {
            path: path.to_owned(),
            since: None,
            until: None,
            queue,
            current: None,
            place: None,
            skip: 0,
            put_aside: false,
            seen: None,
            last_time: None,
            within_line: [false; 2],
            over: false,
            held: false,
        }
    }

    /// The place after the last entry, for [`Self::resume`]; `None` when nothing has been read.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.current.as_ref().map(Source::position).or(self.place)
    }

    /// Opens every file that is still to be read: they may be removed afterwards.
    pub fn hold(&mut self) -> Result<(), Error> {
        if self.current.is_none() {
            self.next_source().map_err(Error::file("open", &self.path))?;
        }
        let Some(here) = self.current.as_ref().map(|source| source.identity) else { return Ok(()) };
        let last = match self.queue.back() {
            None => here,
            Some(segment) => segment.identity().map_err(Error::file("read", &self.path))?,
        };
        let (newer, _) = self.newer_than(last, None)?;
        self.queue.extend(newer);
        self.held = true;
        Ok(())
    }

    /// The next wanted entry; `None` when there is no more now. Lines that are torn or foreign are left out.
    pub fn read(&mut self) -> Result<Option<Entry>, Error> {
        while !self.over {
            if self.current.is_none() && !self.next_source().map_err(Error::file("open", &self.path))? {
                return Ok(None);
            }
            let Some(source) = &mut self.current else { return Ok(None) };
            match source.next_line().map_err(Error::file("read", &self.path))? {
                Some(line) if self.skip > 0 => self.skip -= u64::from(line::ends_output_line(line)),
                Some(line) => {
                    let entry = line::decode(line);
                    if let Some(entry) = entry.and_then(|entry| self.admit(entry)) {
                        return Ok(Some(entry));
                    }
                }
                None if !self.queue.is_empty() => self.leave(),
                None => {
                    if !self.move_on()? {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether an entry after `until` was met: nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Goes on with what is written later: see [`Follow`].
    pub fn follow(self) -> Result<Follow, Error> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        Ok(Follow { watch: DirWatch::new(directory)?, reader: self })
    }

    /// Marks where its line begins, and drops what is not wanted.
    fn admit(&mut self, mut entry: Entry) -> Option<Entry> {
        if self.until.is_some_and(|until| entry.time > until) {
            self.over = true;
            return None;
        }
        let within = &mut self.within_line[entry.stream.index()];
        entry.begins_line = !std::mem::replace(within, !entry.ends_line);
        if self.seen.is_some_and(|seen| entry.time <= seen)
            || self.since.is_some_and(|since| entry.time < since)
        {
            return None;
        }
        self.last_time = Some(entry.time);
        Some(entry)
    }

    /// Opens the next file of the queue, or the first one of a log that came into being.
    fn next_source(&mut self) -> io::Result<bool> {
        if self.queue.is_empty() && !self.held {
            match File::open(&self.path) {
                Ok(file) => self.queue.push_back(Segment::Plain { file, offset: 0 }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        let source = match self.queue.pop_front() {
            Some(Segment::Plain { file, offset }) => Source::plain(file, offset)?,
            Some(Segment::Compressed { file, entrance, skip, offset }) => {
                self.skip = skip;
                let mut source = Source::compressed(file, entrance)?;
                source.pass(offset)?;
                source
            }
            None => return Ok(false),
        };
        self.current = Some(source);
        self.put_aside = false;
        Ok(true)
    }

    /// At the end of the newest file that we know: whether there is a newer one, or more to read after all.
    fn move_on(&mut self) -> Result<bool, Error> {
        if self.held {
            return Ok(false);
        }
        let Some(here) = self.current.as_ref().map(|source| source.identity) else { return Ok(false) };
        let newest = match File::open(&self.path) {
            Ok(file) => file,
            // Between two renames of a rotation; the next change of the directory comes soon.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::file("open", &self.path)(error)),
        };
        if identity::of(&newest).map_err(Error::file("read", &self.path))? == here {
            return Ok(false);
        }
        if !self.put_aside {
            // The last lines may have been written after we saw the end and before it was renamed.
            self.put_aside = true;
            return Ok(true);
        }
        let (newer, trace) = self.newer_than(here, Some(newest))?;
        if trace == Trace::Unknown {
            self.seen = self.last_time;
        }
        self.queue = newer;
        self.leave();
        Ok(true)
    }

    /// Is done with the current file.
    fn leave(&mut self) {
        self.place = self.position();
        self.current = None;
    }

    /// The files after the one we have read, which was put aside meanwhile.
    fn newer_than(&self, here: Identity, newest: Option<File>) -> Result<(VecDeque<Segment>, Trace), Error> {
        let mut newest = newest;
        queue::steadily(&self.path, |path| queue::newer(path, here, newest.take()))
    }
}

/// A reader that goes on with what is written later.
///
/// Its descriptor is readable when there may be more: wait for it whenever [`Follow::read`] says `None`. The log does
/// not say when its container has ended; who knows that reads until `None` once more and is done.
pub struct Follow {
    reader: Reader,
    watch: DirWatch,
}

impl Follow {
    /// The next wanted entry; `None` when the descriptor has to be waited for.
    pub fn read(&mut self) -> Result<Option<Entry>, Error> {
        if let Some(entry) = self.reader.read()? {
            return Ok(Some(entry));
        }
        // Changes up to here are covered by reading again; later ones make the descriptor readable.
        if self.watch.take()? { self.reader.read() } else { Ok(None) }
    }

    /// Whether an entry after `until` was met: nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.reader.is_over()
    }
}

impl AsFd for Follow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
