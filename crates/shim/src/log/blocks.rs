//! What makes a compressed file of the log one that can be entered in the middle: blocks, and the table of them.
//!
//! ```text
//! member   comment «berth <inode> <born>», whole lines of some 256 KiB, compressed by themselves
//! member   the next lines
//!  …
//! member   of no content: 1f 8b 08 04 …, its extra field «BL» holds for every block
//!          content u64 · compressed u64 · lines u64 · latest i64, then the number of blocks u32, then «berthidx»
//! ```
//!
//! All of it is gzip: `zcat` and Docker print the lines. The table comes last in the same file, so that there is no second
//! file to lose or to get out of step. A file without one (of Docker, or of an older shim) is read from its beginning.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::line;
use super::notes::nanos;
use crate::timestamp::Timestamp;

/// Bytes of a block in the table.
const ENTRY: usize = 32;
const MAGIC: &[u8; 8] = b"berthidx";
/// The empty content of a member, its checksum and its length.
const NOTHING: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The head of a member with an extra field, up to the field's length.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
const FIELD: &[u8; 2] = b"BL";
/// Bytes before the entries: head, length of the extra field, name and length of ours.
const BEFORE: usize = HEAD.len() + 2 + FIELD.len() + 2;
/// Bytes after the entries: their number, the mark, and the rest of the member.
const AFTER: usize = 4 + MAGIC.len() + NOTHING.len();
/// The most blocks of the full size in one file; there are twice as many at worst, and an extra field has at most 65,535
/// bytes.
const MOST: u64 = 1000;

/// A block, as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    /// Bytes of lines, and of the member that holds them.
    content: u64,
    compressed: u64,
    /// Lines of output that end in it.
    lines: u64,
    /// Nanoseconds since 1970 of its latest line; the earliest there can be when it has none.
    latest: i64,
}

impl Block {
    const EMPTY: Self = Self { content: 0, compressed: 0, lines: 0, latest: i64::MIN };
}

/// The table while a file is being compressed.
pub(super) struct Blocks {
    /// The bytes of whole blocks' entries.
    entries: Vec<u8>,
    current: Block,
    /// Content after which a block is ended.
    size: u64,
    /// The last line in the block is whole: the next one may begin there.
    whole: bool,
}

impl Blocks {
    /// For a file of `length` bytes in blocks of `step`, or of a multiple of it when there would be too many.
    pub(super) fn new(length: u64, step: u64) -> Self {
        let size = step * length.div_ceil(step * MOST).max(1);
        Self { entries: Vec::new(), current: Block::EMPTY, size, whole: true }
    }

    /// Counts lines that were added to the current block.
    pub(super) fn add(&mut self, lines: &[u8]) {
        self.current.content += lines.len() as u64;
        self.whole = lines.last() == Some(&b'\n');
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { continue };
            self.current.lines += u64::from(line::ends_output_line(line));
            if let Some(time) = line::time(line) {
                self.current.latest = self.current.latest.max(nanos(time));
            }
        }
    }

    /// Whether the current block is to be ended. What is compressed in one step is cut after its last line, so that a
    /// block is hardly ever as long as it may be.
    pub(super) fn is_full(&self) -> bool {
        self.whole && self.current.content >= self.size / 2
    }

    /// Ends the current block, which took so many bytes of the compressed file.
    pub(super) fn end(&mut self, compressed: u64) {
        let block = std::mem::replace(&mut self.current, Block::EMPTY);
        for number in [block.content, compressed, block.lines] {
            self.entries.extend_from_slice(&number.to_le_bytes());
        }
        self.entries.extend_from_slice(&block.latest.to_le_bytes());
    }

    /// The member that ends the file; nothing for a file whose lines are so long that there are too many blocks.
    pub(super) fn table(&self) -> Vec<u8> {
        let count = u32::try_from(self.entries.len() / ENTRY).unwrap_or(u32::MAX);
        let field = self.entries.len() + 4 + MAGIC.len();
        let (Ok(extra), Ok(field)) = (u16::try_from(field + 4), u16::try_from(field)) else {
            return Vec::new();
        };
        let mut member = HEAD.to_vec();
        member.extend_from_slice(&extra.to_le_bytes());
        member.extend_from_slice(FIELD);
        member.extend_from_slice(&field.to_le_bytes());
        member.extend_from_slice(&self.entries);
        member.extend_from_slice(&count.to_le_bytes());
        member.extend_from_slice(MAGIC);
        member.extend_from_slice(&NOTHING);
        member
    }
}

