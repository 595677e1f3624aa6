//! Reading tar archives from outside: every header is limited and checked, content is handed on in place.
//!
//! The syntax is `tar-core`'s; the decisions are those of Go's `archive/tar`, because what Docker reads one way must not
//! be read another way here: links, directories and devices have no content whatever their size says, PAX records
//! override header fields, and an archive may end without its two zero blocks.

use std::io::Read;

use linux::file::Time;
use tar_core::parse::{Limits as ParseLimits, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, PaxExtensions};

use crate::error::stream;
use crate::limits::Limits;
use crate::{Error, Result};

/// What an entry makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file; `Some` when it has holes.
    File { sparse: Option<Sparse> },
    /// A directory.
    Dir,
    /// A symbolic link with what it says.
    Symlink(Vec<u8>),
    /// A second name for the path given.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Where the content of a file with holes belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// The length of the file.
    pub(crate) size: u64,
    /// The ranges that have content, in order and without overlap.
    pub(crate) segments: Vec<Segment>,
}

/// A range of a file that has content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it starts.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) length: u64,
}

/// One entry of an archive, with the extended headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: Time,
    /// How many bytes of content follow in the archive.
    pub(crate) size: u64,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

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

/// No file system holds a longer file (2^63 - 1).
const MAX_SIZE: u64 = i64::MAX as u64 - 512;

/// An entry with everything checked that does not depend on where it is unpacked; `None` for an unknown type.
fn convert(
    entry: &ParsedEntry<'_>,
    sparse: Option<Sparse>,
    max_xattrs: usize,
) -> std::result::Result<Option<Entry>, String> {
    let path = entry.path.to_vec();
    let show = String::from_utf8_lossy(&path).into_owned();
    if path.contains(&0) {
        return Err(format!("the path {show:?} contains a zero byte"));
    }
    let pax = PaxValues::read(entry.pax.unwrap_or_default(), &show)?;
    let target = || -> std::result::Result<Vec<u8>, String> {
        let target = entry.link_target.as_deref().unwrap_or_default();
        if target.is_empty() || target.contains(&0) {
            return Err(format!("the link {show:?} has no valid target"));
        }
        Ok(target.to_vec())
    };
    let device = || (entry.dev_major.unwrap_or_default(), entry.dev_minor.unwrap_or_default());
    let kind = match entry.entry_type {
        // Old archives mark a directory by the slash at its end only.
        EntryType::Regular if path.ends_with(b"/") => EntryKind::Dir,
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => EntryKind::File { sparse: None },
        EntryType::Directory => EntryKind::Dir,
        EntryType::Symlink => EntryKind::Symlink(target()?),
        EntryType::Link => EntryKind::HardLink(target()?),
        EntryType::Char => EntryKind::CharDevice(device().0, device().1),
        EntryType::Block => EntryKind::BlockDevice(device().0, device().1),
        EntryType::Fifo => EntryKind::Fifo,
        _ => return Ok(None),
    };
    let (kind, size) = match kind {
        EntryKind::File { .. } => {
            let (sparse, size) = stored_size(entry.size, sparse, &show)?;
            (EntryKind::File { sparse }, size)
        }
        header_only => (header_only, 0),
    };
    let id = |value: u64, what: &str| {
        u32::try_from(value)
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| format!("the {what} {value} of {show:?} is out of range"))
    };
    let xattrs: Vec<_> = entry.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    if xattrs.len() > max_xattrs {
        return Err(format!("{show:?} has more than {max_xattrs} extended attributes"));
    }
    Ok(Some(Entry {
        kind,
        mode: entry.mode & 0o7777,
        uid: id(entry.uid, "user ID")?,
        gid: id(entry.gid, "group ID")?,
        modified: pax.modified.unwrap_or(Time { seconds: entry.mtime.cast_signed(), nanoseconds: 0 }),
        size,
        xattrs,
        path,
    }))
}

/// How much content follows, and the checked map of a file with holes.
fn stored_size(
    size: u64,
    sparse: Option<Sparse>,
    show: &str,
) -> std::result::Result<(Option<Sparse>, u64), String> {
    if size > MAX_SIZE {
        return Err(format!("{show:?} has the impossible size {size}"));
    }
    let Some(sparse) = sparse else { return Ok((None, size)) };
    if sparse.size > MAX_SIZE {
        return Err(format!("{show:?} has the impossible size {}", sparse.size));
    }
    let mut position = 0_u64;
    let mut stored = 0_u64;
    for segment in &sparse.segments {
        let end = segment.offset.checked_add(segment.length);
        let Some(end) = end.filter(|end| segment.offset >= position && *end <= sparse.size) else {
            return Err(format!("the map of holes of {show:?} is wrong"));
        };
        position = end;
        stored += segment.length;
    }
    // A PAX size counts the map in front of the content as well; the map itself tells what is left.
    if stored > size || (stored < size && !(size - stored).is_multiple_of(512)) {
        return Err(format!("the map of holes of {show:?} does not fit its size"));
    }
    Ok((Some(sparse), stored))
}

/// The PAX records that `tar-core` reads less strictly than Go does.
#[derive(Default)]
struct PaxValues {
    modified: Option<Time>,
}

impl PaxValues {
    fn read(records: &[u8], show: &str) -> std::result::Result<Self, String> {
        let mut values = Self::default();
        let mut length = 0;
        for record in PaxExtensions::new(records) {
            let record =
                record.map_err(|error| format!("the PAX header of {show:?} is malformed: {error}"))?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            length += pax_record_length(key.len() + value.len() + 3);
            let number = || std::str::from_utf8(value).ok().filter(|text| !text.is_empty());
            match key {
                b"size"
                | b"uid"
                | b"gid"
                | b"GNU.sparse.offset"
                | b"GNU.sparse.numbytes"
                | b"GNU.sparse.size"
                | b"GNU.sparse.realsize" => {
                    let valid = number().is_some_and(|text| {
                        text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u64>().is_ok()
                    });
                    if !valid {
                        return Err(format!(
                            "the PAX record {:?} of {show:?} is not a number",
                            String::from_utf8_lossy(key)
                        ));
                    }
                }
                b"mtime" => {
                    let time = number().and_then(parse_time);
                    values.modified =
                        Some(time.ok_or_else(|| format!("the PAX time of {show:?} is not a time"))?);
                }
                _ => {}
            }
        }
        if length != records.len() {
            return Err(format!("the PAX header of {show:?} is malformed"));
        }
        Ok(values)
    }
}

/// The length of a record whose parts behind the length field, with space, `=` and newline, have `rest` bytes.
fn pax_record_length(rest: usize) -> usize {
    let mut length = rest;
    loop {
        let next = rest + length.to_string().len();
        if next == length {
            return length;
        }
        length = next;
    }
}

/// Seconds with an optional sign and fraction, as PAX writes times.
fn parse_time(text: &str) -> Option<Time> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let padded = format!("{fraction:0<9}");
    let nanoseconds: u32 = padded[..9].parse().ok()?;
    if sign < 0 && nanoseconds > 0 {
        return Some(Time { seconds: (-seconds).checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds: sign * seconds, nanoseconds })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
