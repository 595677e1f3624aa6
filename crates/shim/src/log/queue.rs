//! Which files of a log are read, and from which place on.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::blocks::{self, Entrance};
use super::followers::{Follower, Lent};
use super::identity::{self, Identity, Position};
use super::line;
use super::notes::{self, Nanos, Notes};
use super::reader::Query;
use super::source::Source;
use super::{Error, files, seek};
use crate::timestamp::Timestamp;

/// How often the files are listed anew when they are rotated meanwhile.
const ATTEMPTS: usize = 5;

/// A file to be read from a place on.
pub(super) enum Segment {
    Plain {
        file: File,
        offset: u64,
    },
    /// Entered at a member; then the content before `offset` is left out, and `skip` lines of output.
    Compressed {
        file: File,
        entrance: Entrance,
        skip: u64,
        offset: u64,
    },
    /// One that was lent; opened when its turn comes.
    Lent(Lent),
}

impl Segment {
    /// Which file its content was written to.
    /// `None` for one that was lent and is gone.
    pub(super) fn identity(&self) -> io::Result<Option<Identity>> {
        match self {
            Self::Plain { file, .. } => identity::of(file).map(Some),
            Self::Compressed { file, .. } => {
                identity::compressed(file)?.map_or_else(|| identity::of(file), Ok).map(Some)
            }
            Self::Lent(lent) => match lent.open()? {
                Some(segment) => segment.identity(),
                None => Ok(None),
            },
        }
    }

    /// Where it was lent.
    fn lent_path(&self) -> Option<PathBuf> {
        if let Self::Lent(lent) = self { Some(lent.path.clone()) } else { None }
    }

    /// The latest time that its lines go back from, when they do.
    pub(super) fn goes_back_from(&self) -> io::Result<Option<Nanos>> {
        let notes = match self {
            Self::Plain { file, .. } => Notes::read(file),
            Self::Compressed { file, .. } => identity::origin(file)?.and_then(|(_, notes)| notes),
            Self::Lent(lent) => return lent.open()?.map_or(Ok(None), |segment| segment.goes_back_from()),
        };
        Ok(notes.and_then(|notes| notes.back).map(|back| back.latest))
    }

    /// A file to be read from its beginning.
    fn whole(file: File, compressed: bool) -> Self {
        if compressed {
            Self::Compressed { file, entrance: Entrance::default(), skip: 0, offset: 0 }
        } else {
            Self::Plain { file, offset: 0 }
        }
    }
}

impl Lent {
    /// Opens it; `None` when it is gone.
    pub(super) fn open(&self) -> io::Result<Option<Segment>> {
        Ok(open(&self.path)?.map(|file| Segment::whole(file, self.compressed)))
    }
}

/// What became of a file that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    /// It is there, under another name or compressed.
    Found,
    /// It has been removed. As older files go first, all that are there are newer.
    Gone,
    /// It may be a compressed file that does not say what it was.
    Unknown,
}

/// Does something with the files of a log again when they were rotated meanwhile: names that are moved on while they are
/// read would hide files, or show some twice.
pub(super) fn steadily<T>(path: &Path, mut work: impl FnMut(&Path) -> io::Result<T>) -> Result<T, Error> {
    let mut before = shape(path)?;
    let mut done = work(path).map_err(Error::file("read", path))?;
    for _ in 1..ATTEMPTS {
        let after = shape(path)?;
        if after == before && after.0.is_some() || after.0.is_none() && after.1.is_empty() {
            break;
        }
        before = after;
        done = work(path).map_err(Error::file("read", path))?;
    }
    Ok(done)
}

/// What follows a file that has been read.
pub(super) struct Newer {
    /// The files that are newer, oldest first.
    pub(super) files: VecDeque<Segment>,
    /// What became of the one that was read.
    pub(super) trace: Trace,
    /// Files that were lent and are not needed any more.
    pub(super) returned: Vec<PathBuf>,
}

