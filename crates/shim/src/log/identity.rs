//! Which file content is: the same after it has been renamed, and after it has been compressed into another file.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

use super::notes::Notes;

/// Marks a compressed file's comment as ours.
const MARK: &str = "berth";
/// Bytes in which the head of a compressed file lies.
const HEAD: usize = 512;

/// The file that content was written to. An inode's number is given again when its file is gone, so that the time at
/// which the file was made belongs to it (0 where the file system does not keep that).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    inode: u64,
    born: u64,
}

/// A place in a log: it is found again after rotation and compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    #[serde(flatten)]
    pub(super) file: Identity,
    /// Bytes of the content before the place.
    pub(super) offset: u64,
}

/// Which file an open one is.
pub(super) fn of(file: &File) -> io::Result<Identity> {
    let metadata = file.metadata()?;
    let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(0);
    Ok(Identity { inode: metadata.ino(), born })
}

/// Which file the content of a compressed one was written to; `None` when it does not say, as one of Docker's does not.
pub(super) fn compressed(file: &File) -> io::Result<Option<Identity>> {
    Ok(origin(file)?.map(|(identity, _)| identity))
}

/// The same with what that file said about itself.
pub(super) fn origin(file: &File) -> io::Result<Option<(Identity, Option<Notes>)>> {
    let mut head = [0; HEAD];
    let count = file.read_at(&mut head, 0)?;
    let decoder = GzDecoder::new(&head[..count]);
    let comment = decoder.header().and_then(|header| header.comment());
    Ok(comment.and_then(|comment| parse(std::str::from_utf8(comment).ok()?)))
}

/// What a compressed file says about where its content comes from.
pub(super) fn comment(identity: Identity, notes: Option<Notes>) -> String {
    let notes = notes.map(|notes| format!(" {}", notes.text())).unwrap_or_default();
    format!("{MARK} {:x} {:x}{notes}", identity.inode, identity.born)
}

fn parse(comment: &str) -> Option<(Identity, Option<Notes>)> {
    let (inode, rest) = comment.strip_prefix(MARK)?.strip_prefix(' ')?.split_once(' ')?;
    let (born, notes) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    Some((Identity { inode: number(inode)?, born: number(born)? }, Notes::parse(notes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_a_file() {
        let identity = Identity { inode: 77, born: 1_795_267_360_762_578_123 };
        assert_eq!(parse(&comment(identity, None)), Some((identity, None)));
        let notes = Some(Notes::FIRST);
        assert_eq!(parse(&comment(identity, notes)), Some((identity, notes)));
        for text in ["", "berth", "berth 1", "berth x 1", "other 1 1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
