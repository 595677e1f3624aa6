//! Reading a log back from disk: from the end, by time, and following it across rotation.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use linux::watch::DirWatch;

use super::line::{self, Entry};
use super::source::{self, Identity, Source};
use super::{Error, files, seek};
use crate::timestamp::Timestamp;

/// How often the files are listed anew when they are rotated meanwhile.
const ATTEMPTS: usize = 5;

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
    /// Lines of output to leave out of the current source.
    skip: u64,
    /// The current file has been put aside, and was read once more after that was seen.
    put_aside: bool,
    /// Entries up to this time were handed out before the place was lost; they are not handed out again.
    seen: Option<Timestamp>,
    last_time: Option<Timestamp>,
    /// For each stream, whether its last entry was a part without the line's end.
    within_line: [bool; 2],
    over: bool,
}

/// A file to be read from a place on.
enum Segment {
    Plain { file: File, offset: u64 },
    Compressed { file: File, skip: u64 },
}

impl Reader {
    /// Finds the place in the files at `path` (and `path.1`, …) where the wanted entries begin.
    ///
    /// Costs what the place's search costs, not what the files hold. A log that does not exist yet is empty.
    pub fn open(path: &Path, query: &Query) -> Result<Self, Error> {
        let mut queue = VecDeque::new();
        for _ in 0..ATTEMPTS {
            let before = shape(path)?;
            queue = plan(path, query).map_err(Error::file("read", path))?;
            if shape(path)? == before {
                break;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            since: query.since,
            until: query.until,
            queue,
            current: None,
            skip: 0,
            put_aside: false,
            seen: None,
            last_time: None,
            within_line: [false; 2],
            over: false,
        })
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
                None if !self.queue.is_empty() => self.current = None,
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
        if self.queue.is_empty() {
            match File::open(&self.path) {
                Ok(file) => self.queue.push_back(Segment::Plain { file, offset: 0 }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        let source = match self.queue.pop_front() {
            Some(Segment::Plain { file, offset }) => Source::plain(file, offset)?,
            Some(Segment::Compressed { file, skip }) => {
                self.skip = skip;
                Source::compressed(file)?
            }
            None => return Ok(false),
        };
        self.current = Some(source);
        self.put_aside = false;
        Ok(true)
    }

    /// At the end of the newest file that we know: whether there is a newer one, or more to read after all.
    fn move_on(&mut self) -> Result<bool, Error> {
        let Some(here) = self.current.as_ref().map(|source| source.identity) else { return Ok(false) };
        let newest = match File::open(&self.path) {
            Ok(file) => file,
            // Between two renames of a rotation; the next change of the directory comes soon.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::file("open", &self.path)(error)),
        };
        if source::identity(&newest).map_err(Error::file("read", &self.path))? == here {
            return Ok(false);
        }
        if !self.put_aside {
            // The last lines may have been written after we saw the end and before it was renamed.
            self.put_aside = true;
            return Ok(true);
        }
        self.queue = self.newer_than(here, newest)?;
        self.current = None;
        Ok(true)
    }

    /// The files after the one we have read, which was put aside meanwhile.
    fn newer_than(&mut self, here: Identity, newest: File) -> Result<VecDeque<Segment>, Error> {
        let mut newest = Some(newest);
        let mut found = (VecDeque::new(), false);
        // Names that are moved on while they are read would hide files, or show some twice.
        for _ in 0..ATTEMPTS {
            let before = shape(&self.path)?;
            found = newer(&self.path, here, newest.take()).map_err(Error::file("list", &self.path))?;
            if shape(&self.path)? == before && before.0.is_some() {
                break;
            }
        }
        if !found.1 {
            // Ours is gone, or has been compressed into a new file: the time tells what is new.
            self.seen = self.last_time;
        }
        Ok(found.0)
    }
}

/// The files that are newer than `here`, oldest first, and whether `here` was still there. `newest` is the current one
/// when it is open already.
fn newer(path: &Path, here: Identity, newest: Option<File>) -> io::Result<(VecDeque<Segment>, bool)> {
    let newest = match newest.map_or_else(|| File::open(path), Ok) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut newer: VecDeque<_> = newest.into_iter().map(|file| Segment::Plain { file, offset: 0 }).collect();
    for rotated in files::rotated(path)?.into_iter().rev() {
        let file = match File::open(&rotated.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if source::identity(&file)? == here {
            return Ok((newer, true));
        }
        newer.push_front(match rotated.compressed {
            true => Segment::Compressed { file, skip: 0 },
            false => Segment::Plain { file, offset: 0 },
        });
    }
    Ok((newer, false))
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

/// The identity of the current file, and the others.
type Shape = (Option<Identity>, Vec<files::Rotated>);

/// What the files are, to notice that they were rotated.
fn shape(path: &Path) -> Result<Shape, Error> {
    let current = match File::open(path) {
        Ok(file) => Some(source::identity(&file).map_err(Error::file("read", path))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::file("open", path)(error)),
    };
    Ok((current, files::rotated(path).map_err(Error::file("list", path))?))
}

/// The files to read, oldest first, each with the place to start from. Looks from the newest file backwards.
fn plan(path: &Path, query: &Query) -> io::Result<VecDeque<Segment>> {
    let mut candidates = files::rotated(path)?;
    candidates.push(files::Rotated { number: 0, compressed: false, path: path.to_owned() });
    let mut queue = VecDeque::new();
    let mut wanted = query.tail;
    let mut identities = Vec::new();
    // Whether all of the next newer file is wanted, so that its first line may have begun in an older one.
    let mut continued = false;
    for candidate in candidates.into_iter().rev() {
        if wanted == Some(0) && candidate.number > 0 && !continued {
            break;
        }
        let file = match File::open(&candidate.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let identity = source::identity(&file)?;
        if identities.contains(&identity) {
            continue;
        }
        identities.push(identity);
        let reaches_back = if candidate.compressed {
            let skip = match &mut wanted {
                None => 0,
                Some(wanted) => skip_in_compressed(file.try_clone()?, wanted)?,
            };
            queue.push_front(Segment::Compressed { file: File::open(&candidate.path)?, skip });
            continued = skip == 0;
            false
        } else {
            let (offset, reaches_back) = place(&file, query.since, &mut wanted, continued)?;
            continued = offset == 0 && file.metadata()?.len() > 0;
            queue.push_front(Segment::Plain { file, offset });
            reaches_back
        };
        if reaches_back {
            break;
        }
    }
    Ok(queue)
}

/// Where to start in a plain file, and whether older files are certainly not wanted.
fn place(
    file: &File,
    since: Option<Timestamp>,
    wanted: &mut Option<u64>,
    continued: bool,
) -> io::Result<(u64, bool)> {
    let mut offset = 0;
    if let Some(wanted) = wanted {
        let (from, found) = seek::last_lines(file, *wanted, continued)?;
        *wanted -= found;
        offset = from;
    }
    let Some(since) = since else { return Ok((offset, false)) };
    let reaches_back = seek::first_time(file)?.is_some_and(|first| first < since);
    Ok((offset.max(seek::since(file, since)?), reaches_back))
}

/// How many lines of output of a compressed file come before the last `wanted`, which are then taken off.
fn skip_in_compressed(file: File, wanted: &mut u64) -> io::Result<u64> {
    let mut source = Source::compressed(file)?;
    let mut lines = 0;
    while let Some(line) = source.next_line()? {
        lines += u64::from(line::ends_output_line(line));
    }
    let skip = lines.saturating_sub(*wanted);
    *wanted -= lines - skip;
    Ok(skip)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