/// Where to enter a compressed file: the beginning of a member, in the file and in the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entrance {
    pub(super) compressed: u64,
    pub(super) content: u64,
}

/// The table of a compressed file.
pub(super) struct Table(Vec<Block>);

/// Reads the table; `None` when the file has none, or one that does not fit the file.
pub(super) fn table(file: &File) -> io::Result<Option<Table>> {
    let length = file.metadata()?.len();
    let mut end = [0; AFTER];
    let Some(after) = length.checked_sub(AFTER as u64) else { return Ok(None) };
    file.read_exact_at(&mut end, after)?;
    let (count, mark) = end.split_at(4);
    if &mark[..MAGIC.len()] != MAGIC || mark[MAGIC.len()..] != NOTHING {
        return Ok(None);
    }
    let count = u64::from(u32::from_le_bytes([count[0], count[1], count[2], count[3]]));
    let (bytes, before) = (count * ENTRY as u64, BEFORE as u64);
    let Some(member) = after.checked_sub(bytes + before).filter(|_| count <= u64::from(u16::MAX)) else {
        return Ok(None);
    };
    let mut entries = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut entries, member + before)?;
    let blocks: Vec<Block> = entries.chunks_exact(ENTRY).map(block).collect();
    let total = blocks.iter().try_fold(0_u64, |sum, block| sum.checked_add(block.compressed));
    Ok((total == Some(member)).then_some(Table(blocks)))
}

fn block(entry: &[u8]) -> Block {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&entry[at..at + 8]);
        bytes
    };
    Block {
        content: u64::from_le_bytes(number(0)),
        compressed: u64::from_le_bytes(number(8)),
        lines: u64::from_le_bytes(number(16)),
        latest: i64::from_le_bytes(number(24)),
    }
}

impl Table {
    /// Lines of output that end in the file.
    pub(super) fn lines(&self) -> u64 {
        self.0.iter().fold(0, |sum, block| sum.saturating_add(block.lines))
    }

    /// Where the line after the first `skip` begins at the earliest, and how many of those end after it.
    pub(super) fn after_lines(&self, skip: u64) -> (Entrance, u64) {
        let (mut here, mut before) = (Entrance::default(), 0_u64);
        for block in &self.0 {
            // A line that begins in this block may be the one: the block after the last that is passed is not.
            if before.saturating_add(block.lines) >= skip {
                break;
            }
            before += block.lines;
            here = here.behind(block);
        }
        (here, skip - before)
    }

    /// The first block with a line that is not before `since`; `None` when there is none.
    pub(super) fn since(&self, since: Timestamp) -> Option<Entrance> {
        let since = nanos(since);
        let mut here = Entrance::default();
        for block in &self.0 {
            if block.latest >= since {
                return Some(here);
            }
            here = here.behind(block);
        }
        None
    }

    /// Whether the file's first lines are all before `since`.
    pub(super) fn begins_before(&self, since: Timestamp) -> bool {
        self.0.first().is_some_and(|first| first.lines > 0 && first.latest < nanos(since))
    }

    /// The block that holds a place of the content.
    pub(super) fn at(&self, offset: u64) -> Entrance {
        let mut here = Entrance::default();
        for block in &self.0 {
            let next = here.behind(block);
            if next.content > offset {
                break;
            }
            here = next;
        }
        here
    }
}

impl Entrance {
    fn behind(self, block: &Block) -> Self {
        Self {
            compressed: self.compressed.saturating_add(block.compressed),
            content: self.content.saturating_add(block.content),
        }
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
