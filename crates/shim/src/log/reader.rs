//! Reading a log back from disk: from the end, by time, and following it across rotation.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use linux::watch::DirWatch;

use super::followers::Follower;
use super::identity::{self, Identity, Position};
use super::line::{self, Entry};
use super::queue::{self, Newer, Segment, Trace};
use super::source::Source;
use super::{Error, notes, seek};
use crate::timestamp::Timestamp;

/// Which entries are wanted. `tail` is applied first, as in Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query {
    /// Only the last so many lines of output; a long line that is stored in parts counts once.
    pub tail: Option<u64>,
    /// Only entries of this time or later.
    pub since: Option<Timestamp>,
    /// Only entries of this time or earlier. The first later one ends the reading when it follows the log; else reading goes on
    /// for as long as an earlier one may follow.
    pub until: Option<Timestamp>,
}

/// Lines that were removed by rotation before they could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// So many lines of output have ended in them.
    pub lines: u64,
    /// There are others that nobody has counted.
    pub uncounted: bool,
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
    /// Who is lent what is taken away before it is read.
    follower: Option<Follower>,
    /// Lines of output up to the end of the file that was left.
    end: Option<u64>,
    /// Files may be missing between the one that was left and the next.
    gap: bool,
    lost: Lost,
    /// What is written later is waited for.
    is_followed: bool,
    /// An entry after `until` was met.
    passed: Option<Passed>,
}

/// How far entries are still looked at after the first that is later than wanted.
#[derive(Clone, Copy)]
enum Passed {
    /// Up to this offset of the same file: all behind it are later as well.
    Within(u64),
    /// To the end: the clock was set back.
    All,
}

impl Reader {
    /// Finds the place in the files at `path` (and `path.1`, …) where the wanted entries begin.
    ///
    /// Costs what the place's search costs, not what the files hold. A log that does not exist yet is empty.
    pub fn open(path: &Path, query: &Query) -> Result<Self, Error> {
        let queue = queue::steadily(path, |path| queue::plan(path, query))?;
        Ok(Self { since: query.since, until: query.until, ..Self::new(path, queue) })
    }

