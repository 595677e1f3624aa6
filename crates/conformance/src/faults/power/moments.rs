//! The moments at which a loss of power leaves different disks. Between two of them nothing happens to the files: what is lost
//! there is what is lost at the one before.

use super::super::random::Random;
use super::disk::Loss;
use std::path::Path;

/// A step, counted from 1, before which the power goes, and how much goes with it.
pub(super) type Moment = (usize, Loss);

/// Calls that have nothing to do with files.
const ELSEWHERE: &[&str] = &[
    "bind",
    "clone",
    "clone3",
    "fork",
    "kill",
    "listen",
    "pidfd_send_signal",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setns",
    "tgkill",
    "umount2",
    "vfork",
];
/// Calls that make something safe.
const SYNCS: &[&str] = &["fdatasync", "fsync", "sync", "sync_file_range", "syncfs"];

/// Some of the moments, at most `limit` of them; the one after the answer is among them.
pub(super) fn choose(
    steps: &[String],
    root: &Path,
    limit: Option<usize>,
    random: &mut Random,
) -> Vec<Moment> {
    let mut moments = all(steps, root);
    while limit.is_some_and(|limit| moments.len() > limit.max(1)) {
        moments.remove(random.below(moments.len() - 1));
    }
    moments
}

/// All moments that differ; `root` is where the files are. What is dropped changes with every sync, what is torn with every
/// change of a file.
fn all(steps: &[String], root: &Path) -> Vec<Moment> {
    let last = steps.len() + 1;
    let mut moments = vec![(1, Loss::Dropped), (1, Loss::Torn)];
    for (index, step) in steps.iter().enumerate() {
        let (next, (call, place)) = (index + 2, parts(step));
        let is_here = place.is_none_or(|place| !place.contains(':') && Path::new(place).starts_with(root));
        if ELSEWHERE.contains(&call) || !is_here {
            continue;
        }
        if SYNCS.contains(&call) && next != last {
            moments.push((next, Loss::Dropped));
        }
        if next != last {
            moments.push((next, Loss::Torn));
        }
    }
    moments.extend([(last, Loss::Dropped), (last, Loss::Torn)]);
    moments
}

/// The call and what it is about: `fsync(/a/b)`, or `mkdir` where that is not known.
fn parts(step: &str) -> (&str, Option<&str>) {
    match step.split_once('(') {
        Some((call, place)) => (call, place.strip_suffix(')')),
        None => (step, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_touches_the_disk_makes_another_moment() {
        let steps = [
            "sendto(socket:[7])",
            "openat(/data/blobs)",
            "write(/data/blobs/a)",
            "write(/elsewhere)",
            "fsync(/data/blobs/a)",
            "mkdir",
            "writev(socket:[8])",
        ];
        let steps: Vec<String> = steps.map(str::to_owned).into();
        let found: Vec<String> = all(&steps, Path::new("/data"))
            .iter()
            .map(|(at, loss)| format!("{at}{}", if *loss == Loss::Torn { "t" } else { "d" }))
            .collect();
        assert_eq!(found.join(" "), "1d 1t 3t 4t 6d 6t 7t 8d 8t");
        let some = choose(&steps, Path::new("/data"), Some(2), &mut Random::new(1));
        assert_eq!((some.len(), some[1]), (2, (8, Loss::Torn)));
    }
}