/// The files that are newer than `here`. `newest` is the current one when it is open already; `follower` is who was lent what
/// has been taken away.
pub(super) fn newer(
    path: &Path,
    here: Identity,
    newest: Option<File>,
    follower: Option<&Follower>,
) -> io::Result<Newer> {
    let (mut files, trace) = kept(path, here, newest)?;
    let mut newer = Newer { files: VecDeque::new(), trace, returned: Vec::new() };
    let mut is_lent = false;
    for lent in follower.map(Follower::lent).transpose()?.into_iter().flatten() {
        let segment = Segment::Lent(lent);
        if is_lent {
            newer.files.push_back(segment);
            continue;
        }
        is_lent = segment.identity()? == Some(here);
        newer.returned.extend(segment.lent_path());
    }
    if is_lent {
        newer.trace = Trace::Found;
        // A rotation under way: the file is lent, and not yet taken away.
        let last = newer.files.back().map(Segment::identity).transpose()?.flatten();
        if let Some(first) = files.front().filter(|_| last.is_some())
            && first.identity()? == last
        {
            files.pop_front();
        }
    }
    newer.files.append(&mut files);
    Ok(newer)
}

/// The file that is written now.
pub(super) fn current(path: &Path) -> io::Result<VecDeque<Segment>> {
    Ok(open(path)?.map(|file| Segment::whole(file, false)).into_iter().collect())
}

/// Every file of a log that came into being after it was opened, with those that were lent since.
pub(super) fn since_its_beginning(path: &Path, follower: Option<&Follower>) -> io::Result<VecDeque<Segment>> {
    let lent = follower.map(Follower::lent).transpose()?.into_iter().flatten();
    let mut files: VecDeque<Segment> = lent.map(Segment::Lent).collect();
    let last = files.back().map(Segment::identity).transpose()?.flatten();
    for rotated in files::rotated(path)? {
        let Some(file) = open(&rotated.path)? else { continue };
        let segment = Segment::whole(file, rotated.compressed);
        if last.is_none() || segment.identity()? != last {
            files.push_back(segment);
        }
    }
    files.extend(open(path)?.map(|file| Segment::whole(file, false)));
    Ok(files)
}

/// The files that are newer than `here` and have not been taken away, and what became of it.
fn kept(path: &Path, here: Identity, newest: Option<File>) -> io::Result<(VecDeque<Segment>, Trace)> {
    let newest = match newest {
        Some(file) => Some(file),
        None => open(path)?,
    };
    let mut newer = VecDeque::new();
    if let Some(file) = newest {
        if identity::of(&file)? == here {
            return Ok((newer, Trace::Found));
        }
        newer.push_front(Segment::whole(file, false));
    }
    let mut trace = Trace::Gone;
    for rotated in files::rotated(path)?.into_iter().rev() {
        let Some(file) = open(&rotated.path)? else { continue };
        if rotated.compressed && identity::compressed(&file)?.is_none() {
            trace = Trace::Unknown;
        }
        let segment = Segment::whole(file, rotated.compressed);
        if segment.identity()? == Some(here) {
            return Ok((newer, Trace::Found));
        }
        newer.push_front(segment);
    }
    Ok((newer, trace))
}

/// The files from a place on, and whether the place is there; without it, all files.
pub(super) fn from(path: &Path, position: Position) -> io::Result<(VecDeque<Segment>, bool)> {
    let mut queue = VecDeque::new();
    let current = files::Rotated { number: 0, compressed: false, path: path.to_owned() };
    for candidate in files::rotated(path)?.into_iter().chain([current]).rev() {
        let Some(file) = open(&candidate.path)? else { continue };
        let mut segment = Segment::whole(file, candidate.compressed);
        let is_here = segment.identity()? == Some(position.file);
        match &mut segment {
            Segment::Plain { offset, .. } if is_here => *offset = position.offset,
            Segment::Compressed { file, entrance, offset, .. } if is_here => {
                let table = blocks::table(file)?;
                *entrance = table.map(|table| table.at(position.offset)).unwrap_or_default();
                *offset = position.offset;
            }
            _ => {}
        }
        queue.push_front(segment);
        if is_here {
            return Ok((queue, true));
        }
    }
    Ok((queue, false))
}

