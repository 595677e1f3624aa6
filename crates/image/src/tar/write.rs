//! Writing tar archives: ustar headers, with a PAX header in front where ustar has no room (what Go writes).

use std::io::{self, Write};

use linux::file::Time;

use super::EntryKind;

/// What is written about an entry; the content follows separately.
#[derive(Debug, Clone)]
pub(crate) struct Header<'a> {
    /// The path; directories end with a slash.
    pub(crate) path: &'a [u8],
    pub(crate) kind: &'a EntryKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: Time,
    /// Bytes of content that follow; 0 for everything but files.
    pub(crate) size: u64,
    pub(crate) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// Writes an archive.
pub(crate) struct Writer<W> {
    sink: W,
    /// Bytes of content that the current entry still lacks, and the padding behind them.
    content: u64,
    padding: usize,
}

const BLOCK: usize = 512;
const NAME_ROOM: usize = 100;
const ID_ROOM: u32 = 0o7_777_777;
const SIZE_ROOM: u64 = 0o77_777_777_777;

impl<W: Write> Writer<W> {
    /// Writes an archive to `sink`.
    pub(crate) fn new(sink: W) -> Self {
        Self { sink, content: 0, padding: 0 }
    }

    /// Starts an entry. The previous one's content must be complete.
    pub(crate) fn begin(&mut self, header: &Header<'_>) -> io::Result<()> {
        self.end_entry()?;
        let map = sparse_map(header.kind);
        let records = pax_records(header);
        if !records.is_empty() {
            let name = pax_name(header.path);
            let size = records.len() as u64;
            let block = header_block(&name, &[], b'x', 0o644, 0, 0, 0, size, (0, 0));
            self.sink.write_all(&block)?;
            self.sink.write_all(&records)?;
            self.sink.write_all(&ZEROS[..padding_of(size)])?;
        }
        let no_target: &[u8] = &[];
        let (flag, target, device) = match header.kind {
            EntryKind::File { .. } => (b'0', no_target, (0, 0)),
            EntryKind::HardLink(target) => (b'1', target.as_slice(), (0, 0)),
            EntryKind::Symlink(target) => (b'2', target.as_slice(), (0, 0)),
            EntryKind::CharDevice(major, minor) => (b'3', no_target, (*major, *minor)),
            EntryKind::BlockDevice(major, minor) => (b'4', no_target, (*major, *minor)),
            EntryKind::Dir => (b'5', no_target, (0, 0)),
            EntryKind::Fifo => (b'6', no_target, (0, 0)),
        };
        let seconds = u64::try_from(header.modified.seconds).unwrap_or_default();
        let placeholder = sparse_name(header.path);
        let path = if map.is_empty() { header.path } else { &placeholder };
        let (mode, stored) = (header.mode, header.size + map.len() as u64);
        let block = header_block(path, target, flag, mode, header.uid, header.gid, seconds, stored, device);
        self.sink.write_all(&block)?;
        self.sink.write_all(&map)?;
        self.content = header.size;
        self.padding = padding_of(header.size);
        Ok(())
    }

    /// Writes content of the current entry.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(rest) = self.content.checked_sub(bytes.len() as u64) else {
            return Err(io::Error::other("more content than the header of the tar entry says"));
        };
        self.sink.write_all(bytes)?;
        self.content = rest;
        Ok(())
    }

    fn end_entry(&mut self) -> io::Result<()> {
        if self.content > 0 {
            return Err(io::Error::other("less content than the header of the tar entry says"));
        }
        self.sink.write_all(&ZEROS[..self.padding])?;
        self.padding = 0;
        Ok(())
    }

    /// Ends the archive and returns the sink.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.end_entry()?;
        self.sink.write_all(&ZEROS)?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}

const ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

fn padding_of(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if over == 0 { 0 } else { BLOCK - over }
}

/// The map in front of the content of a file with holes, padded to a block (GNU's PAX format 1.0); empty for any other.
fn sparse_map(kind: &EntryKind) -> Vec<u8> {
    let EntryKind::File { sparse: Some(sparse) } = kind else { return Vec::new() };
    let mut text = format!("{}\n", sparse.segments.len());
    for segment in &sparse.segments {
        text.push_str(&format!("{}\n{}\n", segment.offset, segment.length));
    }
    let mut map = text.into_bytes();
    map.resize(map.len() + padding_of(map.len() as u64), 0);
    map
}

