//! Reading tar archives from outside: every header is limited and checked, content is handed on in place.
//!
//! The syntax is `tar-core`'s; the decisions are those of Go's `archive/tar`, because what Docker reads one way must not
//! be read another way here: links, directories and devices have no content whatever their size says, PAX records
//! override header fields, and an archive may end without its two zero blocks.

use std::io::Read;

use tar_core::parse::{Limits as ParseLimits, ParseEvent, Parser};

use super::entry::{Entry, Segment, Sparse, convert};

use crate::error::stream;
use crate::limits::Limits;
use crate::{Error, Result};

/// Reads the entries of an archive one after the other.
pub(crate) struct Reader<R> {
    source: R,
    name: String,
    parser: Parser,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Content of the current entry that has not been taken.
    content: u64,
    /// Padding behind it.
    padding: u64,
    ended: bool,
    entries: u64,
    max_entries: u64,
    max_xattrs: usize,
}

const BUFFER: usize = 256 << 10;
/// The longest run of headers of one entry: metadata, sparse maps and their own headers.
const MAX_HEADERS: usize = 4 << 20;

impl<R: Read> Reader<R> {
    /// Reads the archive that `source` yields; `name` is how messages call it.
    pub(crate) fn new(source: R, name: &str, limits: &Limits) -> Self {
        let mut parser = Parser::new(ParseLimits {
            max_metadata_size: limits.max_metadata,
            max_path_len: Some(u32::try_from(limits.max_path).unwrap_or(u32::MAX)),
            ..ParseLimits::default()
        });
        // Numbers in PAX records are checked here, where negative times are right and negative sizes are not.
        parser.set_ignore_pax_errors(true);
        Self {
            source,
            name: name.to_owned(),
            parser,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            content: 0,
            padding: 0,
            ended: false,
            entries: 0,
            max_entries: limits.max_entries,
            max_xattrs: limits.max_xattrs,
        }
    }

    fn bad(&self, reason: impl Into<String>) -> Error {
        Error::archive(&self.name, reason)
    }

    /// The next entry; what was left of the previous one's content is skipped. `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        while self.content > 0 {
            self.take(usize::MAX)?;
        }
        self.skip_padding()?;
        loop {
            if self.ended {
                return Ok(None);
            }
            let needed = match self.parse()? {
                Parsed::Entry(entry) => {
                    self.entries += 1;
                    if self.entries > self.max_entries {
                        return Err(self.bad(format!("it has more than {} entries", self.max_entries)));
                    }
                    return Ok(Some(*entry));
                }
                Parsed::Again => continue,
                Parsed::Need(needed) => needed,
            };
            if needed > MAX_HEADERS {
                return Err(self.bad(format!("the headers of one entry are longer than {MAX_HEADERS} bytes")));
            }
            if !self.fill(needed)? {
                self.finish_short()?;
            }
        }
    }

    /// Takes up to `limit` bytes of the current entry's content; empty at its end. An archive that ends inside the
    /// content is refused.
    pub(crate) fn take(&mut self, limit: usize) -> Result<&[u8]> {
        if self.content == 0 || limit == 0 {
            return Ok(&[]);
        }
        if self.start == self.end {
            self.refill()?;
            if self.start == self.end {
                return Err(self.bad("it is truncated inside an entry's content (unexpected EOF)"));
            }
        }
        let wanted = usize::try_from(self.content).unwrap_or(usize::MAX).min(limit);
        let length = wanted.min(self.end - self.start);
        let range = self.start..self.start + length;
        self.start += length;
        self.content -= length as u64;
        Ok(&self.buffer[range])
    }

    /// Everything of the current entry's content, when it is no longer than `limit`.
    pub(crate) fn read_all(&mut self, limit: u64) -> Result<Vec<u8>> {
        if self.content > limit {
            return Err(
                self.bad(format!("an entry of {} bytes is longer than the limit of {limit}", self.content))
            );
        }
        let mut bytes = Vec::new();
        while self.content > 0 {
            bytes.extend_from_slice(self.take(usize::MAX)?);
        }
        Ok(bytes)
    }

    fn skip_padding(&mut self) -> Result<()> {
        while self.padding > 0 {
            if self.start == self.end {
                self.refill()?;
                if self.start == self.end {
                    return Err(self.bad("it is truncated behind an entry's content (unexpected EOF)"));
                }
            }
            let length = (self.padding).min((self.end - self.start) as u64);
            self.start += usize::try_from(length).unwrap_or_default();
            self.padding -= length;
        }
        Ok(())
    }

    /// Forgets what is buffered and reads once.
    fn refill(&mut self) -> Result<()> {
        self.start = 0;
        self.end = read_some(&mut self.source, &mut self.buffer)?;
        Ok(())
    }

    /// Buffers at least `needed` bytes in one piece; `false` when the source ends before.
    fn fill(&mut self, needed: usize) -> Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < needed {
            self.buffer.resize(needed.next_multiple_of(BUFFER), 0);
        }
        while self.end < needed {
            let length = read_some(&mut self.source, &mut self.buffer[self.end..])?;
            if length == 0 {
                return Ok(false);
            }
            self.end += length;
        }
        Ok(true)
    }

    /// The source has ended where a header was expected: right after an entry that is an end, elsewhere it is not.
    fn finish_short(&mut self) -> Result<()> {
        let rest = &self.buffer[self.start..self.end];
        if rest.iter().all(|byte| *byte == 0) {
            self.ended = true;
            self.start = self.end;
            return Ok(());
        }
        Err(self.bad("it is truncated inside a header (unexpected EOF)"))
    }

    fn parse(&mut self) -> Result<Parsed> {
        let event = self.parser.parse(&self.buffer[self.start..self.end]);
        let event = event.map_err(|error| Error::archive(&self.name, error.to_string()))?;
        let (consumed, entry, sparse) = match event {
            ParseEvent::NeedData { min_bytes } => {
                let have = self.end - self.start;
                return Ok(Parsed::Need(min_bytes.max(have + 1)));
            }
            ParseEvent::End { consumed } => {
                self.start += consumed;
                self.ended = true;
                return Ok(Parsed::Again);
            }
            // Defaults for all entries; Go hands them to the caller, and Docker ignores them.
            ParseEvent::GlobalExtensions { consumed, .. } => {
                self.start += consumed;
                return Ok(Parsed::Again);
            }
            ParseEvent::Entry { consumed, entry } => (consumed, entry, None),
            ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                let segments =
                    sparse_map.iter().map(|s| Segment { offset: s.offset, length: s.length }).collect();
                (consumed, entry, Some(Sparse { size: real_size, segments }))
            }
        };
        let converted =
            convert(&entry, sparse, self.max_xattrs).map_err(|reason| Error::archive(&self.name, reason))?;
        self.start += consumed;
        let Some(entry) = converted else {
            return Err(Error::archive(&self.name, "it has an entry of a type that cannot be unpacked"));
        };
        self.content = entry.size;
        self.padding = entry.size.next_multiple_of(512) - entry.size;
        Ok(Parsed::Entry(Box::new(entry)))
    }
}

enum Parsed {
    Entry(Box<Entry>),
    Again,
    Need(usize),
}

fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result.map_err(stream("read the archive")),
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