/// Opens a file; `None` when it is not there.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The identity of the current file, and the others.
type Shape = (Option<Identity>, Vec<files::Rotated>);

/// What the files are, to notice that they were rotated.
fn shape(path: &Path) -> Result<Shape, Error> {
    let current = match File::open(path) {
        Ok(file) => Some(identity::of(&file).map_err(Error::file("read", path))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::file("open", path)(error)),
    };
    Ok((current, files::rotated(path).map_err(Error::file("list", path))?))
}

/// The files to read, oldest first, each with the place to start from. Looks from the newest file backwards.
pub(super) fn plan(path: &Path, query: &Query) -> io::Result<VecDeque<Segment>> {
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
        let Some(file) = open(&candidate.path)? else { continue };
        let identity = identity::of(&file)?;
        if identities.contains(&identity) {
            continue;
        }
        identities.push(identity);
        let reaches_back = if candidate.compressed {
            let found = place_in_compressed(&file, query.since, &mut wanted)?;
            continued = found.skipped == 0;
            if let Some(entrance) = found.entrance {
                queue.push_front(Segment::Compressed { file, entrance, skip: found.skip, offset: 0 });
            }
            found.reaches_back
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
    let notes = Notes::read(file);
    let older_are_earlier = notes.is_none_or(|notes| notes.before < notes::nanos(since));
    match seek::first_time(file)? {
        Some(first) if first < since => {
            let back = notes.and_then(|notes| notes.back);
            Ok((offset.max(seek::since(file, since, back)?), older_are_earlier))
        }
        _ => Ok((offset, false)),
    }
}

/// Where the wanted lines of a compressed file are.
struct Found {
    /// Where to enter it; `None` when nothing of it is wanted.
    entrance: Option<Entrance>,
    /// Lines of output to leave out from there.
    skip: u64,
    /// Lines of output that come before those that `tail` wants.
    skipped: u64,
    /// Older files are certainly not wanted.
    reaches_back: bool,
}

/// Finds the last `wanted` lines, which are then taken off, and those that are not before `since`.
fn place_in_compressed(file: &File, since: Option<Timestamp>, wanted: &mut Option<u64>) -> io::Result<Found> {
    let table = blocks::table(file)?;
    let mut found = Found { entrance: Some(Entrance::default()), skip: 0, skipped: 0, reaches_back: false };
    if let Some(wanted) = wanted {
        let lines = match &table {
            Some(table) => table.lines(),
            None => lines_of(file.try_clone()?)?,
        };
        found.skipped = lines.saturating_sub(*wanted);
        found.skip = found.skipped;
        *wanted -= lines - found.skipped;
    }
    let Some(table) = table else { return Ok(found) };
    let (after_lines, skip) = table.after_lines(found.skipped);
    (found.entrance, found.skip) = (Some(after_lines), skip);
    if let Some(since) = since {
        let notes = identity::origin(file)?.and_then(|(_, notes)| notes);
        let older_are_earlier = notes.is_none_or(|notes| notes.before < notes::nanos(since));
        found.reaches_back = older_are_earlier && table.begins_before(since);
        match table.since(since) {
            None => found.entrance = None,
            // A block behind the one in which the last line is left out: all that `tail` leaves out is before it.
            Some(first) if first.content > after_lines.content => {
                (found.entrance, found.skip) = (Some(first), 0);
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

/// How many lines of output end in a compressed file without a table.
fn lines_of(file: File) -> io::Result<u64> {
    let mut source = Source::compressed(file, Entrance::default())?;
    let mut lines = 0;
    while let Some(line) = source.next_line()? {
        lines += u64::from(line::ends_output_line(line));
    }
    Ok(lines)
}
