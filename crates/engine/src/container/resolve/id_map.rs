//! Which users of the host show as which in a mount: `idmap`, `idmap=uids=1000-0-1;gids=1000-0-1`.

use super::super::spec::{IdMap, IdRange};
use crate::{Error, Result};

/// What one map may hold; the kernel takes 340 lines (user_namespaces(7)).
const MAX_RANGES: usize = 340;

/// Reads `owner`, nothing (the same), or `uids=<on the host>-<in the container>-<count>#…;gids=…`. Without groups they are
/// mapped as the users are.
pub(super) fn parse(text: &str) -> Result<IdMap> {
    if matches!(text, "" | "owner") {
        return Ok(IdMap::Owner);
    }
    let (mut users, mut groups) = (None, None);
    for part in text.split(';') {
        match part.split_once('=') {
            Some(("uids", list)) if users.is_none() => users = Some(ranges(list)?),
            Some(("gids", list)) if groups.is_none() => groups = Some(ranges(list)?),
            _ => {
                return Err(Error::invalid(format!(
                    "invalid idmap {text:?}: it is \"owner\", or uids=HOST-CONTAINER-COUNT#…;gids=…"
                )));
            }
        }
    }
    match (users, groups) {
        (Some(users), groups) => Ok(IdMap::Ranges { groups: groups.unwrap_or_else(|| users.clone()), users }),
        (None, _) => Err(Error::invalid(format!("invalid idmap {text:?}: uids= is missing"))),
    }
}

fn ranges(list: &str) -> Result<Vec<IdRange>> {
    let ranges: Vec<IdRange> = list.split('#').map(range).collect::<Result<_>>()?;
    if ranges.len() > MAX_RANGES {
        return Err(Error::invalid(format!("an idmap has more than {MAX_RANGES} ranges")));
    }
    let overlap = |first: fn(&IdRange) -> u32| {
        let mut order: Vec<(u64, u64)> =
            ranges.iter().map(|range| (u64::from(first(range)), u64::from(range.count))).collect();
        order.sort_unstable();
        order.windows(2).any(|pair| matches!(pair, [(start, count), (next, _)] if start + count > *next))
    };
    if overlap(|range| range.host) || overlap(|range| range.container) {
        return Err(Error::invalid(format!("invalid idmap {list:?}: ranges overlap")));
    }
    Ok(ranges)
}

fn range(text: &str) -> Result<IdRange> {
    let invalid = || Error::invalid(format!("invalid idmap range {text:?}: it is HOST-CONTAINER-COUNT"));
    let numbers: Vec<u32> =
        text.split('-').map(|part| part.parse().map_err(|_| invalid())).collect::<Result<_>>()?;
    let [host, container, count] = numbers[..] else { return Err(invalid()) };
    let fits = |first: u32| first.checked_add(count).is_some();
    if count == 0 || !fits(host) || !fits(container) {
        return Err(invalid());
    }
    Ok(IdRange { host, container, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_and_refused() {
        let show = |text: &str| match parse(text) {
            Ok(IdMap::Owner) => "owner".to_owned(),
            Ok(IdMap::Ranges { users, groups }) => {
                let show = |ranges: &[IdRange]| {
                    let one = |range: &IdRange| format!("{}>{}*{}", range.host, range.container, range.count);
                    ranges.iter().map(one).collect::<Vec<_>>().join(" ")
                };
                format!("{} / {}", show(&users), show(&groups))
            }
            Err(error) => error.message,
        };
        let cases = [
            ("", "owner"),
            ("owner", "owner"),
            ("uids=1000-0-1", "1000>0*1 / 1000>0*1"),
            ("uids=1000-0-1#5-6-2;gids=100-0-1", "1000>0*1 5>6*2 / 100>0*1"),
            ("gids=1-2-3", "invalid idmap \"gids=1-2-3\": uids= is missing"),
            ("uids=1-2", "invalid idmap range \"1-2\": it is HOST-CONTAINER-COUNT"),
            ("uids=1-2-0", "invalid idmap range \"1-2-0\": it is HOST-CONTAINER-COUNT"),
            ("uids=4294967295-0-1", "invalid idmap range \"4294967295-0-1\": it is HOST-CONTAINER-COUNT"),
            ("uids=0-0-5#4-9-1", "invalid idmap \"0-0-5#4-9-1\": ranges overlap"),
            ("uids=0-0-5#9-4-1", "invalid idmap \"0-0-5#9-4-1\": ranges overlap"),
            (
                "users=1-1-1",
                "invalid idmap \"users=1-1-1\": it is \"owner\", or uids=HOST-CONTAINER-COUNT#…;gids=…",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}
