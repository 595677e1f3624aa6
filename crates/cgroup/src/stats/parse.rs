//! The few text formats of control files (Documentation/admin-guide/cgroup-v2.rst, "Format").

use std::collections::BTreeMap;

use linux::dir::Dir;

use crate::group::text_if_present;
use crate::{Error, Result};

/// `key value` per line; empty when the file is absent.
pub(super) fn key_values(dir: &Dir, file: &str) -> Result<BTreeMap<String, u64>> {
    let content = text_if_present(dir, file)?.unwrap_or_default();
    let mut values = BTreeMap::new();
    for line in content.lines() {
        let (key, value) = line.split_once(' ').ok_or_else(|| malformed(dir, file, line))?;
        values.insert(key.to_owned(), number(dir, file, value)?);
    }
    Ok(values)
}

/// One number; `None` when the file is absent.
pub(super) fn single(dir: &Dir, file: &str) -> Result<Option<u64>> {
    text_if_present(dir, file)?.map(|content| number(dir, file, content.trim())).transpose()
}

/// One number or `max`; `None` when the file is absent or there is no limit.
pub(super) fn limit(dir: &Dir, file: &str) -> Result<Option<u64>> {
    match text_if_present(dir, file)?.as_deref().map(str::trim) {
        None | Some("max") => Ok(None),
        Some(value) => Ok(Some(number(dir, file, value)?)),
    }
}

/// Numbers separated by spaces; empty when the file is absent.
pub(super) fn list(dir: &Dir, file: &str) -> Result<Vec<u64>> {
    let content = text_if_present(dir, file)?.unwrap_or_default();
    content.split_whitespace().map(|value| number(dir, file, value)).collect()
}

/// Named values; `None` stands for `max`.
pub(super) type Pairs = Vec<(String, Option<u64>)>;

/// `name key=value key=value` per line; empty when the file is absent. A value of `max` is `None`.
pub(super) fn nested(dir: &Dir, file: &str) -> Result<Vec<(String, Pairs)>> {
    let content = text_if_present(dir, file)?.unwrap_or_default();
    let mut lines = Vec::new();
    for line in content.lines() {
        let mut fields = line.split_whitespace();
        let Some(name) = fields.next() else { continue };
        let mut pairs = Vec::new();
        for field in fields {
            let (key, value) = field.split_once('=').ok_or_else(|| malformed(dir, file, line))?;
            match value {
                "max" => pairs.push((key.to_owned(), None)),
                // Floats (`cost.vrate=100.00`) are parameters, not counters.
                value => pairs.extend(value.parse().ok().map(|number| (key.to_owned(), Some(number)))),
            }
        }
        lines.push((name.to_owned(), pairs));
    }
    Ok(lines)
}

/// The numbers of a block device, `major:minor`.
pub(super) fn device(name: &str) -> Option<(u64, u64)> {
    let (major, minor) = name.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

pub(super) fn number(dir: &Dir, file: &str, value: &str) -> Result<u64> {
    value.parse().map_err(|_| malformed(dir, file, value))
}

pub(super) fn malformed(dir: &Dir, file: &str, line: &str) -> Error {
    Error::Malformed { file: dir.path().join(file), line: line.chars().take(200).collect() }
}
