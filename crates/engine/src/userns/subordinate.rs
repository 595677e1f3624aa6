//! /etc/subuid and /etc/subgid (subuid(5)): which ids of the host a user has for others.

use super::Range;
use crate::{Error, Result};

/// The longest file that is read, in bytes.
pub(super) const MAX_FILE: usize = 4 << 20;
/// Lines that a map of ids may have (user_namespaces(7)).
const MAX_RANGES: usize = 340;

/// The ranges of a user, one after the other as a container sees them. `name` and `id` are both looked for; `path` is for
/// errors.
pub(super) fn ranges(text: &str, path: &str, name: &str, id: u32) -> Result<Vec<Range>> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut next: u32 = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| Error::invalid(format!("{path}:{}: {line:?}: {why}", number + 1));
        let fields: Vec<&str> = line.split(':').collect();
        let [owner, first, count] = fields[..] else {
            return Err(wrong("it must be user:first:count"));
        };
        if owner != name && owner.parse() != Ok(id) {
            continue;
        }
        let parse = |text: &str| text.parse::<u32>().map_err(|_| wrong("it must be user:first:count"));
        let (first, count) = (parse(first)?, parse(count)?);
        if first == 0 {
            return Err(wrong("0 is root of the host, who must not be root of a container"));
        }
        // The last number means nobody to the kernel.
        let end = first.checked_add(count).filter(|_| count > 0);
        let Some(end) = end else { return Err(wrong("these are no ids")) };
        if ranges.iter().any(|other| first < other.host + other.count && other.host < end) {
            return Err(wrong("it overlaps with a range above it"));
        }
        if ranges.len() == MAX_RANGES {
            return Err(wrong(&format!("a user has at most {MAX_RANGES} ranges")));
        }
        ranges.push(Range { container: next, host: first, count });
        next = next.checked_add(count).ok_or_else(|| wrong("there are too many ids"))?;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let got = match ranges(text, "/etc/subuid", "me", 1000) {
            Ok(ranges) => {
                let one = |range: &Range| format!("{}>{}*{}", range.container, range.host, range.count);
                ranges.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.message,
        };
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn ranges_are_those_of_the_user_in_their_order() {
        check("", "");
        check("you:1:1\nme:100000:65536\n", "0>100000*65536");
        check("# me:1:1\n\nme:5000:10\n1000:200:5\nmen:1:1\n", "0>5000*10 10>200*5");
        check("me:4294967294:1", "0>4294967294*1");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        check("a:1:1\nme:1", "/etc/subuid:2: \"me:1\": it must be user:first:count");
        check("me:x:1", "/etc/subuid:1: \"me:x:1\": it must be user:first:count");
        check("me:-1:1", "/etc/subuid:1: \"me:-1:1\": it must be user:first:count");
        check("me:1:99999999999", "/etc/subuid:1: \"me:1:99999999999\": it must be user:first:count");
        check("me:1:0", "/etc/subuid:1: \"me:1:0\": these are no ids");
        check("me:4294967295:2", "/etc/subuid:1: \"me:4294967295:2\": these are no ids");
        check(
            "me:0:9",
            "/etc/subuid:1: \"me:0:9\": 0 is root of the host, who must not be root of a container",
        );
        check("me:5:5\nme:9:1", "/etc/subuid:2: \"me:9:1\": it overlaps with a range above it");
        check("me:5:5\nme:1:6", "/etc/subuid:2: \"me:1:6\": it overlaps with a range above it");
    }
}
