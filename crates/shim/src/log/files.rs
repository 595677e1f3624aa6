//! The names of a log's files: `x-json.log` is written, `.1` is the one before, `.2` older; `.gz` when compressed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file of the log that is no longer written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotated {
    /// 1 for the youngest.
    pub(super) number: u32,
    pub(super) compressed: bool,
    pub(super) path: PathBuf,
}

/// `x-json.log` → `x-json.log.3`.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".{number}"))
}

/// `x-json.log.3` → `x-json.log.3.gz`.
pub(super) fn compressed(path: &Path) -> PathBuf {
    with_suffix(path, ".gz")
}

/// Where a file is compressed to until it is whole.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    with_suffix(path, ".gz.tmp")
}

/// The file that becomes the current one.
pub(super) fn next(path: &Path) -> PathBuf {
    with_suffix(path, ".next")
}

/// Where files are lent to those who follow the log.
pub(super) fn followers(path: &Path) -> PathBuf {
    with_suffix(path, ".followers")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = OsString::from(path);
    text.push(suffix);
    PathBuf::from(text)
}

/// The rotated files that exist, the oldest first; a number that exists twice is listed uncompressed.
pub(super) fn rotated(path: &Path) -> io::Result<Vec<Rotated>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some((number, compressed)) = entry.file_name().to_str().and_then(|entry| parse(entry, name)) {
            found.push(Rotated { number, compressed, path: entry.path() });
        }
    }
    found.sort_by_key(|file| (std::cmp::Reverse(file.number), file.compressed));
    found.dedup_by_key(|file| file.number);
    Ok(found)
}

/// The number of a rotated file of `name`, and whether it is compressed.
fn parse(entry: &str, name: &str) -> Option<(u32, bool)> {
    let suffix = entry.strip_prefix(name)?.strip_prefix('.')?;
    let (digits, compressed) = match suffix.strip_suffix(".gz") {
        Some(digits) => (digits, true),
        None => (suffix, false),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    Some((digits.parse().ok().filter(|_| plain)?, compressed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rotated_files_of_this_log_are_recognised() {
        let cases = [
            ("a.log.1", Some((1, false))),
            ("a.log.12.gz", Some((12, true))),
            ("a.log", None),
            ("a.log.", None),
            ("a.log.01", None),
            ("a.log.0", None),
            ("a.log.+1", None),
            ("a.log.1.gz.tmp", None),
            ("a.log.followers", None),
            ("b.log.1", None),
        ];
        for (entry, expected) in cases {
            assert_eq!(parse(entry, "a.log"), expected, "{entry}");
        }
    }
}
