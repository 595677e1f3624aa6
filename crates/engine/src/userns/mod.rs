//! Users of containers that are others on the host: whose subordinate ids they get, and which id is which.

mod files;
mod option;
mod probe;
mod subordinate;

#[cfg(test)]
mod fuzz;

use std::os::unix::fs::MetadataExt;

use oci::runtime::IdMapping;

use crate::container::record::Record;
use crate::engine::Engine;
use crate::{Error, Result};

pub(crate) use files::{namespace, overlay};
pub use option::resolve;
pub(crate) use probe::{probe, shown};

/// Numbers in a row that are others in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first one in the container.
    pub container: u32,
    /// The first one on the host.
    pub host: u32,
    /// How many.
    pub count: u32,
}

/// Who the users and groups of containers are on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remap {
    /// Users.
    pub users: Vec<Range>,
    /// Groups.
    pub groups: Vec<Range>,
}

impl Remap {
    /// User and group of the host that root of a container is.
    #[must_use]
    pub fn root(&self) -> Option<(u32, u32)> {
        Some((to_host(&self.users, 0)?, to_host(&self.groups, 0)?))
    }

    /// What archives of a container's files have to know, where the files are looked at from outside.
    #[must_use]
    pub(crate) fn translation(&self) -> image::Translation {
        let run =
            |range: &Range| image::IdRun { archive: range.container, tree: range.host, count: range.count };
        image::Translation {
            users: self.users.iter().map(run).collect(),
            groups: self.groups.iter().map(run).collect(),
        }
    }

    /// The maps as a runtime takes them: users, groups.
    #[must_use]
    pub(crate) fn mappings(&self) -> (Vec<IdMapping>, Vec<IdMapping>) {
        let line = |range: &Range| IdMapping {
            container_id: range.container,
            host_id: range.host,
            size: range.count,
        };
        (self.users.iter().map(line).collect(), self.groups.iter().map(line).collect())
    }
}

/// In whose user namespace a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Users {
    /// The host's.
    Host,
    /// One of its own.
    Own(Remap),
    /// That of another container's process.
    Of {
        /// The process.
        pid: i32,
        /// Its maps.
        remap: Remap,
    },
}

impl Users {
    /// Who is who, where that is not the same.
    pub(crate) fn remap(&self) -> Option<&Remap> {
        match self {
            Self::Host => None,
            Self::Own(remap) | Self::Of { remap, .. } => Some(remap),
        }
    }
}

/// Who the users of a container are on the host when it is started now; `None` when they are nobody else.
pub(crate) fn of<'a>(engine: &'a Engine, record: &Record) -> Option<&'a Remap> {
    engine.config.remap.as_ref().filter(|_| record.host_config.userns_mode.is_empty())
}

/// The user namespace of a process, by the number of its inode, and who is who in it.
pub(crate) fn of_process(pid: i32) -> Result<(u64, Option<Remap>)> {
    let failed = |path: &str, error: &std::io::Error| Error::system(format!("read {path}: {error}"));
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        std::fs::read_to_string(&path).map_err(|error| failed(&path, &error))
    };
    let path = format!("/proc/{pid}/ns/user");
    let inode = std::fs::metadata(&path).map_err(|error| failed(&path, &error))?.ino();
    Ok((inode, of_maps(&read("uid_map")?, &read("gid_map")?)?))
}

/// What an id of a container is on the host; `None` when it is nothing there.
#[must_use]
pub fn to_host(ranges: &[Range], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.container).filter(|offset| *offset < range.count)?;
        range.host.checked_add(offset)
    })
}

/// What an id of the host is in a container; `None` when it is nobody there.
#[must_use]
pub fn to_container(ranges: &[Range], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.host).filter(|offset| *offset < range.count)?;
        range.container.checked_add(offset)
    })
}

/// The maps of the user namespace that a process is in: the text of its uid_map and gid_map. `None` where everybody is
/// who they are.
pub(crate) fn of_maps(users: &str, groups: &str) -> Result<Option<Remap>> {
    let remap = Remap { users: map(users)?, groups: map(groups)? };
    let is_all =
        |ranges: &[Range]| matches!(ranges, [Range { container: 0, host: 0, count }] if *count == u32::MAX);
    Ok(if is_all(&remap.users) && is_all(&remap.groups) { None } else { Some(remap) })
}

/// user_namespaces(7): container, host, count in each line.
fn map(text: &str) -> Result<Vec<Range>> {
    let line = |line: &str| {
        let numbers: Vec<u32> = line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [container, host, count] => Ok(Range { container, host, count }),
            _ => Err(Error::system(format!("a map of ids cannot be read: {line:?}"))),
        }
    };
    text.lines().map(line).collect()
}

/// Refuses what would have the host's rights in spite of the map, in Docker's words.
pub(crate) fn refuse_conflicts(host: &api::host_config::HostConfig) -> Result<()> {
    if host.privileged {
        return Err(Error::invalid(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ));
    }
    if host.network_mode == "host" {
        return Err(Error::invalid(
            "cannot share the host's network namespace when user namespaces are enabled",
        ));
    }
    if host.pid_mode == "host" {
        return Err(Error::invalid("cannot share the host PID namespace when user namespaces are enabled"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_both_ways() {
        let ranges =
            [Range { container: 0, host: 100_000, count: 10 }, Range { container: 10, host: 500, count: 5 }];
        for (container, host) in [(0, Some(100_000)), (9, Some(100_009)), (10, Some(500)), (15, None)] {
            assert_eq!(to_host(&ranges, container), host, "{container}");
        }
        for (host, container) in [(100_009, Some(9)), (504, Some(14)), (505, None), (0, None)] {
            assert_eq!(to_container(&ranges, host), container, "{host}");
        }
        assert_eq!(to_host(&[Range { container: 0, host: u32::MAX, count: 2 }], 1), None);
    }

    #[test]
    fn maps_of_the_kernel_are_read() {
        let all = "         0          0 4294967295\n";
        assert_eq!(of_maps(all, all), Ok(None));
        let some = of_maps("0 100000 65536\n", "0 5 1\n1 9 2\n").expect("maps").expect("a map");
        assert_eq!(some.root(), Some((100_000, 5)));
        assert_eq!(some.groups.len(), 2);
        assert!(of_maps("0 x 1\n", all).is_err());
    }
}
