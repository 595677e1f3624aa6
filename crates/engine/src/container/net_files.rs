//! `hosts`, `hostname` and `resolv.conf` of a container: written at each start, and when a running one changes networks.
//!
//! Beside each file is kept what was written last (`<name>.written`), by which a change by the user is known.

use std::path::Path;

use super::launch::Places;
use super::links;
use super::record::{Attachment, Record};
use super::spec::Share;
use crate::engine::Engine;
use crate::network::Files;
use crate::{Error, Result};

/// Writes the files of a run. A resolv.conf that the user has changed stays. A container that shares another's network
/// uses that one's files.
pub(super) fn write(engine: &Engine, record: &Record, attachments: &[Attachment]) -> Result<()> {
    if matches!(record.spec.namespaces.network, Share::Container(_)) {
        return Ok(());
    }
    let dir = Places::of(engine, &record.id).data_dir;
    let Files { hosts, hostname, resolv_conf } =
        engine.networks.files(record, attachments, &links::hosts(engine, record))?;
    put(&dir, "hosts", &hosts)?;
    put(&dir, "hosts.written", &hosts)?;
    put(&dir, "hostname", &hostname)?;
    put_unless_changed(&dir, "resolv.conf", &resolv_conf)
}

/// Has the files of a running container follow its networks. Lines that the user added stay.
pub(crate) fn rewrite(engine: &Engine, record: &Record) -> Result<()> {
    let dir = Places::of(engine, &record.id).data_dir;
    let Files { hosts, resolv_conf, .. } =
        engine.networks.files(record, &record.attachments, &links::hosts(engine, record))?;
    let (current, written) = (get(&dir, "hosts"), get(&dir, "hosts.written"));
    let merged = if current == written { hosts.clone() } else { merge(&current, &written, &hosts) };
    put(&dir, "hosts", &merged)?;
    put(&dir, "hosts.written", &hosts)?;
    put_unless_changed(&dir, "resolv.conf", &resolv_conf)
}

fn put_unless_changed(dir: &Path, name: &str, text: &str) -> Result<()> {
    let copy = format!("{name}.written");
    let (current, written) = (get(dir, name), get(dir, &copy));
    if current != written && !current.is_empty() {
        return Ok(());
    }
    put(dir, name, text)?;
    put(dir, &copy, text)
}

/// What the user made of the old text, with the difference between the old and the new.
fn merge(current: &str, old: &str, new: &str) -> String {
    let has = |text: &str, line: &str| text.lines().any(|other| other == line);
    let kept = current.lines().filter(|line| !has(old, line) || has(new, line));
    let added = new.lines().filter(|line| !has(old, line));
    kept.chain(added).map(|line| format!("{line}\n")).collect()
}

/// What is there; nothing when there is no such file.
fn get(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_default()
}

/// Writes into the same file: it is mounted in the container.
fn put(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(|error| Error::system(format!("write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn lines_of_the_user_stay_and_ours_follow_the_networks() {
        let merged = merge("1 a\n9 mine\n2 b\n", "1 a\n2 b\n", "1 a\n3 c\n");
        assert_eq!(merged, "1 a\n9 mine\n3 c\n");
    }
}
