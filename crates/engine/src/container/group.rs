//! Where a container's control group lies, and who made it.

use runtime::group::Place;

use super::record::Record;
use crate::config::CgroupDriver;
use crate::engine::Engine;
use crate::{Error, Result};

/// What units of systemd are called before the container's identifier.
const PREFIX: &str = "berth";

/// Who made the group: only systemd's parents are not paths.
pub(crate) fn driver(record: &Record) -> CgroupDriver {
    match record.spec.cgroup_parent.starts_with('/') {
        true => CgroupDriver::Cgroupfs,
        false => CgroupDriver::Systemd,
    }
}

/// `linux.cgroupsPath`: a path below the root of each hierarchy, or `slice:prefix:name`.
pub(crate) fn path(record: &Record) -> String {
    path_below(&record.spec.cgroup_parent, driver(record), &record.id)
}

fn path_below(parent: &str, driver: CgroupDriver, id: &str) -> String {
    match driver {
        CgroupDriver::Cgroupfs => format!("{}/{id}", parent.trim_end_matches('/')),
        CgroupDriver::Systemd => format!("{parent}:{PREFIX}:{id}"),
    }
}

pub(crate) fn place(record: &Record) -> Result<Place> {
    parse(driver(record), &path(record), &record.id)
}

/// The place of a container that there is no record of: where the daemon puts them when nobody says.
pub(crate) fn usual_place(engine: &Engine, id: &str) -> Result<Place> {
    let driver = engine.config.driver(&engine.host);
    parse(driver, &path_below(engine.config.parent(driver), driver, id), id)
}

/// A parent as it is kept: an absolute path, or the name of a slice.
pub(crate) fn check_parent(parent: &str, driver: CgroupDriver) -> Result<String> {
    if driver == CgroupDriver::Systemd {
        let unit = cgroup::systemd::Unit::parse(&format!("{parent}::x"), "x", false);
        if parent.is_empty() || unit.is_err() {
            let words = "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
            return Err(Error::invalid(words));
        }
        return Ok(parent.to_owned());
    }
    if parent.split('/').any(|part| part == "..") || parent.contains('\0') || parent.contains('\n') {
        return Err(Error::invalid(format!(
            "invalid cgroup parent {parent:?}: it must not climb out with '..'"
        )));
    }
    Ok(format!("/{}", parent.trim_matches('/')))
}

fn parse(driver: CgroupDriver, path: &str, id: &str) -> Result<Place> {
    let systemd = driver == CgroupDriver::Systemd;
    Place::parse(systemd, path, id).map_err(|error| failed(id, &error))
}

/// The control group of a container that has one.
pub(crate) fn open(engine: &Engine, record: &Record) -> Result<cgroup::Cgroup> {
    let group = place(record)?.open(&engine.host.cgroups).map_err(|error| failed(&record.id, &error))?;
    group.ok_or_else(|| Error::conflict(format!("container {} is not running", record.id)))
}

/// Kills what is left in a control group and removes it. Removing the absent succeeds.
pub(crate) fn sweep(engine: &Engine, place: &Place, id: &str) -> Result<()> {
    place.remove(&engine.host.cgroups).map_err(|error| failed(id, &error))
}

fn failed(id: &str, error: &runtime::Error) -> Error {
    Error::system(format!("control group of {id}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parent: &str, driver: CgroupDriver, expected: &str) {
        let text = match check_parent(parent, driver) {
            Ok(parent) => path_below(&parent, driver, "c1"),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn a_parent_is_a_path_or_a_slice() {
        let no_slice = "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
        check("berth", CgroupDriver::Cgroupfs, "/berth/c1");
        check("/", CgroupDriver::Cgroupfs, "/c1");
        check("a.slice", CgroupDriver::Cgroupfs, "/a.slice/c1");
        check(
            "/a/../b",
            CgroupDriver::Cgroupfs,
            "invalid cgroup parent \"/a/../b\": it must not climb out with '..'",
        );
        check("a-b.slice", CgroupDriver::Systemd, "a-b.slice:berth:c1");
        for bad in ["", "/berth", "a/b.slice", "a", "a--b.slice", "a:b.slice"] {
            check(bad, CgroupDriver::Systemd, no_slice);
        }
    }
}
