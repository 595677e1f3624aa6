//! The file that is written: appended to in whole lines, and put aside when it is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::compress::Job;
use super::notes::{self, Back, Nanos, Notes, Order};
use super::{files, followers, seek};
use crate::timestamp::Timestamp;

/// Bytes after which a rotation that failed is tried again.
const RETRY: u64 = 64 * 1024;

/// The current file of a log, and what happens when it is full.
pub(super) struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    /// Bytes after which a new file is begun.
    max_size: u64,
    /// The size at which rotation is tried: `max_size`, or more after it has failed.
    rotate_at: u64,
    /// How many files are kept, the current one included.
    max_file: u32,
    compress: bool,
    job: Option<Job>,
    /// What the current file says about itself.
    notes: Notes,
    /// Lines of output that have ended since the log began; `None` when an earlier shim did not tell.
    lines: Option<u64>,
    order: Order,
}

/// A batch that could not be written as a whole.
pub(super) struct Short {
    /// How many of its lines are not in the file.
    pub(super) lost_lines: u64,
    pub(super) error: io::Error,
}

impl Rotating {
    /// Opens the file at `path`, behind what is there; a line that was cut by a crash is ended first.
    pub(super) fn open(
        path: &Path,
        max_size: Option<u64>,
        max_file: u32,
        compress: bool,
    ) -> io::Result<Self> {
        let mut file = open_file(path)?;
        let mut size = file.seek(SeekFrom::End(0))?;
        if size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        let (notes, lines, latest) = so_far(&file, size)?;
        notes.write(&file);
        let max_size = max_size.unwrap_or(u64::MAX);
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            max_size,
            rotate_at: max_size,
            max_file: max_file.max(1),
            compress,
            job: None,
            notes,
            lines,
            order: Order::new(latest, size),
        })
    }

    /// Whether the current file, with `pending` more bytes, has reached its size.
    pub(super) fn is_full_with(&self, pending: usize) -> bool {
        self.size.saturating_add(pending as u64) >= self.rotate_at
    }

    /// Takes note of a line, or a part of one, that is going to be appended after `pending` bytes.
    pub(super) fn note(&mut self, pending: usize, time: Timestamp, ends_line: bool) {
        if ends_line {
            self.lines = self.lines.map(|lines| lines + 1);
        }
        let offset = self.size + pending as u64;
        let Some(latest) = self.order.add(offset, notes::nanos(time)) else { return };
        if self.notes.back.is_none_or(|back| back.latest < latest) {
            let offset = self.notes.back.map_or(offset, |back| back.offset);
            self.notes.back = Some(Back { offset, latest });
            self.notes.write(&self.file);
        }
    }

    /// Nothing more is written to the current file.
    pub(super) fn end(&mut self) {
        (self.notes.end, self.notes.latest) = (self.lines, self.order.latest());
        self.notes.write(&self.file);
    }

    /// Appends whole lines. On failure the file keeps only whole lines.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), Short> {
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return Err(self.cut(lines, written, io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut(lines, written, error)),
            }
        }
        self.size += written as u64;
        Ok(())
    }

    /// Takes a line back that is only partly written, and counts what is missing.
    fn cut(&mut self, lines: &[u8], written: usize, error: io::Error) -> Short {
        let whole = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lost_lines = lines[whole..].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.size += whole as u64;
        if written > whole && self.file.set_len(self.size).is_err() {
            self.size += (written - whole) as u64;
        }
        Short { lost_lines, error }
    }

    /// Puts the current file aside and begins a new one; the oldest one goes when there are too many.
    ///
    /// When that fails, writing goes on in the current file, and rotation is tried again some lines later.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        self.rotate_at = self.size.saturating_add(RETRY);
        if let Some(job) = self.job.take() {
            // The container writes faster than we compress: it has to wait, or files would pile up.
            job.complete()?;
        }
        // The new file exists before anything moves: a full disk leaves everything as it is.
        let next = files::next(&self.path);
        absent_is_fine(fs::remove_file(&next))?;
        let file = open_file(&next)?;
        self.end();
        let before = self.order.latest();
        let notes = Notes { first: self.lines, before, ..Notes::FIRST };
        notes.write(&file);
        if let Err(error) = self.put_aside(&next) {
            self.notes.end = None;
            self.notes.write(&self.file);
            return Err(error);
        }
        (self.file, self.size, self.rotate_at) = (file, 0, self.max_size);
        (self.notes, self.order) = (notes, Order::new(before, 0));
        if self.compress && self.max_file > 1 {
            self.job = Some(Job::begin(&files::numbered(&self.path, 1))?);
        }
        Ok(())
    }

    /// Gives the new file the name of the current one, which becomes the youngest of the old ones.
    fn put_aside(&self, next: &Path) -> io::Result<()> {
        if self.max_file > 1 {
            self.shift()?;
            fs::rename(&self.path, files::numbered(&self.path, 1))?;
        } else {
            self.lend(&self.path);
        }
        fs::rename(next, &self.path)
    }

    /// Lends a file that is about to go. Who is not lent it counts its lines as lost.
    fn lend(&self, file: &Path) {
        drop(followers::lend(&self.path, file, self.max_size));
    }

    /// Makes every rotated file one older, and removes what is too old.
    fn shift(&self) -> io::Result<()> {
        for number in (1..self.max_file).rev() {
            let (from, to) = (files::numbered(&self.path, number), files::numbered(&self.path, number + 1));
            for (from, to) in [(files::compressed(&from), files::compressed(&to)), (from, to)] {
                let oldest = number == self.max_file - 1;
                if oldest {
                    self.lend(&from);
                }
                absent_is_fine(if oldest { fs::remove_file(from) } else { fs::rename(from, to) })?;
            }
        }
        Ok(())
    }

    /// Goes on with compressing; `false` when there is nothing to do.
    pub(super) fn work(&mut self) -> io::Result<bool> {
        if let Some(job) = self.job.take() {
            self.job = job.step()?;
        }
        Ok(self.job.is_some())
    }
}

/// What the current file says about itself, how many lines there were, and the latest time, as an earlier shim left them.
fn so_far(file: &File, size: u64) -> io::Result<(Notes, Option<u64>, Nanos)> {
    let known = Notes::read(file);
    let (lines, latest) = match known {
        None if size == 0 => (Some(0), Nanos::MIN),
        Some(notes) if notes.end.is_some() => (notes.end, notes.latest),
        Some(notes) if size == 0 => (notes.first, notes.before),
        // It was killed.
        _ => (None, seek::last_time(file)?.map_or(Nanos::MIN, notes::nanos)),
    };
    let unknown = Notes { first: None, ..Notes::FIRST };
    let notes = known.unwrap_or(if size == 0 { Notes::FIRST } else { unknown });
    Ok((Notes { end: None, ..notes }, lines, latest))
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
