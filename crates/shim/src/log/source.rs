//! A file of the log, read line by line from an offset: plain or compressed, with bounded memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;

use super::blocks::Entrance;
use super::identity::{self, Identity, Position};
use super::line::FILE_LINE_LIMIT;
use super::notes::Notes;
use super::scan;

const READ: usize = 64 * 1024;

/// A file being read.
pub(super) struct Source {
    input: Input,
    /// Which file the content was written to.
    pub(super) identity: Identity,
    /// Where in the content `buffer` begins.
    start: u64,
    buffer: Vec<u8>,
    /// The part of `buffer` that has been handed out.
    used: usize,
    /// The current line is too long: bytes are dropped up to its end.
    skipping: bool,
    /// What a compressed file says about its content.
    notes: Option<Notes>,
}

enum Input {
    Plain(File),
    Compressed(Box<MultiGzDecoder<File>>),
}

impl Source {
    /// Reads a plain file from `offset`, which is the beginning of a line.
    pub(super) fn plain(mut file: File, offset: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        let identity = identity::of(&file)?;
        Ok(Self::new(Input::Plain(file), identity, offset, None))
    }

    /// Reads a compressed file from a member on, up to which its content has so many bytes.
    pub(super) fn compressed(mut file: File, entrance: Entrance) -> io::Result<Self> {
        let (identity, notes) = match identity::origin(&file)? {
            Some(origin) => origin,
            None => (identity::of(&file)?, None),
        };
        file.seek(SeekFrom::Start(entrance.compressed))?;
        let decoder = Box::new(MultiGzDecoder::new(file));
        Ok(Self::new(Input::Compressed(decoder), identity, entrance.content, notes))
    }

    /// Leaves out what comes before an offset of the content.
    pub(super) fn pass(&mut self, offset: u64) -> io::Result<()> {
        let Input::Compressed(decoder) = &mut self.input else { return Ok(()) };
        let ahead = offset.saturating_sub(self.start);
        self.start += io::copy(&mut decoder.by_ref().take(ahead), &mut io::sink())?;
        Ok(())
    }

    fn new(input: Input, identity: Identity, start: u64, notes: Option<Notes>) -> Self {
        Self { input, identity, start, buffer: Vec::new(), used: 0, skipping: false, notes }
    }

    /// What the file says about itself now.
    pub(super) fn notes(&self) -> Option<Notes> {
        match &self.input {
            Input::Plain(file) => Notes::read(file),
            Input::Compressed(_) => self.notes,
        }
    }

    /// The place after the last line that was handed out.
    pub(super) fn position(&self) -> Position {
        Position { file: self.identity, offset: self.start + self.used as u64 }
    }

    /// The next whole line without its `\n`; `None` at the end of what is there now.
    ///
    /// A last line without its end is kept until more comes. A line longer than the limit is left out.
    pub(super) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.used;
        loop {
            let found = scan::line_end(&self.buffer[searched..]);
            if let Some(length) = found {
                let (start, end) = (self.used, searched + length);
                self.used = end + 1;
                searched = self.used;
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                return Ok(Some(&self.buffer[start..end]));
            }
            if self.skipping || self.buffer.len() - self.used > FILE_LINE_LIMIT {
                self.skipping = true;
                self.used = self.buffer.len();
            }
            self.buffer.drain(..self.used);
            self.start += self.used as u64;
            self.used = 0;
            searched = self.buffer.len();
            if self.read_more()? == 0 {
                return Ok(None);
            }
        }
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let length = self.buffer.len();
        self.buffer.resize(length + READ, 0);
        let result = loop {
            let result = match &mut self.input {
                Input::Plain(file) => file.read(&mut self.buffer[length..]),
                Input::Compressed(decoder) => decoder.read(&mut self.buffer[length..]),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(length + result.as_ref().map_or(0, |count| *count));
        result
    }
}
