//! A change of mounts that a crash cut short: the record says what is to be mounted, the container's own table what is.

use std::path::PathBuf;

use runtime::live;

use super::record::Record;
use super::remodel::{mount_namespace, ready};
use super::spec::MountSpec;
use super::state::Process;
use super::view::Live;
use crate::engine::Engine;
use crate::{Error, Result};

/// At boot: what is mounted at the places of a change that was cut short is what the record says.
pub(crate) fn settle(engine: &Engine, record: &Record, process: &Process, live: &Live) -> Result<()> {
    if record.unsettled.is_empty() {
        return Ok(());
    }
    let failed = |error: runtime::Error| Error::system(error.to_string());
    let namespace = mount_namespace(record, process, live)?;
    let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", process.pid))
        .map_err(|error| Error::system(format!("look at the mounts of {}: {error}", record.name)))?;
    let (wrong, missing) = differing(&record.unsettled, &record.spec.mounts, &table);
    tracing::info!(container = crate::id::short(&record.id), ?wrong, missing = missing.len(), "settled");
    if !wrong.is_empty() {
        live::detach(&namespace, &wrong).map_err(failed)?;
    }
    let (ready, _held) = ready(engine, record, &missing)?;
    live::attach(&namespace, &ready).map_err(failed)
}

/// The places where something is mounted that should not be, the lower ones last, and the mounts that are missing. Pure.
fn differing(places: &[String], mounts: &[MountSpec], table: &str) -> (Vec<PathBuf>, Vec<MountSpec>) {
    let is_mounted = |place: &str| {
        table.lines().filter_map(|line| line.split(' ').nth(4)).any(|found| found == escaped(place))
    };
    let is_exchanged = |place: &str| places.iter().filter(|other| *other == place).count() > 1;
    let wanted = |place: &str| mounts.iter().any(|mount| mount.destination == place);
    let mut wrong: Vec<PathBuf> = places
        .iter()
        .filter(|place| is_mounted(place) && (!wanted(place) || is_exchanged(place)))
        .map(PathBuf::from)
        .collect();
    wrong.sort_by(|one, other| other.cmp(one));
    wrong.dedup();
    let is_missing = |mount: &&MountSpec| {
        let place = &mount.destination;
        places.contains(place) && (!is_mounted(place) || is_exchanged(place))
    };
    (wrong, mounts.iter().filter(is_missing).cloned().collect())
}

/// A path as mountinfo writes it (proc_pid_mountinfo(5)).
fn escaped(path: &str) -> String {
    path.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012")
}

#[cfg(test)]
mod tests {
    use super::super::spec::MountSource;
    use super::*;

    fn mount(destination: &str) -> MountSpec {
        MountSpec {
            destination: destination.to_owned(),
            source: MountSource::Bind { path: "/srv".to_owned(), create: false },
            writable: true,
            recursive_readonly: false,
            recursive: true,
            propagation: String::new(),
            mode: String::new(),
            id_map: None,
        }
    }

    #[test]
    fn what_is_mounted_becomes_what_is_recorded() {
        let table = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / /came rw - ext4 a rw\n3 1 0:2 / /with\\040space rw - ext4 a rw\n\
                     4 1 0:2 / /other rw - ext4 a rw\n5 4 0:2 / /other/below rw - ext4 a rw\n";
        let places = ["/came", "/with space", "/went", "/other", "/other", "/other/below"].map(str::to_owned);
        let (wrong, missing) =
            differing(&places, &[mount("/went"), mount("/other"), mount("/untouched")], table);
        let wrong: Vec<String> = wrong.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(wrong, ["/with space", "/other/below", "/other", "/came"]);
        let missing: Vec<&str> = missing.iter().map(|mount| mount.destination.as_str()).collect();
        assert_eq!(missing, ["/went", "/other"]);
    }
}