/// The name of a file with holes in its header: readers that do not know holes show this one.
fn sparse_name(path: &[u8]) -> Vec<u8> {
    let mut name = b"GNUSparseFile.0/".to_vec();
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.extend(last.iter().take(80).map(|byte| if byte.is_ascii() { *byte } else { b'_' }));
    name
}

/// The name of a PAX header: readers show it only when they do not know PAX.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let last = trimmed.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut name = b"PaxHeaders.0/".to_vec();
    name.extend(last.iter().take(80).map(|byte| if byte.is_ascii() { *byte } else { b'_' }));
    name
}

/// The records for what does not fit into the header.
fn pax_records(header: &Header<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        records.extend_from_slice(length.to_string().as_bytes());
        records.push(b' ');
        records.extend_from_slice(key);
        records.push(b'=');
        records.extend_from_slice(value);
        records.push(b'\n');
    };
    if let EntryKind::File { sparse: Some(sparse) } = header.kind {
        add(b"GNU.sparse.major", b"1");
        add(b"GNU.sparse.minor", b"0");
        add(b"GNU.sparse.name", header.path);
        add(b"GNU.sparse.realsize", sparse.size.to_string().as_bytes());
    } else if header.path.len() > NAME_ROOM || !header.path.is_ascii() {
        add(b"path", header.path);
    }
    if let EntryKind::Symlink(target) | EntryKind::HardLink(target) = header.kind
        && (target.len() > NAME_ROOM || !target.is_ascii())
    {
        add(b"linkpath", target);
    }
    let stored = header.size + sparse_map(header.kind).len() as u64;
    if stored > SIZE_ROOM {
        add(b"size", stored.to_string().as_bytes());
    }
    if header.uid > ID_ROOM {
        add(b"uid", header.uid.to_string().as_bytes());
    }
    if header.gid > ID_ROOM {
        add(b"gid", header.gid.to_string().as_bytes());
    }
    let time = header.modified;
    if time.seconds < 0 || time.nanoseconds != 0 || u64::try_from(time.seconds).is_ok_and(|s| s > SIZE_ROOM) {
        add(b"mtime", show_time(time).as_bytes());
    }
    for (name, value) in header.xattrs {
        let mut key = b"SCHILY.xattr.".to_vec();
        key.extend_from_slice(name);
        add(&key, value);
    }
    records
}

/// Seconds with a fraction where there is one; times before 1970 count backwards.
fn show_time(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match time.seconds {
        seconds if seconds < 0 && time.nanoseconds > 0 => {
            ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - time.nanoseconds)
        }
        seconds if seconds < 0 => ("-", seconds.unsigned_abs(), 0),
        seconds => ("", seconds.unsigned_abs(), time.nanoseconds),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

#[expect(clippy::too_many_arguments, reason = "one argument per field of the header, in the header's order")]
fn header_block(
    path: &[u8],
    target: &[u8],
    flag: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    seconds: u64,
    size: u64,
    device: (u32, u32),
) -> [u8; BLOCK] {
    let mut block = [0_u8; BLOCK];
    let mut text = |range: std::ops::Range<usize>, value: &[u8]| {
        let length = value.len().min(range.len());
        block[range.start..range.start + length].copy_from_slice(&value[..length]);
    };
    let octal = |value: u64, digits: usize| format!("{value:0digits$o}").into_bytes();
    text(0..100, path);
    text(100..107, &octal(u64::from(mode & 0o7777), 7));
    text(108..115, &octal(u64::from(uid.min(ID_ROOM)), 7));
    text(116..123, &octal(u64::from(gid.min(ID_ROOM)), 7));
    text(124..135, &octal(size.min(SIZE_ROOM), 11));
    text(136..147, &octal(seconds.min(SIZE_ROOM), 11));
    text(148..156, b"        ");
    text(156..157, &[flag]);
    text(157..257, target);
    text(257..265, b"ustar\x0000");
    text(329..336, &octal(u64::from(device.0), 7));
    text(337..344, &octal(u64::from(device.1), 7));
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
