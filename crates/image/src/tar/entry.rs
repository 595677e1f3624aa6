//! One entry of an archive: its parts, and the checks that do not depend on where it is unpacked.

use linux::file::Time;
use tar_core::parse::ParsedEntry;
use tar_core::{EntryType, PaxExtensions};

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

/// No file system holds a longer file (2^63 - 1).
const MAX_SIZE: u64 = i64::MAX as u64 - 512;

/// An entry with everything checked that does not depend on where it is unpacked; `None` for an unknown type.
pub(crate) fn convert(
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
pub(crate) fn stored_size(
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