    /// The same for [`Self::follow`]: files that rotation takes away from now on stay until they are read, up to 64 MiB of them.
    pub fn open_to_follow(path: &Path, query: &Query) -> Result<Self, Error> {
        // Where that is not possible, on a disk that is full, what is lost is counted all the same.
        let follower = Follower::begin(path).ok();
        Ok(Self { follower, ..Self::open(path, query)? })
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
            follower: None,
            end: None,
            gap: false,
            lost: Lost::default(),
            is_followed: false,
            passed: None,
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
            self.next_source()?;
        }
        let Some(here) = self.current.as_ref().map(|source| source.identity) else { return Ok(()) };
        let last = match self.queue.back() {
            None => here,
            Some(segment) => segment.identity().map_err(Error::file("read", &self.path))?.unwrap_or(here),
        };
        let newer = self.newer_than(last, None)?;
        self.queue.extend(newer.files);
        self.held = true;
        Ok(())
    }

    /// The next wanted entry; `None` when there is no more now. Lines that are torn or foreign are left out.
    pub fn read(&mut self) -> Result<Option<Entry>, Error> {
        while !self.over {
            if self.current.is_none() && !self.next_source()? {
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

    /// What was removed before the next entry, or before the one that was read last; since this was asked before.
    pub fn take_lost(&mut self) -> Option<Lost> {
        let lost = std::mem::take(&mut self.lost);
        (lost != Lost::default()).then_some(lost)
    }

    /// Goes on with what is written later: see [`Follow`].
    pub fn follow(self) -> Result<Follow, Error> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let watch = DirWatch::new(directory)?;
        Ok(Follow { watch, reader: Self { is_followed: true, ..self } })
    }

    /// Marks where its line begins, and drops what is not wanted.
    fn admit(&mut self, mut entry: Entry) -> Option<Entry> {
        let within = &mut self.within_line[entry.stream.index()];
        entry.begins_line = !std::mem::replace(within, !entry.ends_line);
        if let Some(until) = self.until.filter(|until| entry.time > *until) {
            self.pass(until);
            return None;
        }
        if self.seen.is_some_and(|seen| entry.time <= seen)
            || self.since.is_some_and(|since| entry.time < since)
        {
            return None;
        }
        self.last_time = Some(entry.time);
        Some(entry)
    }

    /// An entry is later than what is wanted.
    fn pass(&mut self, until: Timestamp) {
        let place = self.position().map_or(0, |position| position.offset);
        match self.passed {
            _ if self.is_followed => self.over = true,
            Some(Passed::Within(limit)) => self.over = place > limit,
            Some(Passed::All) => {}
            None => {
                let until = notes::nanos(until);
                let current = self.current.as_ref().and_then(Source::notes).and_then(|notes| notes.back);
                // A file that cannot be read is told when its turn comes.
                let later = self.queue.iter().filter_map(|segment| segment.goes_back_from().ok().flatten());
                let goes_back = later.chain(current.map(|back| back.latest)).any(|latest| latest > until);
                self.passed =
                    Some(if goes_back { Passed::All } else { Passed::Within(place + seek::MARGIN) });
            }
        }
    }

    /// Opens the next file of the queue, or the first one of a log that came into being.
    fn next_source(&mut self) -> Result<bool, Error> {
        if self.queue.is_empty() && !self.held {
            let follower = self.follower.as_ref();
            self.queue = match self.place {
                None => queue::steadily(&self.path, |path| queue::since_its_beginning(path, follower))?,
                Some(_) => queue::current(&self.path).map_err(Error::file("open", &self.path))?,
            };
        }
        self.open_next().map_err(Error::file("open", &self.path))
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let source = match self.queue.pop_front() {
            Some(Segment::Plain { file, offset }) => Source::plain(file, offset)?,
            Some(Segment::Lent(lent)) => {
                match lent.open()? {
                    Some(segment) => self.queue.push_front(segment),
                    None => self.gap = true,
                }
                return self.open_next();
            }
            Some(Segment::Compressed { file, entrance, skip, offset }) => {
                self.skip = skip;
                let mut source = Source::compressed(file, entrance)?;
                source.pass(offset)?;
                source
            }
            None => return Ok(false),
        };
        self.count_lost(source.notes().and_then(|notes| notes.first));
        self.current = Some(source);
        self.put_aside = false;
        Ok(true)
    }

    /// A file is begun before which so many lines of output have ended.
    fn count_lost(&mut self, first: Option<u64>) {
        let gap = std::mem::take(&mut self.gap);
        match (self.end.take(), first) {
            (Some(end), Some(first)) if first >= end => self.lost.lines += first - end,
            _ => self.lost.uncounted |= gap,
        }
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
        let newer = self.newer_than(here, Some(newest))?;
        match newer.trace {
            Trace::Unknown => self.seen = self.last_time,
            Trace::Gone => self.gap = true,
            Trace::Found => {}
        }
        self.queue = newer.files;
        self.leave();
        for path in newer.returned {
            // It goes with the others when the reader does.
            drop(std::fs::remove_file(path));
        }
        Ok(true)
    }

    /// Is done with the current file.
    fn leave(&mut self) {
        self.over |= matches!(self.passed, Some(Passed::Within(_)));
        self.place = self.position();
        let left = self.current.take();
        self.end = left.and_then(|source| source.notes()).and_then(|notes| notes.end);
    }

    /// The files after the one we have read, which was put aside meanwhile.
    fn newer_than(&self, here: Identity, newest: Option<File>) -> Result<Newer, Error> {
        let (mut newest, follower) = (newest, self.follower.as_ref());
        queue::steadily(&self.path, |path| queue::newer(path, here, newest.take(), follower))
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

    /// See [`Reader::take_lost`].
    pub fn take_lost(&mut self) -> Option<Lost> {
        self.reader.take_lost()
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
